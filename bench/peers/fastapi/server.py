"""A server in the style of one that Millpond replaces: a Lua script in Redis per limited request.

FastAPI on uvicorn with uvloop and httptools, one worker, no access log. The bucket is so large that
it refuses nobody: what is measured is the asking. Bodies come from memory.

Usage: server.py <address> <directory of responses> <address of Redis>.
"""

import pathlib
import sys

import redis.asyncio as redis
import uvicorn
from fastapi import FastAPI, Request, Response

# KEYS[1]: the bucket. ARGV: capacity in tokens, tokens a second. Returns 1 if a token was taken.
BUCKET = """
local capacity, rate = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local state = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(state[1]) or capacity, tonumber(state[2]) or now
tokens = math.min(capacity, tokens + (now - at) * rate)
local allowed = tokens >= 1
if allowed then tokens = tokens - 1 end
redis.call('HSET', KEYS[1], 'tokens', tokens, 'at', now)
redis.call('EXPIRE', KEYS[1], 60)
return allowed and 1 or 0
"""
CAPACITY = 1_000_000_000
RATE = 1_000_000_000


def taken_apart(path):
    head, _, body = path.read_bytes().partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    headers = dict(line.split(": ", 1) for line in lines)
    unwanted = ("content-length", "date")
    return {name: value for name, value in headers.items() if name.lower() not in unwanted}, body


def application(directory, store):
    answers = {path.name: taken_apart(path) for path in pathlib.Path(directory).iterdir()}
    bucket = store.register_script(BUCKET)
    app = FastAPI(openapi_url=None)

    @app.get("/todos")
    async def todos(request: Request, limit: str = "all"):
        key = f"tb:user:{request.client.host}"
        if not await bucket(keys=[key], args=[CAPACITY, RATE]):
            return Response(status_code=429)
        form = "gzip" if "gzip" in request.headers.get("accept-encoding", "") else "identity"
        headers, body = answers.get(f"{limit}.{form}", (None, None))
        if headers is None:
            return Response(status_code=404)
        return Response(body, headers=headers)

    return app


def main():
    address, directory, store = sys.argv[1:4]
    host, port = address.split(":")
    app = application(directory, redis.from_url(f"redis://{store}"))
    uvicorn.run(app, host=host, port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main()

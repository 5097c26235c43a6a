#!/usr/bin/env bash
# A fleet on this machine: two servers and two workers over the services in .stack/env, until Ctrl-C
# ends them, servers first. Settings in the environment go to all of them; FLEET_PORT is the port of
# the first server (8080), the second takes the next.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly PROGRAMS=target/release SECRET=.stack/jwt-secret
readonly PORT=${FLEET_PORT:-8080} METRICS_PORT=${FLEET_METRICS_PORT:-9464}
readonly READY_SECONDS=60

PROCESSES=()
declare -A PIDS

settings() {
    local line
    # Connections and passwords as they are: no shell reads them.
    while IFS= read -r line; do export "${line?}"; done <.stack/env
    [[ -s $SECRET ]] || (umask 077 && head -c 32 /dev/urandom | base64 >"$SECRET")
    export JWT_SECRET_FILE=$SECRET LOG_FORMAT=${LOG_FORMAT:-text}
}

# start NAME COMMAND…: in a session of its own, so that Ctrl-C reaches this script alone.
start() {
    local name=$1
    shift
    setsid env "$@" > >(sed -u "s/^/$name | /") 2>&1 </dev/null &
    PIDS[$name]=$!
    PROCESSES+=("$name")
}

# end PREFIX: all of them at once; each is given the time it takes.
# shellcheck disable=SC2317,SC2329 # by way of the traps
end() {
    local name
    for name in "${PROCESSES[@]}"; do
        if [[ $name == "$1"* && -n ${PIDS[$name]:-} ]]; then kill -TERM "${PIDS[$name]}" 2>/dev/null || true; fi
    done
    for name in "${PROCESSES[@]}"; do
        if [[ $name == "$1"* && -n ${PIDS[$name]:-} ]]; then wait "${PIDS[$name]}" || true; fi
    done
}

# What servers have acknowledged, workers may still apply.
# shellcheck disable=SC2317,SC2329
end_all() {
    trap '' INT TERM
    echo 'fleet: stopping …'
    end server
    end worker
}

await_ready() {
    local port tries
    for port in $PORT $((PORT + 1)); do
        tries=$((READY_SECONDS * 5))
        until curl --silent --fail --output /dev/null "http://localhost:$port/ready"; do
            ((tries-- > 0)) || { echo "fleet: no server is ready on port $port" >&2; exit 1; }
            sleep 0.2
        done
    done
}

invite() {
    cat <<TEXT

fleet: two servers, http://localhost:$PORT and http://localhost:$((PORT + 1)); Ctrl-C ends all.
In a second terminal and the same directory:

  export JWT_SECRET_FILE=$SECRET
  AUTH="Authorization: Bearer \$($PROGRAMS/millpond token --sub alice)"
  # Written through one, read through the other.
  curl -i localhost:$PORT/todos -H "\$AUTH" -H 'Content-Type: application/json' \\
       -H 'Prefer: wait=5' -d '{"title":"Buy milk"}'
  curl -i localhost:$((PORT + 1))/todos

TEXT
}

settings
"$PROGRAMS/millpond" migrate
trap 'end_all; exit 0' INT TERM
trap end_all EXIT
start worker-1 WORKER_METRICS_PORT="$METRICS_PORT" "$PROGRAMS/millpond-worker"
start worker-2 WORKER_METRICS_PORT="$((METRICS_PORT + 1))" "$PROGRAMS/millpond-worker"
start server-1 HTTP_PORT="$PORT" "$PROGRAMS/millpond"
start server-2 HTTP_PORT="$((PORT + 1))" "$PROGRAMS/millpond"
await_ready
invite
# One may be killed to see what the others do.
while ((${#PIDS[@]} > 0)); do
    wait -n -p ended "${PIDS[@]}" || true
    for name in "${!PIDS[@]}"; do
        if [[ ${PIDS[$name]} == "${ended:-}" ]]; then
            echo "fleet: $name has ended; the others go on" >&2
            unset "PIDS[$name]"
        fi
    done
done
exit 1

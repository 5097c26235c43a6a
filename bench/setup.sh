#!/usr/bin/env bash
# Builds what `make bench` runs and says what is missing. Needed are cargo and wrk; what else is
# missing leaves a side out, and the bench says which.
set -euo pipefail
cd "$(dirname "$0")"

have() { command -v "$1" >/dev/null 2>&1; }
note() { echo "bench: $*" >&2; }

# In Debian the package; elsewhere the words have to do.
want() { # program, package, what for
    if have "$1"; then return 0; fi
    if [ "${INSTALL:-}" = 1 ] && have apt-get && [ "$(id -u)" = 0 ]; then
        apt-get install -y --no-install-recommends "$2" >/dev/null && return 0
    fi
    note "$1 is not installed (apt-get install $2): $3"
    return 1
}

want wrk wrk 'it is the client of every read; INSTALL=1 has this script install it' || exit 1
want nginx nginx 'the side nginx is left out' || true
want redis-server redis-server 'the sides that need it, and the limiter, are left out' || true
want haproxy haproxy 'the side behind-haproxy is left out' || true
want strace strace 'system calls are not counted' || true
want perf linux-perf 'allocations are not counted' || true

cargo build --locked --release --workspace --target-dir target

if have go; then
    (cd peers/go-redis && GOFLAGS=-mod=readonly go build -o ../../target/release/peer-go-redis .)
else
    note 'go is not installed: the side go-redis is left out'
fi

python=target/venv/bin/python
wanted=target/venv/requirements.txt
if cmp -s peers/fastapi/requirements.txt "$wanted"; then
    : # It has what it needs.
elif have python3 && python3 -m venv target/venv 2>/dev/null &&
    "$python" -m pip install --quiet --disable-pip-version-check -r peers/fastapi/requirements.txt; then
    cp peers/fastapi/requirements.txt "$wanted"
else
    rm -rf target/venv
    note 'no Python environment can be made: the side fastapi-redis is left out'
fi

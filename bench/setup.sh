#!/usr/bin/env bash
# Builds what `make bench` runs and says what is missing. Needed are cargo and wrk; what else is
# missing leaves a side out, and the bench says which.
set -euo pipefail
cd "$(dirname "$0")"

have() { command -v "$1" >/dev/null 2>&1; }
note() { echo "bench: $*" >&2; }

if [ "${INSTALL:-}" = 1 ]; then
    have apt-get || { note 'INSTALL=1 needs apt-get' && exit 1; }
    [ "$(id -u)" = 0 ] || { note 'INSTALL=1 needs root' && exit 1; }
fi

updated=
install() {
    note "installing $1"
    # A fresh image has no lists of packages.
    [ -n "$updated" ] || apt_get update || return 1
    updated=1
    apt_get install --yes --no-install-recommends "$1"
}
# Of what it says, only what went wrong is of interest.
apt_get() {
    local said
    said=$(DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" 2>&1 </dev/null) || { echo "$said" >&2 && return 1; }
}

want() { # program, Debian's package, what for
    if have "$1"; then return 0; fi
    if [ "${INSTALL:-}" = 1 ] && install "$2" && have "$1"; then return 0; fi
    note "$1 is not installed (apt-get install $2): $3"
    return 1
}

want wrk wrk 'it is the client of every read; INSTALL=1 bench/setup.sh installs what is missing' || exit 1
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

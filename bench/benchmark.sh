#!/usr/bin/env bash
# Reads limit=100 and then the full list from a running server, with whichever client is there.
#
# Usage: bench/benchmark.sh [base_url] [duration_sec] [concurrency]
# These are figures of a moment, with the client on the same machine; `make bench` is the measure.
set -euo pipefail

base=${1:-http://localhost:8080}
seconds=${2:-10}
concurrency=${3:-64}
base=${base%/}

have() { command -v "$1" >/dev/null 2>&1; }
fail() {
    echo "benchmark.sh: $*" >&2
    exit 1
}

for number in "$seconds" "$concurrency"; do
    [[ $number =~ ^[1-9][0-9]*$ ]] || fail "not a number: $number"
done

if have wrk; then client=wrk
elif have hey; then client=hey
elif have autocannon; then client=autocannon
else fail 'none of wrk, hey and autocannon is installed (apt-get install wrk)'
fi

if have curl; then
    status=$(curl -s -o /dev/null -w '%{http_code}' --max-time 5 "$base/todos?limit=1" || true)
    [ "$status" = 200 ] || fail "$base/todos?limit=1 answers ${status/000/nothing}, not 200"
fi

run() {
    echo "== $1, $concurrency connections, $seconds s, $client"
    case $client in
    wrk)
        threads=$((concurrency < 2 ? 1 : 2))
        wrk -t "$threads" -c "$concurrency" -d "${seconds}s" --latency "$base$1"
        ;;
    hey) hey -c "$concurrency" -z "${seconds}s" "$base$1" ;;
    autocannon) autocannon -c "$concurrency" -d "$seconds" "$base$1" ;;
    esac
    echo
}

run '/todos?limit=100'
run '/todos'

#!/usr/bin/env bash
# Draws where the time goes: flamegraphs/<date>-<scenario>.svg, and a note of how it was made.
#
# Usage: bench/flamegraph.sh read|limited|limited-redis|write|sqlite
#   read           limit=100 by 64 connections, depth 1: the whole process
#   limited        the same where every read pays a token, which are counted in the process
#   limited-redis  the same where Redis counts them
#   write          creates by 1,000 users over 250 connections, which come whole and go to their
#                  handler without hyper: the whole process
#   sqlite         the same load: the thread that writes to SQLite alone
# Needs perf and, for reads, wrk. inferno is installed into bench/target/tools where it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

scenario=${1:-read}
seconds=${SECONDS_OF_PROFILE:-10}
# Prime, so that it keeps no step with what the kernel does every millisecond.
frequency=997
server=target/release/millpond
load=bench/target/release/load
tools=bench/target/tools
writer=writer

fail() {
    echo "flamegraph.sh: $*" >&2
    exit 1
}
have() { command -v "$1" >/dev/null 2>&1; }

limits=(RATE_LIMIT_SCOPE=none)
case $scenario in
read) ;;
# More tokens than are asked for: what is measured is asking.
limited | limited-redis) limits=(RATE_LIMIT_SCOPE=all TB_CAPACITY=1000000 TB_RATE=1000000) ;;
write | sqlite) [ -x "$load" ] || fail "$load is not built: bench/setup.sh" ;;
*) fail "there is no scenario $scenario; there are read, limited, limited-redis, write and sqlite" ;;
esac
case $scenario in
read | limited*) have wrk || fail 'wrk is not installed (apt-get install wrk)' ;;
esac
[ "$scenario" != limited-redis ] || have redis-server ||
    fail 'redis-server is not installed (apt-get install redis-server)'
have perf || fail 'perf is not installed (apt-get install linux-perf)'
[ -x "$server" ] || fail "$server is not built: make build"
[ "$(nproc)" -gt 1 ] || fail 'it takes two cores, one of them for the client'
if ! [ -x "$tools/bin/inferno-flamegraph" ]; then
    echo 'flamegraph.sh: installing inferno into bench/target/tools' >&2
    cargo install --locked --quiet --root "$tools" inferno --version '^0.12'
fi

work=$(mktemp -d)
work_ended() {
    for started in "${client:-}" "${pid:-}" "${redis:-}"; do
        [ -z "$started" ] || kill "$started" 2>/dev/null || true
    done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap work_ended EXIT

cores=$(seq -s, 1 $(($(nproc) - 1)))
if [ "$scenario" = limited-redis ]; then
    # Its port is free for the moment between the two, which has to do.
    port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    taskset -c 0 redis-server --bind 127.0.0.1 --port "$port" --save '' --appendonly no \
        --dir "$work" >"$work/redis" 2>&1 &
    redis=$!
    limits+=(REDIS_URL="redis://127.0.0.1:$port")
    # It shares the core with the server, as in the bench, and may have to wait for it.
    limits+=(LIMITER_TIMEOUT_MS=1000)
fi

secret=$(od -An -tx1 -N32 /dev/urandom | tr -d ' \n')
# An array and no function: each word replaces itself by the next, so the pid is the server's.
run=(env -i PATH="$PATH" DATA_DIR="$work/data" HTTP_HOST=127.0.0.1 HTTP_PORT=0 SERVER_CORES=1
    JWT_SECRET="$secret" "${limits[@]}")
mkdir "$work/data"
"${run[@]}" "$server" seed --todos 10000 >/dev/null 2>"$work/log"
"${run[@]}" taskset -c 0 "$server" >"$work/out" 2>"$work/log" &
pid=$!
for _ in $(seq 200); do
    grep -q listening "$work/out" && break
    sleep 0.05
done
address=$(sed -n 's,.*http://,,p' "$work/out")
[ -n "$address" ] || fail "the server does not listen: $(cat "$work/log")"

case $scenario in
read | limited*)
    what="wrk -t 1 -c 64 on /todos?limit=100, depth 1"
    [ "$scenario" != limited ] || what="$what; each pays a token, counted in the process"
    [ "$scenario" != limited-redis ] || what="$what; each pays a token, counted by Redis"
    taskset -c "$cores" wrk -t 1 -c 64 -d "$((seconds + 2))s" "http://$address/todos?limit=100" \
        >"$work/client" 2>&1 &
    ;;
*)
    what="creates by 1,000 users over 250 connections, 202"
    job='{"servers":["'$address'"],"secret":"'$secret'","seconds":'$((seconds + 2))',"seed":1,
        "work":{"work":"writes","mix":"creates","users":1000,"connections":250,"wait":false}}'
    # The job is one line, and the line after it is the word to begin.
    printf '%s\n\n' "$(tr -d '\n' <<<"$job")" | taskset -c "$cores" "$load" >"$work/client" 2>&1 &
    ;;
esac
client=$!
sleep 1

whom=(-p "$pid")
if [ "$scenario" = sqlite ]; then
    thread=
    for task in /proc/"$pid"/task/*; do
        [ "$(cat "$task/comm")" != "$writer" ] || thread=${task##*/}
    done
    [ -n "$thread" ] || fail "there is no thread $writer"
    whom=(-t "$thread")
    what="$what; thread $writer alone"
fi
# Debug information is there for lines only, and frame pointers are not: stacks are unwound from
# copies of 16 KiB.
perf record -q -e cpu-clock -F "$frequency" --call-graph dwarf,16384 "${whom[@]}" -o "$work/data.perf" \
    -- sleep "$seconds" 2>"$work/perf"
wait "$client" || fail "the client failed: $(cat "$work/client")"
client=
# A read that is refused is no read that is limited.
! grep -q 'Non-2xx' "$work/client" || fail "not all reads were answered: $(cat "$work/client")"
perf script --no-inline -i "$work/data.perf" 2>/dev/null |
    "$tools/bin/inferno-collapse-perf" --kernel >"$work/folded" 2>"$work/inferno"
[ -s "$work/folded" ] || fail "perf took no samples: $(cat "$work/perf")"

mkdir -p flamegraphs
name=flamegraphs/$(date -u +%F)-$scenario
# perf weighs a sample of cpu-clock with the nanoseconds that it stands for.
nanos=$(awk '{ sum += $NF } END { printf "%.0f", sum }' "$work/folded")
millis=$((nanos / 1000000))
"$tools/bin/inferno-flamegraph" --colors rust --title "Millpond: $scenario" \
    --subtitle "$what; $millis ms of CPU time" --countname ns "$work/folded" >"$name.svg"
# What somebody has written below the tables stays.
lessons=$(sed -n '/^## What it taught/,$p' "$name.md" 2>/dev/null || true)
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
{
    echo "# $scenario, $(date -u +%F)"
    echo
    echo "![$scenario]($(basename "$name").svg)"
    echo
    echo "- load: $what"
    echo "- how: \`make flamegraph SCENARIO=$scenario\`; \`perf record -e cpu-clock -F $frequency --call-graph dwarf,16384\` for $seconds s, which saw $millis ms of CPU time; inferno"
    echo "- commit: $commit; kernel: $(uname -r); CPU: $(sed -n '/^model name/{s/.*: //p;q;}' /proc/cpuinfo), server on one core"
    echo
    awk -v all="$nanos" -f bench/shares.awk "$work/folded"
    [ -z "$lessons" ] || printf '\n%s\n' "$lessons"
} >"$name.md"
echo "$name.svg"

#!/usr/bin/env bash
# Sends writes at a rate and shows what comes back as it comes: good answers, and 429s with their
# Retry-After. It goes on until it is interrupted, and then sums up.
#
# Usage: bench/hammer.sh [url] [rate]
# The url may be of a read, which is then read; by default todos are created, with the token in
# $TOKEN or one that `millpond token` prints.
set -euo pipefail
cd "$(dirname "$0")/.."

url=${1:-http://localhost:8080/todos}
rate=${2:-30}
[[ $rate =~ ^[1-9][0-9]*$ ]] || {
    echo "hammer.sh: not a rate: $rate" >&2
    exit 1
}
command -v curl >/dev/null 2>&1 || {
    echo 'hammer.sh: curl is not installed' >&2
    exit 1
}

what=(-w '%{http_code}|%header{retry-after}|%header{x-ratelimit-remaining}\n' -s -o /dev/null)
if [[ $url == */todos ]]; then
    [ -n "${TOKEN:-}" ] || [ -x target/release/millpond ] || {
        echo 'hammer.sh: target/release/millpond is not built, and TOKEN is not set: make build' >&2
        exit 1
    }
    token=${TOKEN:-$(target/release/millpond token --sub hammer)}
    what+=(-H "Authorization: Bearer $token" -H 'Content-Type: application/json'
        -d '{"title":"Hammered"}')
fi

seen=$(mktemp)
trap 'rm -f "$seen"' EXIT
trap 'echo; cut -d"|" -f1 "$seen" | sort | uniq -c; exit 0' INT TERM

echo "$url, $rate a second; interrupt to end"
pause=$(awk -v rate="$rate" 'BEGIN { printf "%.4f", 1 / rate }')
while :; do
    {
        line=$(curl --max-time 10 "${what[@]}" "$url" || true)
        echo "$line" >>"$seen"
        IFS="|" read -r status retry remaining <<<"$line" || true
        case $status in
        429) echo "$(date +%T) 429, retry after ${retry:-?} s" ;;
        000) echo "$(date +%T) no answer" ;;
        *) echo "$(date +%T) $status${remaining:+, $remaining tokens left}${retry:+, retry after $retry s}" ;;
        esac
    } &
    sleep "$pause"
done

#!/usr/bin/env bash
# Counts the instructions of the product's inner parts under Valgrind and writes them beside what is
# kept in bench/instructions/counts.csv. With --keep the new counts are what later ones are compared
# with; a change of more than two per cent is shown as such, and with --check it is an error.
set -euo pipefail
cd "$(dirname "$0")/instructions"

mode=${1:-}
kept=counts.csv
fail() {
    echo "instructions.sh: $*" >&2
    exit 1
}

command -v valgrind >/dev/null 2>&1 ||
    fail 'valgrind is not installed (apt-get install valgrind)'
tools=$PWD/../target/tools
version=$(sed -n '/^name = "gungraun-runner"$/{n;s/^version = "\(.*\)"$/\1/p;}' Cargo.lock)
runner=$tools/bin/gungraun-runner
if [ "$("$runner" --version 2>/dev/null)" != "gungraun-runner $version" ]; then
    echo "instructions.sh: installing gungraun-runner $version into bench/target/tools" >&2
    cargo install --locked --quiet --root "$tools" --target-dir "$tools/build" \
        gungraun-runner --version "$version"
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export GUNGRAUN_RUNNER=$runner GUNGRAUN_HOME=$PWD/../target/gungraun
# The product's own target directory: what is built there is used again.
cargo bench --locked --target-dir ../../target --bench instructions -- \
    --output-format=json >"$work/said" ||
    fail 'the benchmarks failed'
# One JSON object a benchmark: its function, its case, and how many instructions it took.
python3 - "$work/said" >"$work/counts" <<'PYTHON'
import json
import sys

for line in open(sys.argv[1]):
    if not line.startswith("{"):
        continue
    found = json.loads(line)
    [profile] = [one for one in found["profiles"] if one["tool"] == "Callgrind"]
    metrics = profile["summaries"]["total"]["summary"]["Callgrind"]["Ir"]["metrics"]
    count = metrics.get("Left") or metrics["Both"][0]
    count = next(iter(count.values())) if isinstance(count, dict) else count
    print(f"{found['function_name']}/{found['id']},{count}")
PYTHON
[ -s "$work/counts" ] || fail 'no counts were found'

if [ "$mode" = --keep ] || ! [ -f "$kept" ]; then
    { echo 'benchmark,instructions' && sort "$work/counts"; } >"$kept"
    echo "kept in bench/instructions/$kept:"
    cat "$kept"
    exit 0
fi
sort "$work/counts" | awk -F, -v kept="$kept" -v mode="$mode" '
    BEGIN { while ((getline line < kept) > 0) { split(line, cell, ","); was[cell[1]] = cell[2] } }
    {
        change = was[$1] > 0 ? 100 * ($2 / was[$1] - 1) : 0
        mark = change > 2 ? "more" : change < -2 ? "less" : ""
        if (change > 2) worse = 1
        printf "%-36s %12d %12d %+7.2f %% %s\n", $1, was[$1], $2, change, mark
    }
    END { exit (worse && mode == "--check") }'

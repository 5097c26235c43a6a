#!/usr/bin/env bash
# Searches for a stream that the hot loop answers differently from hyper: libFuzzer mutates the kept
# ones, and goes on from those that reach code which none before has. On stable Rust.
#
# Usage: fuzz/run.sh [seconds] [streams|limited]
# What it goes on from is left in fuzz/target/found; a stream that differs, or crashes a server, in
# fuzz/target/failed. Mend that, and keep it in fuzz/corpus under a name that says what it is.
# Needs a C++ compiler.
set -euo pipefail
cd "$(dirname "$0")"

seconds=${1:-60}
target=${2:-streams}
fail() {
    echo "fuzz: $*" >&2
    exit 1
}
[[ $seconds =~ ^[1-9][0-9]*$ ]] || fail "not a number of seconds: $seconds"
[ -f "targets/$target.rs" ] || fail "there is no target $target: $(cd targets && echo ./*)"
command -v c++ >/dev/null 2>&1 || fail 'a C++ compiler is not installed (apt-get install g++)'

# What cargo-fuzz asks the compiler for, without the sanitizers: the program has no unsafe code, and
# they need a nightly one. With `--target`, build scripts and macros are left as they are.
flags='-Cpasses=sancov-module'
for option in level=4 inline-8bit-counters pc-table trace-compares; do
    flags="$flags -Cllvm-args=-sanitizer-coverage-$option"
done
host=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS=$flags cargo build --locked --release --target "$host" --target-dir target --bin "$target"

found=target/found/$target failed=target/failed
mkdir -p "$found" "$failed"
# Nothing of the environment may configure the servers. A head must fit the first read of hyper's:
# where in a longer one it finds a fault depends on how it reads.
exec env -i PATH="$PATH" "target/$host/release/$target" "$found" corpus -dict=heads.dict \
    -artifact_prefix="$failed/$target-" -max_total_time="$seconds" -max_len=4096 -timeout=20 \
    -print_final_stats=1

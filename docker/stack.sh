#!/usr/bin/env bash
# The services of a fleet on this machine: PostgreSQL, Redis and Apache Kafka. In containers where a
# Docker engine answers, else as plain processes, from Debian's packages and Maven Central. Ports,
# data, logs and passwords are its own, in .stack/; where the services are stands in .stack/env.
#
#   stack.sh up [SERVICE…]          postgres, redis, kafka or one broker as in kafka-2; all by default
#   stack.sh down                   ends what it started, and nothing else; CLEAN=1 removes the data
#   stack.sh signal NAME SIGNAL     to one process: postgres, redis, kafka-1, …; what the signal does
#                                   (STOP, TERM, KILL) is waited for
#   stack.sh status
#   stack.sh tools                  installs what the tests start themselves: Redis and libfaketime
#
# BROKERS=3 makes three brokers. STACK_DIR=… keeps another stack elsewhere, NATIVE=1 does without
# Docker.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PARTS=$ROOT/docker/stack
STACK_DIR=$(realpath -m "${STACK_DIR:-$ROOT/.stack}")
SERVICES=(postgres redis kafka)

# shellcheck source=docker/stack/process.sh
source "$PARTS/process.sh"
# shellcheck source=docker/stack/packages.sh
source "$PARTS/packages.sh"
# shellcheck source=docker/stack/postgres.sh
source "$PARTS/postgres.sh"
# shellcheck source=docker/stack/redis.sh
source "$PARTS/redis.sh"
# shellcheck source=docker/stack/kafka.sh
source "$PARTS/kafka.sh"
# shellcheck source=docker/stack/containers.sh
source "$PARTS/containers.sh"

# All start before the first is waited for.
native_up() {
    local service
    for service in "$@"; do "${service%%-*}_install"; done
    for service in "$@"; do "${service%%-*}_start" "$service"; done
    for service in "$@"; do "${service%%-*}_wait" "$service"; done
}

native_down() {
    local name
    for name in $(recorded); do signal "$name" "$(stop_signal "$name")" || true; done
    for name in $(recorded); do await_end "$name"; done
}

# SIGINT is PostgreSQL's fast shutdown: SIGTERM would wait for its clients to leave.
stop_signal() {
    case $1 in
        postgres) echo INT ;;
        *) echo TERM ;;
    esac
}

# Only what is up is named, so that a test finds a missing service missing.
write_env() {
    local service
    for service in "${SERVICES[@]}"; do "$1_env" "$service"; done >"$STACK_DIR/env.new"
    mv "$STACK_DIR/env.new" "$STACK_DIR/env"
}

native_env() {
    if [[ -e $STACK_DIR/$1/settled ]]; then "$1_env"; fi
}

# Whether a stack lives in containers is settled by its first start.
kind() {
    if [[ ! -e $STACK_DIR/kind ]]; then
        if [[ -z ${NATIVE:-} ]] && docker_answers; then echo containers; else echo native; fi \
            >"$STACK_DIR/kind"
    fi
    cat "$STACK_DIR/kind"
}

up() {
    mkdir -p "$STACK_DIR/run"
    touch "$STACK_DIR/.millpond-stack"
    exec 9>"$STACK_DIR/lock"
    flock 9
    local kind
    kind=$(kind)
    if (($# == 0)); then set -- "${SERVICES[@]}"; fi
    "${kind}_up" "$@"
    write_env "$kind"
    say "up; addresses in ${STACK_DIR#"$ROOT"/}/env"
}

down() {
    if [[ ! -e $STACK_DIR/.millpond-stack ]]; then
        say "nothing to stop"
        return
    fi
    exec 9>"$STACK_DIR/lock"
    flock 9
    rm -f "$STACK_DIR/env"
    "$(kind)_down"
    if [[ -n ${CLEAN:-} ]]; then
        postgres_clean
        rm -rf "$STACK_DIR"
        say "down, and its data removed"
    else
        say "down"
    fi
}

tools() {
    mkdir -p "$STACK_DIR"
    redis_install
    have faketime || packages libfaketime faketime
}

main() {
    local verb=${1:-}
    shift || true
    case $verb in
        up) up "$@" ;;
        down) down ;;
        signal) "$(kind)_signal" "$@" ;;
        status) "$(kind)_status" ;;
        tools) tools ;;
        *) sed -n '2,/^set/ { s/^# \{0,1\}//p }' "${BASH_SOURCE[0]}" >&2; exit 64 ;;
    esac
}

main "$@"

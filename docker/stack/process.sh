# shellcheck shell=bash
# Processes that outlive the script: started apart, known by pid and start time, stopped by those
# alone. A pid that was given to another process in the meantime is left in peace.

# Ports are drawn below the range that outgoing connections take theirs from.
PORT_MIN=21000
PORT_MAX=29999

STOP_SECONDS=20
LOG_LINES_SHOWN=30

say() { echo "stack: $*"; }

die() {
    echo "stack: $*" >&2
    exit 1
}

# What tells this process from a later one of the same pid: its start, and the boot it started in.
identity() {
    local stat fields
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    read -ra fields <<<"${stat##*) }"
    # Ended, and not yet waited for by its parent.
    [[ ${fields[0]} != Z ]] || return 1
    echo "${fields[19]}@$(</proc/sys/kernel/random/boot_id)"
}

# launch NAME COMMAND…: its output goes to a log that begins anew.
launch() {
    local name=$1 pid
    shift
    mkdir -p "$STACK_DIR/log"
    (cd / && exec setsid "$@") >"$STACK_DIR/log/$name" 2>&1 </dev/null 9>&- &
    pid=$!
    echo "$pid $(identity "$pid")" >"$STACK_DIR/run/$name"
}

# The pid of NAME, if it runs.
pid_of() {
    local pid known
    read -r pid known 2>/dev/null <"$STACK_DIR/run/$1" || return 1
    [[ $(identity "$pid") == "$known" ]] || return 1
    echo "$pid"
}

runs() { pid_of "$1" >/dev/null; }

recorded() { ls "$STACK_DIR/run"; }

signal() {
    local pid
    pid=$(pid_of "$1") && kill "-$2" "$pid"
}

native_signal() {
    (($# == 2)) || die "signal NAME SIGNAL"
    signal "$1" "$2" || die "$1 does not run"
    case $2 in
        STOP) await_stop "$1" ;;
        CONT) ;;
        *) await_end "$1" ;;
    esac
}

native_status() {
    local name
    for name in $(recorded); do
        if runs "$name"; then say "$name runs, pid $(pid_of "$name")"; else say "$name is down"; fi
    done
}

# Each thread stops when it is scheduled next.
await_stop() {
    local pid tries=$((STOP_SECONDS * 10))
    pid=$(pid_of "$1") || die "$1 does not run"
    while grep -qv '^[0-9]* (.*) T ' /proc/"$pid"/task/*/stat; do
        ((tries-- > 0)) || die "$1 does not stop"
        sleep 0.1
    done
}

await_end() {
    local tries=$((STOP_SECONDS * 10))
    # One that was stopped could not end.
    signal "$1" CONT || true
    while runs "$1"; do
        if ((tries-- == 0)); then
            say "$1 does not stop: it is killed"
            signal "$1" KILL || true
            tries=10
        fi
        sleep 0.1
    done
    rm -f "$STACK_DIR/run/$1"
}

# await NAME SECONDS CHECK…: until the check holds; loud where the process ends or the time does.
await() {
    local name=$1 tries=$(($2 * 10))
    shift 2
    until "$@" >/dev/null 2>&1; do
        runs "$name" || fail "$name ended while starting"
        ((tries-- > 0)) || fail "$name does not come up"
        sleep 0.1
    done
}

fail() {
    local name=${1%% *}
    echo "stack: the last lines of $STACK_DIR/log/$name:" >&2
    tail -n "$LOG_LINES_SHOWN" "$STACK_DIR/log/$name" >&2
    die "$1"
}

answers() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
    local port
    while
        port=$((PORT_MIN + RANDOM % (PORT_MAX - PORT_MIN)))
        answers "$port" || grep -qsx "$port" "$STACK_DIR"/*/port "$STACK_DIR"/kafka/*/*port
    do :; done
    echo "$port"
}

# port FILE: the port noted there, so that addresses survive a restart; a free one at first, or
# where somebody else has taken it.
port() {
    local port
    if port=$(cat "$1" 2>/dev/null) && ! answers "$port"; then return; fi
    free_port >"$1"
}

# A name or password that nobody guesses.
random_text() { head -c 18 /dev/urandom | base64 | tr '+/' 'xy'; }

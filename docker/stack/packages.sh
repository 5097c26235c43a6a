# shellcheck shell=bash
# What is missing is installed from Debian's packages, which needs root.

APT_UPDATED=

have() { command -v "$1" >/dev/null 2>&1; }

# packages WHAT PACKAGE…
packages() {
    local what=$1
    shift
    have apt-get || die "$what is missing, and there is no apt-get to install it with: install $*"
    ((EUID == 0)) || die "$what is missing: as root, apt-get install $*"
    say "installing $what ($*) …"
    if [[ -z $APT_UPDATED ]]; then
        apt_get update
        APT_UPDATED=1
    fi
    apt_get install --yes --no-install-recommends "$@"
}

apt_get() {
    local log=$STACK_DIR/log/apt-get
    mkdir -p "$STACK_DIR/log"
    DEBIAN_FRONTEND=noninteractive apt-get -qq "$@" >"$log" 2>&1 9>&- </dev/null ||
        fail "apt-get $1 failed"
}

# shellcheck shell=bash
# Redis: what it holds is worth nothing tomorrow, so nothing is written to disk.

REDIS_START_SECONDS=20

redis_install() {
    have redis-server || packages Redis redis-server
    have redis-cli || packages redis-cli redis-tools
}

redis_start() {
    local home=$STACK_DIR/redis
    if runs redis; then return; fi
    mkdir -p "$home"
    port "$home/port"
    say "starting Redis on port $(<"$home/port") …"
    launch redis redis-server --bind 127.0.0.1 --port "$(<"$home/port")" --dir "$home" \
        --save '' --appendonly no --daemonize no
    touch "$home/settled"
}

redis_pings() { [[ $(redis-cli -h 127.0.0.1 -p "$(<"$STACK_DIR/redis/port")" PING) == PONG ]]; }

redis_wait() { await redis $REDIS_START_SECONDS redis_pings; }

redis_env() {
    if runs redis; then echo "REDIS_URL=redis://127.0.0.1:$(<"$STACK_DIR/redis/port")"; fi
}

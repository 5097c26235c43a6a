# shellcheck shell=bash
# The same in containers: the services of docker/docker-compose.yml alone, on loopback ports.

CONTAINERS_START_SECONDS=180

docker_answers() {
    have docker && docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1
}

# Ports, passwords and the number of brokers, settled by the first start.
containers_settle() {
    local settings=$STACK_DIR/containers.env brokers=${BROKERS:-1} node voters=()
    if [[ -e $settings ]]; then return; fi
    for node in 1 2 3; do ((node <= brokers)) && voters+=("$node@kafka-$node:9093"); done
    {
        echo "POSTGRES_PASSWORD=$(random_text)"
        # The servers that need it are not started here.
        echo "JWT_SECRET=$(random_text)"
        for node in POSTGRES REDIS KAFKA_1 KAFKA_2 KAFKA_3; do
            echo "${node}_PORT=$(free_port)"
        done
        echo "KAFKA_BROKERS=$brokers"
        echo "KAFKA_VOTERS=$(IFS=,; echo "${voters[*]}")"
        echo "KAFKA_COPIES=$((brokers < 3 ? brokers : 3))"
        echo "KAFKA_COPIES_MIN=$((brokers > 1 ? 2 : 1))"
    } >"$settings.new"
    mv "$settings.new" "$settings"
}

setting() { sed -n "s/^$1=//p" "$STACK_DIR/containers.env"; }

compose() {
    docker compose --project-name "millpond-stack-$(cksum <<<"$STACK_DIR" | cut -d " " -f 1)" \
        --env-file "$STACK_DIR/containers.env" --profile three-brokers \
        --file "$ROOT/docker/docker-compose.yml" --file "$ROOT/docker/docker-compose.stack.yml" \
        "$@" 9>&-
}

containers_up() {
    local service names=()
    have psql || packages psql postgresql-client
    have redis-cli || packages redis-cli redis-tools
    containers_settle
    for service in "$@"; do
        case $service in
            kafka) mapfile -t -O "${#names[@]}" names < <(seq -f 'kafka-%.0f' "$(setting KAFKA_BROKERS)") ;;
            *) names+=("$service") ;;
        esac
    done
    compose up --detach --wait --wait-timeout $CONTAINERS_START_SECONDS "${names[@]}" || {
        compose logs --tail "$LOG_LINES_SHOWN" "${names[@]}" >&2
        die "the containers do not come up"
    }
}

containers_down() {
    if [[ -n ${CLEAN:-} ]]; then compose down --volumes; else compose stop; fi
}

containers_signal() { compose kill --signal "$2" "$1"; }

containers_status() { compose ps --all; }

containers_env() {
    local node addresses=()
    [[ -n $(compose ps --quiet) ]] || return 0
    case $1 in
        postgres)
            echo "DATABASE_URL=postgres://millpond:$(setting POSTGRES_PASSWORD)@127.0.0.1:$(setting POSTGRES_PORT)/millpond"
            ;;
        redis) echo "REDIS_URL=redis://127.0.0.1:$(setting REDIS_PORT)" ;;
        kafka)
            for node in $(seq "$(setting KAFKA_BROKERS)"); do
                addresses+=("127.0.0.1:$(setting "KAFKA_${node}_PORT")")
            done
            (IFS=,; echo "KAFKA_BROKERS=${addresses[*]}")
            ;;
    esac
}

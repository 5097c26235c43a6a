# shellcheck shell=bash
# The same in containers, from docker/docker-compose.yml: only the services, on loopback ports.
docker_answers() { have docker && docker info >/dev/null 2>&1 && docker compose version >/dev/null 2>&1; }
containers_up() { die "to come"; }

# shellcheck shell=bash
# PostgreSQL: one cluster, a role that may create databases and roles but is no superuser.

POSTGRES_START_SECONDS=60

# The newest version there is.
postgres_programs() {
    local found
    found=$(find /usr/lib/postgresql -mindepth 2 -maxdepth 2 -name bin 2>/dev/null | sort -V | tail -n 1)
    if [[ -n $found ]]; then
        echo "$found"
    elif have pg_config && [[ -x $(pg_config --bindir)/initdb ]]; then
        pg_config --bindir
    else
        return 1
    fi
}

postgres_install() {
    postgres_programs >/dev/null || packages PostgreSQL postgresql
    have psql || packages psql postgresql-client
}

# PostgreSQL refuses to run as root.
as_postgres() {
    if ((EUID == 0)); then
        setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"
    else
        "$@"
    fi
}

# Where root's clone is closed to others, the data cannot lie in it.
postgres_data() {
    local home=$STACK_DIR/postgres
    if [[ ! -e $home/data ]]; then
        mkdir -p "$home/own"
        if ((EUID == 0)); then chown postgres: "$home/own"; fi
        if as_postgres test -w "$home/own"; then
            ln -s own "$home/data"
        else
            local elsewhere
            elsewhere=$(mktemp -d /var/tmp/millpond-postgres.XXXXXX)
            chown postgres: "$elsewhere"
            ln -s "$elsewhere" "$home/data"
        fi
    fi
    readlink -f "$home/data"
}

postgres_clean() {
    local data
    data=$(readlink -f "$STACK_DIR/postgres/data" 2>/dev/null) || return 0
    case $data in /var/tmp/millpond-postgres.*) rm -rf "$data" ;; esac
}

postgres_create() {
    local data=$1 home=$STACK_DIR/postgres password
    say "making a PostgreSQL cluster …"
    (umask 077 && random_text >"$home/superuser" && random_text >"$home/password")
    # The file above is closed to the user that PostgreSQL runs as.
    password=$(as_postgres mktemp)
    as_postgres tee "$password" <"$home/superuser" >/dev/null
    as_postgres "$(postgres_programs)/initdb" --pgdata="$data" --username=postgres --no-instructions \
        --encoding=UTF8 --locale=C.UTF-8 --auth=scram-sha-256 --pwfile="$password" \
        >"$STACK_DIR/log/postgres" 2>&1 || fail "postgres cannot make a cluster"
    as_postgres rm "$password"
    # Safe as in production (fsync and full_page_writes stay on); only larger and quieter.
    as_postgres tee -a "$data/postgresql.conf" >/dev/null <<'CONFIGURATION'
listen_addresses = '127.0.0.1'
unix_socket_directories = ''
max_connections = 400
shared_buffers = 256MB
max_wal_size = 2GB
checkpoint_timeout = 15min
jit = off
log_line_prefix = '%m [%p] %d '
CONFIGURATION
    touch "$home/made"
}

postgres_start() {
    local home=$STACK_DIR/postgres data
    if runs postgres; then return; fi
    mkdir -p "$home" "$STACK_DIR/log"
    data=$(postgres_data)
    [[ -e $home/made ]] || postgres_create "$data"
    port "$home/port"
    say "starting PostgreSQL on port $(<"$home/port") …"
    if ((EUID == 0)); then
        launch postgres setpriv --reuid=postgres --regid=postgres --init-groups -- \
            "$(postgres_programs)/postgres" -D "$data" -p "$(<"$home/port")"
    else
        launch postgres "$(postgres_programs)/postgres" -D "$data" -p "$(<"$home/port")"
    fi
}

# psql as the superuser, or as millpond where the role is named.
postgres_ask() {
    local role=$1 password=$2
    shift 2
    PGPASSWORD=$(<"$STACK_DIR/postgres/$password") PGCONNECT_TIMEOUT=5 psql --quiet --no-psqlrc \
        --set=ON_ERROR_STOP=1 --host=127.0.0.1 --port="$(<"$STACK_DIR/postgres/port")" \
        --username="$role" --dbname=postgres --no-align --tuples-only "$@"
}

postgres_wait() {
    local home=$STACK_DIR/postgres
    await postgres $POSTGRES_START_SECONDS postgres_ask postgres superuser --command='SELECT 1'
    if [[ ! -e $home/settled ]]; then
        postgres_ask postgres superuser >/dev/null <<SQL || fail "postgres refuses the role millpond"
CREATE ROLE millpond LOGIN CREATEDB CREATEROLE PASSWORD '$(<"$home/password")';
CREATE DATABASE millpond OWNER millpond;
SQL
        touch "$home/settled"
    fi
}

postgres_env() {
    local home=$STACK_DIR/postgres
    runs postgres || return 0
    echo "DATABASE_URL=postgres://millpond:$(<"$home/password")@127.0.0.1:$(<"$home/port")/millpond"
}

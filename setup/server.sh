#!/bin/bash
# The private server: server.sh up|down|env|renew|reset (renew: the database anew, reset: the server anew)
# Its own data folder, a socket in a folder of its own and no network. PostgreSQL refuses to run as root, so for root
# it runs as postgres; for anybody else as the caller. Variables: PG_CONFIG, DELC_STATE, DELC_PORT, DELC_DATABASE.
# shellcheck source=setup/common.sh
source "$(dirname "$0")/common.sh"

bin=$("$PG_CONFIG" --bindir)
if [ "$(id -u)" = 0 ]; then
    state=${DELC_STATE:-/var/lib/delc}
    as_owner=(runuser -u postgres --)
else
    state=${DELC_STATE:-${XDG_STATE_HOME:-$HOME/.local/state}/delc}
    as_owner=()
fi
me=$(id -un)
data=$state/data
socket=$state/socket
port=${DELC_PORT:-5488}
database=${DELC_DATABASE:-delc}
if [ ${#socket} -gt 90 ]; then
    fail "the socket's path would be too long for the system: $socket" \
        "choose a shorter folder: make DELC_STATE=/tmp/delc-$me …"
fi

owner() { (cd / && "${as_owner[@]}" "$@"); }
control() { owner env -u PGOPTIONS OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 LC_ALL=C.UTF-8 "$bin/pg_ctl" -D "$data" "$@"; }
is_running() { [ -e "$data" ] && control status >/dev/null; }
query() {
    PGOPTIONS='-c client_min_messages=warning' \
        "$bin/psql" -X -q -A -t -v ON_ERROR_STOP=1 -h "$socket" -p "$port" -U "$me" -d "$1" -c "$2"
}

# What the server has loaded, and what the extension in the database was made from.
library_sum() { cat "$("$PG_CONFIG" --pkglibdir)"/delc*.so | sha256sum; }
script_sum() { cat "$("$PG_CONFIG" --sharedir)"/extension/delc--*.sql | sha256sum; }

create_cluster() {
    say "making a private server in $state"
    mkdir -p "$state"
    if [ "$(id -u)" = 0 ]; then chown postgres: "$state"; fi
    owner mkdir -p -m 0700 "$socket"
    owner "$bin/initdb" -D "$data.new" -U "$me" --auth=trust --encoding=UTF8 --locale=C.UTF-8 --no-sync >/dev/null
    owner tee -a "$data.new/postgresql.conf" >/dev/null <<END

# delc's private server: no network, only a socket in a folder that nobody else may enter
listen_addresses = ''
unix_socket_directories = '$socket'
unix_socket_permissions = 0700
port = $port
shared_preload_libraries = 'delc'
shared_buffers = 256MB
max_wal_size = 2GB
max_worker_processes = 16
END
    owner mv "$data.new" "$data"
}

check_cluster() {
    local made_with here
    made_with=$(owner cat "$data/PG_VERSION")
    here=$("$PG_CONFIG" --version | grep -oE '[0-9]+' | head -n 1)
    [ "$made_with" = "$here" ] || fail "the private server in $state was made with PostgreSQL $made_with, not $here;" \
        "make reset replaces it (what is stored there is lost), make DELC_STATE=FOLDER … makes another"
}

start() {
    if ! control -s -w -t 60 -l "$state/server.log" start; then
        owner tail -n 20 "$state/server.log" >&2
        fail "the private server did not start; its log is $state/server.log"
    fi
    library_sum | owner tee "$state/loaded" >/dev/null
}

stop() { control -s -w -m fast stop; }

create_database() {
    say "making the database $database"
    query postgres "CREATE DATABASE \"$database\""
    if ! query "$database" "CREATE EXTENSION delc CASCADE"; then
        query postgres "DROP DATABASE \"$database\""
        fail "the extension could not be created, so there is no database $database"
    fi
    # Operators and aggregates of tensors are found without a schema in front.
    query postgres "ALTER DATABASE \"$database\" SET search_path = \"\$user\", public, delc"
    script_sum | owner tee "$state/script-$database" >/dev/null
}

check_database() {
    if [ "$(owner cat "$state/script-$database" 2>/dev/null)" != "$(script_sum)" ]; then
        say "the extension in database $database was made by another version of its install script;" \
            "make reset makes the database anew (what is stored there is lost)"
    fi
}

run() {
    rm -rf "$data.new"
    if [ -e "$data" ]; then check_cluster; else create_cluster; fi
    if is_running && [ "$(owner cat "$state/loaded" 2>/dev/null)" != "$(library_sum)" ]; then
        say "restarting the private server, because the extension has changed"
        stop
    fi
    is_running || start
}

up() {
    run
    if [ -z "$(query postgres "SELECT 1 FROM pg_database WHERE datname = '$database'")" ]; then
        create_database
    else
        check_database
    fi
}

renew() {
    run
    query postgres "DROP DATABASE IF EXISTS \"$database\" WITH (FORCE)"
    create_database
}

down() {
    if is_running; then stop; else say "the private server in $state does not run"; fi
}

reset() {
    if is_running; then stop; fi
    rm -rf "$data" "$data.new" "$state"/script-*
    up
}

# For eval "$(make -s env)"
env_lines() { printf 'export %s=%q\n' PGHOST "$socket" PGPORT "$port" PGUSER "$me" PGDATABASE "$database"; }

case ${1:-} in
    up | down | renew | reset) "$1" ;;
    env) env_lines ;;
    *) fail "usage: server.sh up|down|env|renew|reset" ;;
esac

#!/bin/sh
# Prints the pg_config of the PostgreSQL that delc is built for: $PG_CONFIG when set, else the release's own version
# (Debian 12: 15, Debian 13: 17), else the newest one installed. Never the first on the PATH, which may be a shim.
set -eu

if [ -n "${PG_CONFIG:-}" ]; then
    echo "$PG_CONFIG"
    exit
fi
release=$(. /etc/os-release && echo "${ID:-} ${VERSION_ID:-}")
case $release in
    "debian 12") major=15 ;;
    "debian 13") major=17 ;;
    *) major=$(find /usr/lib/postgresql -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null | sort -n | tail -n 1) ;;
esac
echo "/usr/lib/postgresql/${major:-15}/bin/pg_config"

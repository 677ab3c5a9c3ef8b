#!/bin/bash
# Installs packages (as root): apt-install.sh PACKAGE…
# A new PostgreSQL package makes and starts a cluster named main; not so while this runs.
set -euo pipefail

folder=/etc/postgresql-common/createcluster.d
setting=$folder/delc-no-main-cluster.conf
log=$(mktemp)
put_back() {
    rm -f "$setting" "$log"
    rmdir --ignore-fail-on-non-empty "$folder"
}

mkdir -p "$folder"
trap put_back EXIT
echo "create_main_cluster = false" >"$setting"
if ! apt-get -q install -y --no-install-recommends -o Dpkg::Use-Pty=0 "$@" </dev/null >"$log" 2>&1; then
    cat "$log" >&2
    exit 1
fi

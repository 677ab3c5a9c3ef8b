#!/bin/bash
# Installs the Debian packages that are missing: packages.sh PG_CONFIG LIBRARIES GROUP…
# Groups: server (what the extension needs to be built and to run), test, lint, debian13.
# Other clusters on the machine are neither made, stopped nor restarted.
# shellcheck source=setup/common.sh
source "$(dirname "$0")/common.sh"

pg_config=$1 libraries=$2
shift 2

# Only Debian's own PostgreSQL is ours to install; another one is there already or is not found.
packaged_major() { sed -n 's|^/usr/lib/postgresql/\([0-9]*\)/bin/pg_config$|\1|p' <<<"$pg_config"; }

group_server() {
    echo build-essential libzstd-dev python3 python3-dev
    [ -z "$major" ] || echo "postgresql-$major" "postgresql-plpython3-$major" "postgresql-server-dev-$major"
    case $libraries in
        venv) echo python3-venv ;;
        debian) echo python3-torch python3-numpy python3-safetensors python3-psycopg python3-sklearn python3-scipy python3-onnx python3-optuna ;;
    esac
}

group_test() {
    [ "$libraries" = venv ] || echo python3-pytest python3-pytest-xdist python3-hypothesis python3-onnxruntime
}

group_lint() { echo shellcheck; }

group_debian13() { echo debootstrap debian-archive-keyring; }

missing() {
    local package
    for package in "$@"; do
        dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || echo "$package"
    done
}

# apt may have to bring the server to the same minor version as PL/Python, and that restarts its running clusters.
refuse_to_restart_clusters() {
    local plan
    plan=$(apt-get -s -q --no-install-recommends install "$@") || return 0 # apt says why, when it is asked to install
    if grep -q "^Inst postgresql-$major \[" <<<"$plan" && pg_lsclusters -h | grep -qE "^$major .* online"; then
        fail "this would upgrade PostgreSQL $major and restart its running clusters; when that suits them, run:" \
            "    $command"
    fi
}

install_packages() {
    local command="sudo apt-get install --no-install-recommends $*"
    may_be_root || fail "packages are missing, and sudo is missing or asks for a password; run:" "    $command"
    say "installing $*"
    export DEBIAN_FRONTEND=noninteractive
    as_root apt-get -q -q update </dev/null || say "apt-get update failed; going on with the package lists that are there"
    refuse_to_restart_clusters "$@"
    as_root bash "$root/setup/apt-install.sh" "$@" ||
        fail "packages could not be installed; when apt can reach its mirror, run:" "    $command"
}

major=$(packaged_major)
if [ -z "$major" ] && [ ! -x "$pg_config" ]; then
    fail "there is no pg_config at $pg_config; name the one of your server: make PG_CONFIG=/path/to/pg_config …"
fi
mapfile -t wanted < <(for group in "$@"; do "group_$group"; done | tr ' ' '\n' | sort -u | grep .)
mapfile -t needed < <(missing "${wanted[@]}")
if [ ${#needed[@]} -gt 0 ]; then
    command -v apt-get >/dev/null || fail "there is no apt-get here; install by other means: ${needed[*]}"
    install_packages "${needed[@]}"
fi

# Sourced by the other scripts: messages, and rights that are asked for only where they are needed.
# shellcheck shell=bash

set -euo pipefail
umask 022 # what is installed must be readable to the server's system user
# shellcheck disable=SC2034 # for the scripts that source this
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { echo "delc: $*" >&2; }

fail() {
    printf 'delc: %s\n' "$@" >&2
    exit 1
}

# The command as a line that can be pasted into a shell.
quoted() {
    local line
    printf -v line '%q ' "$@"
    echo "${line% }"
}

# Whether as_root will work: root itself, or sudo that asks nothing or has somebody to ask.
may_be_root() {
    [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [ -t 0 ]; }; }
}

# Runs a command as root, through sudo where the caller is somebody else.
as_root() {
    may_be_root || fail "this needs an administrator's rights, and sudo is missing or asks for a password; run:" \
        "    sudo $(quoted "$@")"
    if [ "$(id -u)" = 0 ]; then
        "$@"
    else # settings that decide where packages come from survive sudo
        sudo --preserve-env="$(compgen -e | grep -iE '^(PIP_.*|.*_proxy|DEBIAN_FRONTEND)$' | paste -sd, -)" -- "$@"
    fi
}

# Runs a command directly where the caller may write to the folder (or could make it), else as root.
for_folder() {
    local folder=$1
    shift
    while [ ! -e "$folder" ]; do folder=$(dirname "$folder"); done
    if [ -w "$folder" ]; then "$@"; else as_root "$@"; fi
}

# Waits for other runs of make in this checkout that build or install.
one_at_a_time() {
    mkdir -p "$root/build"
    exec 9>"$root/build/lock"
    flock 9
}

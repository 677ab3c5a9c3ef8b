#!/bin/bash
# Makes the server's virtual environment and installs what is missing there: venv.sh FOLDER TORCH PIP_OPTIONS FILE…
# Made with Debian's python3, the one that PL/Python is linked to, whatever other python3 is on the PATH.
# shellcheck source=setup/common.sh
source "$(dirname "$0")/common.sh"

venv=$1 torch=$2 pip_options=$3
shift 3

# Written last: what was asked for, so that a second run has nothing to do and a broken one starts again.
for list in "$@"; do
    stamp=$venv/delc-$(basename "$list")
    wanted="$torch $pip_options"$'\n'$(cat "$list")
    [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ] || continue

    say "installing Python libraries into $venv: $(grep -v '^#' "$list" | cut -d= -f1 | paste -sd' ' -)"
    make=(/usr/bin/python3 -m venv "$venv")
    [ -x "$venv/bin/python" ] || for_folder "$venv" "${make[@]}" >&2 ||
        fail "the virtual environment could not be made; run:" "    $(quoted "${make[@]}")"
    # shellcheck disable=SC2206 # the options are several words
    install=("$venv/bin/python" -m pip install --quiet $pip_options "$torch" -r "$list")
    for_folder "$venv" "${install[@]}" >&2 ||
        fail "Python libraries could not be installed; when the package index can be reached, run:" \
            "    $(quoted "${install[@]}")"
    for_folder "$venv" tee "$stamp" <<<"$wanted" >/dev/null
done

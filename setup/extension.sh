#!/bin/bash
# Builds the extension and installs it where it differs from what is installed: extension.sh PG_CONFIG PYTHON_PATH
# shellcheck source=setup/common.sh
source "$(dirname "$0")/common.sh"

pg_config=$1 python_path=$2
build=$root/extension
# The same sources give the same bytes in every checkout, so that what is installed can be compared.
variables=(PG_CONFIG="$pg_config" DELC_PYTHON_PATH="$python_path" DELC_CFLAGS="-ffile-prefix-map=$build=." with_llvm=no)
built_for=$root/build/extension-built-for

one_at_a_time

# Make compares times only; objects made for another server or path have to go.
wanted="$("$pg_config" --version) $(quoted "${variables[@]}")"
if [ "$(cat "$built_for" 2>/dev/null)" != "$wanted" ]; then
    make -C "$build" -s --no-print-directory clean "${variables[@]}" >&2
    echo "$wanted" >"$built_for"
fi
make -C "$build" -s --no-print-directory -j2 "${variables[@]}" >&2

libraries=$("$pg_config" --pkglibdir)
control=$("$pg_config" --sharedir)/extension
script=delc--$(sed -n "s/^default_version = '\(.*\)'/\1/p" "$build/delc.control").sql
installed() {
    cmp -s "$build/delc.so" "$libraries/delc.so" &&
        cmp -s "$build/plpython/delc_plpython.so" "$libraries/delc_plpython.so" &&
        cmp -s "$build/delc.control" "$control/delc.control" &&
        cmp -s "$build/$script" "$control/$script"
}
if ! installed; then
    say "installing the extension for $("$pg_config" --version)"
    for_folder "$control" make -C "$build" -s --no-print-directory install "${variables[@]}" >&2
fi

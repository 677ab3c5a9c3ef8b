#!/bin/bash
# Puts a compiled copy of a Python package in another's place, readable for all: copy-package.sh SOURCE TARGET PYTHON
set -euo pipefail
umask 022

source=$1 target=$2 python=$3
place=$(dirname "$target")
new=$place/.new.$$ old=$place/.old.$$
trap 'rm -rf "$new" "$old"' EXIT

mkdir -p "$place"
cp -r "$source" "$new"
find "$new" -name __pycache__ -prune -exec rm -rf {} +
chmod -R u=rwX,go=rX "$new"
"$python" -m compileall -q -s "$new" -p "$target" "$new"
[ ! -e "$target" ] || mv -T "$target" "$old"
mv -T "$new" "$target"

#!/bin/bash
# Copies the package delc to where the server reads it: python-package.sh SOURCE TARGET PYTHON
# A session sees the whole old package or the whole new one: the copy is made beside it and renamed.
# shellcheck source=setup/common.sh
source "$(dirname "$0")/common.sh"

source=$1 target=$2 python=$3
one_at_a_time
! diff -rq --exclude=__pycache__ "$source" "$target" >/dev/null 2>&1 || exit 0

say "installing the Python package in $target"
for_folder "$target" bash "$root/setup/copy-package.sh" "$source" "$target" "$python"

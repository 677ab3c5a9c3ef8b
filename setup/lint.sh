#!/bin/bash
# Checks the code without running it: lint.sh PYTHON INSTALL_SCRIPT
# shellcheck source=setup/common.sh
source "$(dirname "$0")/common.sh"

python=$1 script=$2
failed=0
check() {
    say "$(basename "$1") …"
    "$@" || failed=1
}

cd "$root"
tools=$(dirname "$python")
check shellcheck -x setup/*.sh
check "$tools/ruff" check .
check "$tools/mypy"
check "$tools/pgspot" --ignore-lang=plpython3u "$script"
exit $failed

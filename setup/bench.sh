#!/bin/bash
# Runs the benchmarks, one program per claim: bench.sh PYTHON PROGRAM…
# shellcheck source=setup/common.sh
source "$(dirname "$0")/common.sh"

python=$1
shift
[ $# -gt 0 ] || fail "there are no programs in bench/"
cd "$root"
for program in "$@"; do
    PYTHONPATH=$root/python:$root/tests "$python" "$program"
done

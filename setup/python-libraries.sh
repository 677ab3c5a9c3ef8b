#!/bin/sh
# Prints where torch and the other Python libraries come from: "debian" where the release packages all of them
# (Debian 13 and later), else "venv".
set -eu

release=$(. /etc/os-release && echo "${ID:-} ${VERSION_ID:-}")
case $release in
    "debian "[0-9] | "debian 1"[0-2] | "debian ") echo venv ;;
    "debian "*) echo debian ;;
    *) echo venv ;;
esac

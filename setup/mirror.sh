#!/bin/sh
# Prints the mirror that this system's own Debian packages come from, taken from apt's configuration.
set -eu

codename=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
# shellcheck disable=SC2016 # apt-get fills in the field
apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' "Codename: $codename" | sort -u | head -n 1

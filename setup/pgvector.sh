#!/bin/bash
# Installs pgvector where it is missing: pgvector.sh PG_CONFIG
# As a package where apt knows one for this PostgreSQL, else built from the source package of Debian 13.
# shellcheck source=setup/common.sh
source "$(dirname "$0")/common.sh"

pg_config=$1
[ ! -e "$("$pg_config" --sharedir)/extension/vector.control" ] || exit 0

major=$("$pg_config" --version | grep -oE '[0-9]+' | head -n 1)
package=postgresql-$major-pgvector
if [ "$pg_config" = "/usr/lib/postgresql/$major/bin/pg_config" ] &&
    apt-cache policy "$package" | grep -q 'Candidate: [0-9]'; then
    say "installing $package"
    as_root bash "$root/setup/apt-install.sh" "$package"
    exit
fi

mirror=$("$root/setup/mirror.sh")
[ -n "$mirror" ] || fail "pgvector is missing and apt names no Debian mirror to fetch its source from;" \
    "install pgvector for PostgreSQL $major by other means (its own make PG_CONFIG=$pg_config && make install)"
say "building pgvector for PostgreSQL $major"
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

# Package lists of our own: the system's sources stay as they are.
mkdir -p "$build"/{sources,lists/partial,code}
cat >"$build/sources/trixie.sources" <<END
Types: deb-src
URIs: $mirror
Suites: trixie
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
options=(-q -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$build/sources"
    -o Dir::State::Lists="$build/lists" -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= -o APT::Sandbox::User="$(id -un)")
(cd "$build" && apt-get "${options[@]}" update && apt-get "${options[@]}" source --download-only pgvector) >&2 ||
    fail "the source of pgvector could not be fetched from $mirror; when it can be reached, run the same command again," \
        "or install pgvector for PostgreSQL $major by other means"
tar -xzf "$build"/pgvector_*.orig.tar.gz -C "$build/code" --strip-components 1
make -C "$build/code" -s --no-print-directory -j2 OPTFLAGS= PG_CONFIG="$pg_config" with_llvm=no >&2
for_folder "$("$pg_config" --sharedir)/extension" \
    make -C "$build/code" -s --no-print-directory install OPTFLAGS= PG_CONFIG="$pg_config" with_llvm=no >&2

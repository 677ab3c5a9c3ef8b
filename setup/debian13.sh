#!/bin/bash
# Runs the tests in a Debian 13 of their own: debian13.sh FOLDER [make test's variables…]
# Made with debootstrap from this system's mirror, kept for the next time. The checkout is copied into it and installed
# as an ordinary machine's would be: make test, with all libraries from apt.
# shellcheck source=setup/common.sh
source "$(dirname "$0")/common.sh"

folder=$1
shift
release=trixie
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

if [ "$(id -u)" != 0 ]; then
    fail "making a Debian 13 needs an administrator's rights; run:" "    sudo make test-debian13"
fi

make_root() {
    local mirror
    mirror=$("$root/setup/mirror.sh")
    [ -n "$mirror" ] || fail "apt names no Debian mirror to take Debian 13 from"
    "$root/setup/packages.sh" "$PG_CONFIG" "$LIBRARIES" debian13
    say "making a Debian 13 in $folder"
    rm -rf --one-file-system "$folder.new"
    mkdir -p "$(dirname "$folder")"
    debootstrap --variant=minbase --keyring="$keyring" --include=ca-certificates,make \
        "$release" "$folder.new" "$mirror" >"$folder.log" 2>&1 ||
        fail "debootstrap failed; its log is $folder.log"
    mv "$folder.new" "$folder"
}

# Settings of this machine without which apt could not reach the mirror there either.
copy_network_settings() {
    cp /etc/resolv.conf "$folder/etc/resolv.conf"
    cp /etc/hosts "$folder/etc/hosts"
}

mount_system() {
    trap unmount_system EXIT
    mount -t proc proc "$folder/proc"
    mount --rbind --make-rslave /dev "$folder/dev"
}

unmount_system() {
    for place in dev proc; do
        if mountpoint -q "$folder/$place"; then umount -R "$folder/$place"; fi
    done
}

# What git would commit, not what was built here.
copy_checkout() {
    rm -rf "$folder/delc"
    mkdir "$folder/delc"
    (cd "$root" && git ls-files --cached --others --exclude-standard -z |
        tar --create --null --ignore-failed-read --files-from=-) | tar --extract --directory "$folder/delc"
    chown -R 0:0 "$folder/delc"
}

inside() {
    env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 \
        chroot "$folder" "$@"
}

unmount_system # what an earlier run, ended by force, may have left
[ -e "$folder" ] || make_root
copy_network_settings
mount_system
copy_checkout
inside make -C /delc test "$@"

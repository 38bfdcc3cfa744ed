#!/bin/sh
# Makes a tools root of a copied root: $1 is the copy's folder, the rest are packages.
# Mounts and processes live in namespaces of their own and go with them.
set -eu
exec unshare --mount --pid --fork --propagation private sh -euc '
    root=$1
    shift
    mount -t proc proc "$root/proc"
    mount --bind /dev "$root/dev"
    : > "$root/etc/resolv.conf"
    mount --bind /etc/resolv.conf "$root/etc/resolv.conf"
    chroot "$root" env DEBIAN_FRONTEND=noninteractive sh -euc "
        apt-get -qq update
        apt-get -qq install --yes --no-install-recommends -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0 \"\$@\"
        apt-get clean
        rm -rf /var/lib/apt/lists/*
        # What an idle machine would do at night.
        if [ -e /lib/systemd/system/man-db.timer ]; then systemctl -q mask man-db.timer; fi
    " install "$@"
    umount "$root/etc/resolv.conf" "$root/dev" "$root/proc"
    rm "$root/etc/resolv.conf"
' tools "$@"

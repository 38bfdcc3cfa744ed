# $1.. = options for systemd-nspawn. CGROUP, DIR, LOWER, NETNS, NAME, UUID, HOSTS, SECOND come in the environment.
set -eu
echo $$ > "$CGROUP/cgroup.procs"
# Everything below is mounted in a namespace of its own and goes when the host goes. cgroup2 must be the only
# hierarchy in it, or systemd-nspawn hands version 1 groups to the host and leaves them behind in the machine's.
exec unshare --mount --propagation private sh -euc '
    umount -R /sys/fs/cgroup
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    mkdir -p /run/systemd
    mount -t tmpfs -o mode=755 tmpfs /run/systemd
    mount -o loop "$DIR/disk" "$DIR/mnt"
    mkdir -p "$DIR/mnt/upper" "$DIR/mnt/work"
    mount -t overlay overlay -o "lowerdir=$LOWER,upperdir=$DIR/mnt/upper,workdir=$DIR/mnt/work" "$DIR/root"
    if [ -n "$SECOND" ]; then
        mkdir -p "$DIR/mnt2"
        mount -o loop "$DIR/disk2" "$DIR/mnt2"
        set -- "$@" "--bind=$DIR/mnt2:$SECOND"
    fi
    export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
    exec systemd-nspawn --quiet --boot --directory="$DIR/root" --machine="$NAME" --uuid="$UUID" \
        --keep-unit --register=no --settings=no --private-users=no --link-journal=no \
        --resolv-conf=off --timezone=off --network-namespace-path="/run/netns/$NETNS" \
        --capability=CAP_NET_ADMIN --bind-ro="$HOSTS:/etc/hosts" "$@"
' nspawn "$@"

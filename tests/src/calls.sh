#!/bin/bash
# One life of a kind, in which a program dies at a system call: calls PROGRAM SKIP NAME:K KIND, at its Kth call of that name; `-` for nobody.
# SKIP: how many of a program's processes come before, for effect workers. Prints `died` or `nobody`, and `calls` with the names of those
# seen, in their order, of the process or thread that made the most.
set -u
program=$1 skip=$2 at=$3 kind=$4
place=/usr/libexec/jitsudo/$program trace=/run/calls.trace death=
# A counter is a call's own: the Kth of all calls is no order that strace takes.
[ "$at" = - ] || death="-e inject=${at%:*}:signal=KILL:when=${at#*:}"
rm -f $trace

# Traces what runs, by pid, until the life is over.
attach() {
    strace "$@" -o $trace $death >/run/calls.strace 2>&1 &
    tracer=$!
    for _ in $(seq 100); do grep -q attached /run/calls.strace && return; sleep 0.02; done
}
# One that meets a vfork(2) at this moment waits for ever.
detach() {
    kill $tracer 2>/dev/null
    for _ in $(seq 50); do kill -0 $tracer 2>/dev/null || break; sleep 0.1; done
    kill -KILL $tracer 2>/dev/null
    wait $tracer
}

case $program in
jitsudod | jitsudo-spawn)
    attach -f -p "$(pidof "$program")"
    /opt/life "$kind"
    detach ;;
jitsudo-facts)
    attach -p "$(pidof "$program" | tr ' ' ,)"
    /opt/life "$kind"
    detach ;;
jitsudo-session)
    # The newest waits for its request; the others are sessions that run.
    attach -p "$(pgrep -n -x jitsudo-session)"
    /opt/life "$kind"
    detach ;;
jitsudo-effects)
    # A worker is started with an order: it is traced from its beginning, by a tracer that is not in its place.
    cp -a "$place" /run/calls.real
    cat >/run/calls.wrapper <<END
#!/bin/sh
if mv /run/calls.at /run/calls.taken 2>/dev/null; then
    read -r skip </run/calls.taken
    [ "\$skip" -gt 0 ] || exec strace -D -o $trace $death /run/calls.real "\$@"
    echo \$((skip - 1)) >/run/calls.at
fi
exec /run/calls.real "\$@"
END
    chmod 755 /run/calls.wrapper
    mount -o remount,exec /run 2>/dev/null
    echo "$skip" >/run/calls.at
    mount --bind /run/calls.wrapper "$place"
    /opt/life "$kind"
    # With what is live the workers are sometimes fewer.
    [ ! -e /run/calls.at ] || >>$trace
    rm -f /run/calls.at
    # A worker may be at it still.
    for _ in $(seq 100); do umount "$place" && break; sleep 0.1; done ;;
jitsudo-sweep)
    timeout 15 runuser -l alice -c 'jitctl request life-host --for 10m' </dev/null
    systemctl stop jitsudo-spawn.socket jitsudo-spawn jitsudod.socket jitsudod
    strace -o $trace $death "$place" --all
    "$place" --all || echo "swept: $?"
    systemctl start jitsudo-spawn.socket jitsudo-spawn jitsudod.socket jitsudod ;;
esac
[ -e $trace ] || cat /run/calls.strace
if grep -q 'killed by SIGKILL' $trace; then echo died; else echo nobody; fi
# Where more than one thread or process was traced each line begins with whose it is.
awk '{
    whose = $1 ~ /^[0-9]+$/ ? $1 : "one"
    line = whose == "one" ? $0 : substr($0, index($0, $2))
    if (match(line, /^[a-z_0-9]+\(/)) { count[whose]++; names[whose] = names[whose] " " substr(line, 1, RLENGTH - 1) }
} END {
    for (one in count) if (count[one] > most) { most = count[one]; busiest = one }
    print "calls" names[busiest]
}' $trace

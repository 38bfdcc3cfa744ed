#!/bin/bash
# One life of a kind, with a point in it at which a program dies or stops: life KIND [POINT SKIP [stop]]; and what is to be done after one
# that a power cut ended: life KIND after
#
# With a point: prints `nobody` when nobody came there, else `died` or `stopped`.
set -u
kind=$1 point=${2-} skip=${3-0} how=${4-} before="" held=""
as() { timeout 40 runuser -l "$1" -c "$2" </dev/null 2>&1; }

arm() {
    [ -n "$point" ] || return 0
    before=$(pidof jitsudod)
    # The decider cannot remove its order: it is named by its pid.
    case $point in
    decider.*) echo "$point $skip $before $how" >/run/.point ;;
    *) echo "$point $skip 0 $how" >/run/.point ;;
    esac
    chmod 644 /run/.point
    mv /run/.point /run/jitsudo-failpoint
}

is_stopped() { ps -eo stat=,comm= | grep -q '^T.* \(jitsudo\|jitctl\)'; }
came() {
    if [ -n "$how" ]; then is_stopped; return; fi
    case $point in
    decider.*) [ "$(pidof jitsudod)" != "$before" ] ;;
    *) [ ! -e /run/jitsudo-failpoint ] ;;
    esac
}

# Asks for a role; its id is $held then, if anything was said.
request() {
    local said
    said=$(as "$1" "timeout 15 jitctl request $2 --for 10m")
    echo "$said"
    held=$(sed -n 's/.*(\([0-9a-z]*\)).*/\1/p' <<<"$said" | head -n 1)
}
ask() { [ -z "$held" ] || as "$@"; }
daemons() { systemctl "$1" jitsudo-spawn.socket jitsudo-spawn jitsudod.socket jitsudod; }

# What happens before the point is armed, and then.
first() {
    case $kind in
    # Another host than the one that pictures were taken of.
    residue) echo "# $RANDOM" >"/etc/cron.d/left-$RANDOM" ;;
    extend | sweep) request alice life-host ;;
    esac
    [ "$kind" != sweep ] || daemons stop
}
then_() {
    case $kind in
    grant)
        request alice life-host
        as alice 'timeout 8 jitsudo id -u'
        ask alice "timeout 8 jitctl release $held" ;;
    group)
        request alice life-group
        as alice 'timeout 8 jitsudo --role life-group id -Gn'
        ask alice "timeout 8 jitctl release $held" ;;
    login)
        request alice life-login
        timeout 8 ssh -n -o BatchMode=yes alice-adm@localhost id -un 2>&1
        ask alice "timeout 8 jitctl release $held" ;;
    command) as alice 'timeout 8 jitsudo id -g' ;;
    extend)
        ask alice "timeout 8 jitctl extend $held --for 5m"
        ask alice "timeout 8 jitctl release $held" ;;
    end)
        request alice life-host
        [ -z "$held" ] || timeout 8 jitctl end "$held" ;;
    lock)
        request admin life-host
        timeout 8 jitctl lock admin -m 'lost laptop'
        timeout 8 jitctl unlock admin ;;
    review)
        as admin "echo admin-pw | timeout 8 jitsudo -S -p '' --break-glass -m 'db down' id -G"
        reviewed ;;
    residue)
        request alice life-host
        cp /bin/true "/usr/local/bin/left-$RANDOM" && chmod u+s /usr/local/bin/left-*
        ask alice "timeout 8 jitctl release $held"
        for _ in $(seq 60); do came && break; jitctl residue --all --json 2>/dev/null | grep -q "$held" && break; sleep 0.2; done
        [ -z "$held" ] || timeout 8 jitctl residue acknowledge "$held" -m 'a test' ;;
    gate)
        timeout 8 jitctl gate enable su
        timeout 8 jitctl gate disable su ;;
    apply) timeout 8 jitctl policy apply --yes ;;
    sweep)
        /usr/libexec/jitsudo/jitsudo-sweep --all
        [ -n "$how" ] || /usr/libexec/jitsudo/jitsudo-sweep --all || echo "swept: $?" ;;
    esac
}
reviewed() {
    local id
    for id in $(as bob 'jitctl review --json' | tr -d ' ' | grep -o '"id":"[^"]*' | cut -d'"' -f4); do
        as bob "timeout 8 jitctl review $id -m 'a test'"
    done
}

# What a death has left undone, so that the next life begins as this one did.
after_() {
    for _ in $(seq 100); do timeout 2 jitctl status >/dev/null 2>&1 && break; [ "$kind" != sweep ] || daemons start; sleep 0.05; done
    case $kind in
    lock) jitctl unlock admin >/dev/null 2>&1 ;;
    review)
        # What a death left undecided is not reviewed before it is known to be over.
        for _ in $(seq 150); do
            reviewed >/dev/null
            as bob 'jitctl review --json' | grep -q '"id"' || break
            sleep 0.2
        done ;;
    gate) jitctl gate disable su >/dev/null 2>&1 ;;
    residue) rm -f /usr/local/bin/left-* /etc/cron.d/left-* ;;
    esac
    true
}

if [ "$point" = after ]; then
    after_
    exit
fi
first
arm
if [ -n "$how" ]; then
    # Whoever waits for a program that stands still holds nothing of the caller's.
    then_ </dev/null >/run/life.said 2>&1 &
    for _ in $(seq 400); do
        if is_stopped; then echo stopped; exit 0; fi
        kill -0 $! 2>/dev/null || break
        sleep 0.05
    done
    # What comes after the answer.
    for _ in $(seq 60); do if is_stopped; then echo stopped; exit 0; fi; sleep 0.05; done
    echo nobody
    exit 0
fi
then_
if [ -n "$point" ]; then
    for _ in $(seq 40); do came && break; sleep 0.05; done
    if came; then echo died; else echo nobody; fi
    rm -f /run/jitsudo-failpoint
fi
after_

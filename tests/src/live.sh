#!/bin/bash
# Makes and looks at live grants on a host, for $WINDOW each. Lines on standard input: KIND USER ROLE MARK ARGUMENT..., where MARK is the command that runs
# under the grant, as `sleep N`, or `-`. `make` prints each line with the grant's full id before it; `look` is given such lines and prints
# the ids of those that are wholly there.
set -u
as() { runuser -l "$1" -c "$2"; }
runs() { pgrep -xf "sleep $1" >/dev/null; }
patiently() { for _ in $(seq 200); do "$@" && return 0; sleep 0.05; done; return 1; }

# Everything of one account, in one login of it.
make_of() {
    local user=$1 script="" kind role mark
    while read -r kind _ role mark _; do
        case $kind in
        command) script+="echo -; (setsid jitsudo -T $WINDOW sleep $mark </dev/null >/dev/null 2>&1 &);" ;;
        *) script+="jitctl request $role --for $WINDOW 2>&1 | tr '\n' ' '; echo;" ;;
        esac
        case $kind in
        run) script+="(setsid jitsudo sleep $mark </dev/null >/dev/null 2>&1 &);" ;;
        group) script+="(setsid jitsudo --role $role sleep $mark </dev/null >/dev/null 2>&1 &);" ;;
        esac
    done <"/run/live.$user"
    as "$user" "$script" </dev/null | paste -d' ' "/run/live.$user" - >"/run/live.$user.made"
}

make() {
    rm -f /run/live.*
    while read -r kind user rest; do echo "$kind $user $rest" >>"/run/live.$user"; done
    for user in $(ls /run/live.* 2>/dev/null); do make_of "${user#/run/live.}" & done
    wait
    cat /run/live.*.made 2>/dev/null | while read -r kind user role mark argument said; do
        if [ "$kind" = login ] && [ "$mark" != - ]; then
            setsid ssh -n -o BatchMode=yes -o StrictHostKeyChecking=no "$argument@localhost" sleep "$mark" >/dev/null 2>&1 &
        fi
        if [ "$mark" != - ] && ! patiently runs "$mark"; then echo "no process: $kind $user $role $mark $said" >&2; exit 1; fi
        if [ "$kind" = command ]; then
            id=$(jitctl sessions --all --json | tr -d ' \n' | tr '{' '\n' | grep "\"$mark\"" | grep -o '"id":"[^"]*' | cut -d'"' -f4)
        else
            id=$(grep -o '([0-9a-z]*)' <<<"$said" | head -n 1 | tr -d '()')
            id=$(cd /run/jitsudo/ends && ls | grep "^01.*$id\$")
        fi
        if [ "$(wc -w <<<"$id")" != 1 ]; then echo "not given: $kind $user $role $mark $said" >&2; exit 1; fi
        echo "$id $kind $user $role $mark $argument"
    done
}

is_there() {
    local id=$1 kind=$2 user=$3 mark=$4 argument=$5
    case $kind in
    command) ;;
    *) [ -e "/run/jitsudo/ends/$id" ] && ! grep -q '"ending":"' "/run/jitsudo/ends/$id" || return 1 ;;
    esac
    case $kind in
    membership) id -nG "$user" | tr ' ' '\n' | grep -qx "$argument" || return 1 ;;
    sudoers) [ -e "/run/jitsudo/sudoers.d/$id" ] || return 1 ;;
    esac
    [ "$mark" = - ] || runs "$mark"
}

look() {
    while read -r id kind user _ mark argument; do
        is_there "$id" "$kind" "$user" "$mark" "$argument" && echo "$id"
    done
    true
}

left() {
    cd / || exit 1
    for file in etc/group etc/gshadow etc/sudoers; do cmp -s "$file" "root/before/${file#etc/}" || echo "$file is another"; done
    diff -r root/before/sudoers.d etc/sudoers.d
    for folder in run/jitsudo/ends run/jitsudo/sudoers.d run/jitsudo/lent run/jitsudo/logins var/lib/jitsudo/ends; do
        ls -A "$folder" 2>/dev/null | grep -v '^[.]lock$' | sed "s,^,$folder/,"
    done
    pgrep -axf 'sleep 50[0-9][0-9][0-9]'
    true
}

"$1"

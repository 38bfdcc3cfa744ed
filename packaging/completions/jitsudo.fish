# Completion of jitsudo for fish: its own options, then the command and the command's own words.

# Options that take the next word as their value.
set -g __fish_jitsudo_valued -u --user -g --group -U --other-user -D --chdir -p --prompt -m --reason --ticket --role --for --request --status-fd -C --close-from -T --command-timeout --host

# Succeeds as long as the command's name is not there yet.
function __fish_jitsudo_before_command
    set -l tokens (commandline -opc)
    set -e tokens[1]
    set -l takes_value 0
    for token in $tokens
        if test $takes_value = 1
            set takes_value 0
        else if contains -- $token $__fish_jitsudo_valued
            set takes_value 1
        else if not string match -qr -- '^(-|[A-Za-z_][A-Za-z0-9_]*=)' $token
            return 1
        end
    end
    return 0
end

function __fish_jitsudo_command
    set -lx -a PATH /usr/local/sbin /usr/sbin /sbin
    __fish_complete_subcommand $__fish_jitsudo_valued
end

function __fish_jitsudo_roles
    jitctl roles --json 2>/dev/null | string match -ar '"role": *"([^"]*)"' | string match -v '*:*' | sort -u
end

set -l before -n __fish_jitsudo_before_command
complete -c jitsudo -x -n 'not __fish_seen_argument -s e -l edit' -a '(__fish_jitsudo_command)'
complete -c jitsudo $before -s e -l edit -rF -d 'Edit files'
complete -c jitsudo $before -s u -l user -x -a '(__fish_complete_users)' -d 'Run as this account'
complete -c jitsudo $before -s g -l group -x -a '(__fish_complete_groups)' -d 'Run with this primary group'
complete -c jitsudo $before -s D -l chdir -x -a '(__fish_complete_directories)' -d 'Change to this directory first'
complete -c jitsudo $before -s s -l shell -d 'Run a shell, or a command by it'
complete -c jitsudo $before -s i -l login -d 'Run the login shell of the account'
complete -c jitsudo $before -s E -l preserve-env -d 'Keep what the policy lets you keep'
complete -c jitsudo $before -s H -l set-home -d 'Set HOME to that of the account'
complete -c jitsudo $before -s n -l non-interactive -d 'Wait for neither password nor person'
complete -c jitsudo $before -s b -l background -d 'Run in the background'
complete -c jitsudo $before -s B -l bell -d 'Ring the bell when asking'
complete -c jitsudo $before -s C -l close-from -x -d 'Accepted for 3'
complete -c jitsudo $before -s N -l no-update -d 'Do not remember your password for longer'
complete -c jitsudo $before -s P -l preserve-groups -d 'Keep your supplementary groups'
complete -c jitsudo $before -s T -l command-timeout -x -d 'End the command after this time'
complete -c jitsudo $before -s U -l other-user -x -a '(__fish_complete_users)' -d 'In list mode: of this account'
complete -c jitsudo $before -l host -x -d 'Accepted for the name of this host'
complete -c jitsudo $before -s A -l askpass -d 'Have a helper ask for the password'
complete -c jitsudo $before -s S -l stdin -d 'Read the password from standard input'
complete -c jitsudo $before -s p -l prompt -x -d 'Ask for the password with this text'
complete -c jitsudo $before -s k -l reset-timestamp -d 'Forget that you have proved who you are'
complete -c jitsudo $before -s K -l remove-timestamp -d 'Forget it everywhere'
complete -c jitsudo $before -s v -l validate -d 'Prove who you are, run nothing'
complete -c jitsudo $before -s l -l list -d 'Say what you may run'
complete -c jitsudo $before -s m -l reason -x -d 'Why; some rules ask for it'
complete -c jitsudo $before -l ticket -x -d 'The ticket that it is for'
complete -c jitsudo $before -l role -x -a '(__fish_jitsudo_roles)' -d 'By this role and no other'
complete -c jitsudo $before -l for -x -a '15m 30m 1h 4h' -d 'For so long'
complete -c jitsudo $before -l break-glass -d 'By a break-glass rule: recorded and reviewed'
complete -c jitsudo $before -l explain-env -d 'Show the variables of the command and why, run nothing'
complete -c jitsudo $before -l no-wait -d 'Do not wait for approvers'
complete -c jitsudo $before -l request -x -d 'Use the approval of this request'
complete -c jitsudo $before -l status-fd -x -d 'Say there what became of the request'
complete -c jitsudo $before -s h -l help -d 'Show the options'
complete -c jitsudo $before -s V -l version -d 'Show the version'

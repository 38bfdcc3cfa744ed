#compdef jitsudo jitsudoedit
# Completion of jitsudo for zsh: its own options, then the command and the command's own words.

_jitsudo_roles() {
    local -a roles
    roles=(${(f)"$(jitctl roles --json 2>/dev/null | grep -o '"role": *"[^"]*"' | cut -d'"' -f4 | sort -u)"})
    compadd -a roles
}

_jitsudo() {
    local -a options
    options=(
        '(-u --user)'{-u+,--user=}'[run as this account]:user:_users'
        '(-g --group)'{-g+,--group=}'[run with this primary group]:group:_groups'
        '(-D --chdir)'{-D+,--chdir=}'[change to this directory first]:directory:_directories'
        '(-H --set-home)'{-H,--set-home}'[set HOME to that of the account]'
        '(-E)-E[keep what the policy lets you keep of your environment]'
        '*--preserve-env=-[keep these variables]::variables'
        '(-n --non-interactive)'{-n,--non-interactive}'[wait for neither password nor person]'
        '(-b --background)'{-b,--background}'[run in the background]'
        '(-B --bell)'{-B,--bell}'[ring the bell when asking]'
        '(-C --close-from)'{-C+,--close-from=}'[accepted for 3]:descriptor'
        '(-N --no-update)'{-N,--no-update}'[do not remember your password for longer]'
        '(-P --preserve-groups)'{-P,--preserve-groups}'[keep your supplementary groups]'
        '(-T --command-timeout)'{-T+,--command-timeout=}'[end the command after this time]:time'
        '(-U --other-user)'{-U+,--other-user=}'[in list mode: of this account]:user:_users'
        '--host=[accepted for the name of this host]:host'
        '(-A --askpass)'{-A,--askpass}'[have a helper ask for the password]'
        '(-S --stdin)'{-S,--stdin}'[read the password from standard input]'
        '(-p --prompt)'{-p+,--prompt=}'[ask for the password with this text]:prompt'
        '(-k --reset-timestamp)'{-k,--reset-timestamp}'[forget that you have proved who you are]'
        '(-K --remove-timestamp)'{-K,--remove-timestamp}'[forget it everywhere]'
        '(-v --validate)'{-v,--validate}'[prove who you are, run nothing]'
        '*'{-l,--list}'[say what you may run]'
        '(-m --reason)'{-m+,--reason=}'[why; some rules ask for it]:reason'
        '--ticket=[the ticket that it is for]:ticket'
        '--role=[by this role and no other]:role:_jitsudo_roles'
        '--for=[for so long]:duration:(15m 30m 1h 4h)'
        '--break-glass[by a break-glass rule: recorded and reviewed]'
        '--explain-env[show the variables of the command and why, run nothing]'
        '--no-wait[do not wait for approvers]'
        '--request=[use the approval of this request]:request'
        '--status-fd=[say on this descriptor what became of the request]:descriptor'
        '(- *)'{-h,--help}'[show the options]'
        '(- *)'{-V,--version}'[show the version]'
    )
    if [[ $service == *sudoedit ]] || (( ${words[(I)(-e|--edit)]} )); then
        _arguments -s -S $options '(-e --edit)'{-e,--edit}'[edit files]' '*:file:_files'
        return
    fi
    local -x PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
    _arguments -s -S $options \
        '(-s --shell -i --login)'{-s,--shell}'[run a shell, or a command by it]' \
        '(-s --shell -i --login)'{-i,--login}"[run the account's login shell, or a command by it]" \
        '(-e --edit)'{-e,--edit}'[edit files]' \
        '(-):command: _command_names -e' \
        '*::arguments: _normal'
}

_jitsudo "$@"

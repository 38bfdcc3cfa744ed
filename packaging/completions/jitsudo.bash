# Completion of jitsudo for bash, on top of bash-completion: jitsudo's own options, then the command and the command's own words.

# Options with a value, as letters and as words.
_jitsudo_letters=CDgmpRrTtUu
_jitsudo_words='@(chdir|chroot|close-from|command-timeout|for|group|host|other-user|prompt|reason|request|role|status-fd|ticket|type|user)'

# Values of the option $1 that begin with $2.
_jitsudo_value()
{
    local IFS=$'\n'
    case $1 in
        --user | --other-user | -[uU]) COMPREPLY=($(compgen -u -- "$2")) ;;
        --group | -g) COMPREPLY=($(compgen -g -- "$2")) ;;
        --chdir | --chroot | -[DR])
            compopt -o filenames
            COMPREPLY=($(compgen -d -- "$2"))
            ;;
        --role)
            local roles=$(jitctl roles --json 2>/dev/null | command grep -o '"role": *"[^"]*"' | cut -d'"' -f4 | sort -u)
            COMPREPLY=($(compgen -W "$roles" -- "$2"))
            ;;
        --for) COMPREPLY=($(compgen -W $'15m\n30m\n1h\n4h' -- "$2")) ;;
    esac
}

_jitsudo()
{
    # Patterns in case are extended ones; the caller's setting comes back.
    local restore=$(shopt -p extglob)
    shopt -s extglob
    _jitsudo_complete "$1"
    eval "$restore"
}

_jitsudo_complete()
{
    COMPREPLY=()
    local i word pending= edit= rest
    [[ $1 == *sudoedit ]] && edit=yes
    for ((i = 1; i <= COMP_CWORD; i++)); do
        word=${COMP_WORDS[i]}
        if [[ -n $pending ]]; then
            # bash cuts --user=bob into three words.
            if [[ $word == = && ${COMP_WORDS[i - 1]} == "$pending" ]]; then
                ((i < COMP_CWORD)) && continue
                word=
            fi
            if ((i == COMP_CWORD)); then
                _jitsudo_value "$pending" "$word"
                return
            fi
            pending=
            continue
        fi
        # An option that is still being typed is completed below.
        ((i == COMP_CWORD)) && [[ $word == -* ]] && break
        case $word in
            --)
                ((i++))
                break
                ;;
            --edit) edit=yes ;;
            --$_jitsudo_words) pending=$word ;;
            --preserve-env)
                # Its list is optional, and stands behind a "=".
                [[ ${COMP_WORDS[i + 1]} == = ]] && ((i += 2))
                ;;
            --*) ;;
            -?*)
                rest=${word#-}
                while [[ -n $rest ]]; do
                    case ${rest:0:1} in
                        [$_jitsudo_letters])
                            [[ ${#rest} -eq 1 ]] && pending=-$rest
                            break
                            ;;
                        e) edit=yes ;;
                    esac
                    rest=${rest:1}
                done
                ;;
            [[:alpha:]_]*([[:alnum:]_])=*) ;;
            *)
                # NAME=value, which bash cuts as well; a blank behind the "=" means that the value is empty.
                if [[ ${COMP_WORDS[i + 1]} == = && $COMP_LINE == *"$word="* ]] && ((i < COMP_CWORD)); then
                    ((i++))
                    [[ $COMP_LINE == *"$word="[![:blank:]]* ]] && ((i++))
                    continue
                fi
                break
                ;;
        esac
    done
    # On the value of NAME=value.
    ((i > COMP_CWORD)) && return
    word=${COMP_WORDS[COMP_CWORD]}
    if ((i == COMP_CWORD)) && [[ $word == -* && ${COMP_WORDS[i - 1]} != -- ]]; then
        local options=$("$1" --help 2>/dev/null | sed -nE 's/^ {2,}(-[A-Za-z])?,? *(--[a-z-]+=?)?.*/\1 \2/p')
        COMPREPLY=($(compgen -W "$options" -- "$word"))
        [[ ${COMPREPLY-} == *= ]] && compopt -o nospace
        return
    fi
    if [[ -n $edit ]]; then
        compopt -o filenames
        local IFS=$'\n'
        COMPREPLY=($(compgen -f -- "$word"))
        return
    fi
    local PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$i"
    else
        _command_offset "$i"
    fi
}

complete -F _jitsudo jitsudo jitsudoedit

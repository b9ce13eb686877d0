# bash completion for vram                                       -*- shell-script -*-
# shellcheck shell=bash

# What there is, for the command $1 ('' before there is one), into the caller's variables.
@table@
# The words of the line up to the cursor, each whole: bash breaks them at : = and @ as well. `kept` is what of the last
# one bash leaves as it is.
_vram_split()
{
    local line=${COMP_LINE:0:COMP_POINT} blanks piece='' i
    words=()
    for ((i = 0; i <= COMP_CWORD; i++)); do
        blanks=${line%%[![:blank:]]*}
        line=${line#"$blanks"}
        piece=${COMP_WORDS[i]}
        if ((i == COMP_CWORD)); then
            piece=$line
        fi
        line=${line#"$piece"}
        if [[ $i == 0 || $blanks ]]; then
            words+=("$piece")
        else
            words[${#words[@]} - 1]+=$piece
        fi
    done
    cur=${words[${#words[@]} - 1]}
    if [[ $piece =~ ^[:=@]+$ ]]; then
        piece=''
    fi
    kept=${cur%"$piece"}
}

# Whether the command has the option $1 with a value; what that is, into `kind`.
_vram_takes_value()
{
    local option
    for option in $options; do
        if [[ $option == "$1:"* ]]; then
            kind=${option#*:}
            return 0
        fi
    done
    return 1
}

# The columns $1 of CSV, a value a line. Names from outside that are none are left out: they would be typed.
_vram_column()
{
    tail -n +2 | cut -d, -f"$1" | tr , '\n' | grep -Ex '[0-9A-Za-z-]+'
}

# What there is of the kind $1, a line each.
_vram_values()
{
    case $1 in
    gpu) VRAM_CALL_TIMEOUT=1s vram status --csv "${driver[@]}" 2>/dev/null | _vram_column "$gpu_columns" ;;
    lease) VRAM_CALL_TIMEOUT=1s vram leases --csv "${driver[@]}" 2>/dev/null | _vram_column "$lease_columns" ;;
    driver)
        printf '%s\n' auto nvml nvml:
        vram-sim list 2>/dev/null | sed -n 's/^\([0-9A-Za-z_-]*\) .*/sim:\1/p'
        ;;
    when) printf '%s\n' auto always never ;;
    command) printf '%s\n' "${commands// /$'\n'}" ;;
    pid) ps -A -o pid= 2>/dev/null | tr -d ' ' ;;
    member) printf '%s\n' container: unit: cgroup:/ pid: ;;
    esac
}

# Offers those lines of the input that begin with $2, each with $1 in front.
_vram_offer()
{
    local line
    while IFS= read -r line; do
        if [[ $line == "$2"* ]]; then
            COMPREPLY+=("$1$line")
        fi
    done
}

# Offers values of the kind $1 that begin with $3; $2 stands in front of them.
_vram_offer_values()
{
    case $1:$3 in
    file:* | driver:sim:*/*)
        compopt -o filenames
        _vram_offer "$2" '' < <(compgen -f -- "${3#sim:}" | if [[ $1 == driver ]]; then sed 's/^/sim:/'; else cat; fi)
        ;;
    driver:nvml:*)
        compopt -o filenames
        _vram_offer "$2nvml:" '' < <(compgen -f -- "${3#nvml:}")
        ;;
    member:pid:*) _vram_offer "$2pid:" "${3#pid:}" < <(_vram_values pid) ;;
    *) _vram_offer "$2" "$3" < <(_vram_values "$1") ;;
    esac
}

# Another program's command line, from the word $1 of bash's on.
_vram_program()
{
    if declare -F _comp_command_offset >/dev/null; then
        _comp_command_offset "$1"
    elif declare -F _command_offset >/dev/null; then
        _command_offset "$1"
    elif (($1 == COMP_CWORD)); then
        compopt -o filenames
        _vram_offer '' '' < <(compgen -c -- "$cur")
    else
        compopt -o default
    fi
}

# Goes through the words in front of the last one.
_vram_read()
{
    local i word
    for ((i = 1; i < ${#words[@]} - 1; i++)); do
        word=${words[i]}
        if [[ $valued ]]; then
            if [[ $valued == --driver ]]; then
                driver=(--driver "$word")
            fi
            valued=''
        elif [[ $ended ]]; then
            continue
        elif [[ $word == -- ]]; then
            ended=yes
        elif [[ $word == --driver=* ]]; then
            driver=("$word")
        elif _vram_takes_value "$word"; then
            valued=$word
        elif [[ $word != -* && ! $command ]]; then
            command=$word
            _vram_table "$command"
        fi
    done
}

_vram()
{
    local commands options operands runs gpu_columns lease_columns
    local words cur kept kind='' command='' valued='' ended='' driver=() i option
    COMPREPLY=()
    _vram_table ''
    _vram_split
    _vram_read
    if [[ $ended && $runs ]]; then
        for ((i = 1; i < COMP_CWORD; i++)); do
            if [[ ${COMP_WORDS[i]} == -- ]]; then
                break
            fi
        done
        _vram_program $((i + 1))
        return
    fi
    if [[ $valued ]]; then
        _vram_takes_value "$valued"
        _vram_offer_values "$kind" '' "$cur"
    elif [[ ! $ended && $cur == --*=* ]]; then
        if _vram_takes_value "${cur%%=*}"; then
            _vram_offer_values "$kind" "${cur%%=*}=" "${cur#*=}"
        fi
    elif [[ ! $ended && $cur == -* ]]; then
        for option in $options; do
            _vram_offer '' "$cur" <<<"${option%%:*}"
        done
    elif [[ ! $command ]]; then
        _vram_offer_values command '' "$cur"
    else
        _vram_offer_values "$operands" '' "$cur"
    fi
    if [[ ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == *[:/] ]]; then
        compopt -o nospace
    fi
    COMPREPLY=("${COMPREPLY[@]#"$kept"}")
} && complete -F _vram vram

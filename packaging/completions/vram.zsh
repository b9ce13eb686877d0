#compdef vram

# What there is, for the command $1, into the caller's variables; `commands` and `options` are zsh's own.
@table@
# The columns $1 of CSV, a value a line. Names from outside that are none are left out: they would be typed.
_vram_column()
{
    tail -n +2 | cut -d, -f$1 | tr , '\n' | grep -Ex '[0-9A-Za-z-]+'
}

# What vram prints of the machine that the command line names.
_vram_ask()
{
    local -a driver
    local named=${opt_args[--driver]:-$given_driver}
    [[ -n $named ]] && driver=(--driver ${(Q)named//\\:/:})
    VRAM_CALL_TIMEOUT=1s vram "$@" --csv $driver 2>/dev/null
}

_vram_gpu()
{
    local -a values expl
    values=(${(f)"$(_vram_ask status | _vram_column $gpu_columns)"})
    _wanted gpus expl GPU compadd -a values
}

_vram_lease()
{
    local -a values expl
    values=(${(f)"$(_vram_ask leases | _vram_column $lease_columns)"})
    _wanted leases expl lease compadd -a values
}

_vram_driver()
{
    local -a values expl
    if compset -P 'nvml:'; then
        _files
    elif compset -P 'sim:'; then
        values=(${(f)"$(vram-sim list 2>/dev/null | sed -n 's/^\([0-9A-Za-z_-]*\) .*/\1/p')"})
        _wanted machines expl 'simulated machine' compadd -a values
        _files
    else
        _wanted drivers expl driver compadd auto nvml
        _wanted drivers expl driver compadd -S '' nvml: sim:
    fi
}

_vram_member()
{
    local expl
    if compset -P 'pid:'; then
        _vram_pid
    else
        _wanted members expl member compadd -S '' container: unit: cgroup:/ pid:
    fi
}

_vram_when()
{
    local expl
    _wanted times expl when compadd auto always never
}

_vram_command()
{
    _describe -t commands 'vram command' names
}

# Says what is wanted where nothing can be offered.
_vram_name()
{
    [[ $PREFIX == -* ]] || _message $1
    return 1
}

_vram_file()
{
    _files
}

# Not _pids, which knows this terminal's alone.
_vram_pid()
{
    local -a values expl
    values=(${(f)"$(ps -A -o pid= 2>/dev/null | tr -d ' ')"})
    _wanted processes expl process compadd -a values
}

_vram()
{
    local curcontext=$curcontext state line given_driver runs gpu_columns lease_columns ended ret=1
    local -a names global specs
    local -A opt_args
    _vram_table ''
    _arguments -C -S -A '-*' $global '1:command:->command' '*::argument:->argument' && ret=0
    case $state in
    (command)
        _vram_command && ret=0
        ;;
    (argument)
        given_driver=${opt_args[--driver]}
        _vram_table $words[1]
        curcontext=${curcontext%:*:*}:vram-$words[1]:
        ended=${words[(i)--]}
        if [[ -n $runs ]] && ((ended < CURRENT)); then
            shift ended words
            ((CURRENT -= ended))
            _normal && ret=0
        else
            _arguments -S $specs $global && ret=0
        fi
        ;;
    esac
    return ret
}

_vram "$@"

# fish completion for vram

# The words in front of the cursor's that are vram's own arguments.
function __vram_words
    set -l words (commandline -opc)
    set -e words[1]
    string join -- \n $words
end

# The command on the line; fails where there is none yet.
function __vram_chosen
    set -l skip 0
    for word in (__vram_words)
        if test $skip = 1
            set skip 0
        else if contains -- $word $__vram_valued
            set skip 1
        else if not string match -q -- '-*' $word
            echo $word
            return 0
        end
    end
    return 1
end

function __vram_needs_command
    not __vram_chosen >/dev/null
end

# Whether it is this command, whose own arguments are being typed.
function __vram_command_is
    test (__vram_chosen; or echo) = $argv[1]; and not contains -- -- (__vram_words)
end

# Whether another program's command line is, behind this command's "--".
function __vram_runs_program
    test (__vram_chosen; or echo) = $argv[1]; and contains -- -- (__vram_words)
end

function __vram_program
    set -l words (__vram_words)
    set -e words[1..(contains -i -- -- $words)]
    set -l line (string escape -- $words) (commandline -ct)
    complete -C (string join ' ' -- $line)
end

# What vram prints of the machine that the command line names.
function __vram_ask
    set -l driver
    set -l words (__vram_words)
    set -l index (contains -i -- --driver $words)
    and set driver --driver $words[(math $index + 1)]
    for word in $words
        string match -q -- '--driver=*' $word
        and set driver $word
    end
    VRAM_CALL_TIMEOUT=1s vram $argv --csv $driver 2>/dev/null
end

# The columns of CSV, a value a line. Names from outside that are none are left out: they would be typed.
function __vram_column
    tail -n +2 | cut -d, -f$argv[1] | tr , '\n' | string match -r '^[0-9A-Za-z-]+$'
end

function __vram_gpu
    __vram_ask status | __vram_column $__vram_gpu_columns | string replace -r '$' '\tGPU'
end

function __vram_lease
    __vram_ask leases | __vram_column $__vram_lease_columns | string replace -r '$' '\tlease'
end

function __vram_driver
    printf '%s\n' auto nvml nvml:
    vram-sim list 2>/dev/null | string replace -rf '^([0-9A-Za-z_-]+) +(.*)' 'sim:$1\t$2'
    set -l typed (commandline -ct | string replace -r '^--driver=' '')
    set -l kind (string match -r '^(?:nvml|sim):' -- $typed)
    and __fish_complete_path (string replace -r '^[a-z]*:' '' -- $typed) | string replace -r '^' $kind
end

function __vram_member
    printf '%s\n' container: unit: cgroup:/ pid:
    __fish_complete_pids | string replace -r '^' pid:
end

function __vram_when
    printf '%s\n' auto always never
end

function __vram_command
    printf '%s\n' $__vram_commands
end

function __vram_file
    __fish_complete_path (commandline -ct | string replace -r '^--[a-z]*=' '')
end

function __vram_pid
    __fish_complete_pids
end

@table@

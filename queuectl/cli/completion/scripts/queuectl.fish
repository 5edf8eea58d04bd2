# Completion of queuectl for fish, as `queuectl completion fish` prints it.

function __queuectl_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l program $words[1]
    set -e words[1]
    command -q -- $program; or set program queuectl
    set -l plain (string unescape -- $current); or set plain $current
    set -l answer (command $program __complete fish $words "$plain" 2>/dev/null </dev/null)
    set -l head (string match -r -- '^--[^=]+=' $current)
    switch "$answer[1]"
        case files
            __fish_complete_path (string replace -- "$head" '' $current) | string replace -r '^' -- "$head"
        case folders
            __fish_complete_directories (string replace -- "$head" '' $current) | string replace -r '^' -- "$head"
        case programs
            complete -C "$current"
        case argv
            set -l place (contains -i -- -- $words)
            set -l rest (string escape -- $words[(math $place + 1)..-1])
            complete -C (string join ' ' -- $rest $current)
        case open words
            set -e answer[1]
            printf '%s\n' $answer
    end
end

complete -c queuectl -f -k -a '(__queuectl_complete)'

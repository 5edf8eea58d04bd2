#compdef queuectl
# Completion of queuectl for zsh, as `queuectl completion zsh` prints it.

_queuectl() {
    local program=${(Q)words[1]} line task
    local -i place
    local -a answer values texts space
    (( $+commands[$program] )) || [[ -x $program ]] || program=queuectl
    answer=("${(@f)$("$program" __complete zsh "${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}" 2>/dev/null </dev/null)}")
    task=${answer[1]-}
    case $task in
        files) compset -P '--[^=]#='; _files ;;
        folders) compset -P '--[^=]#='; _files -/ ;;
        programs) compset -P '--[^=]#='; _command_names -e; _files ;;
        argv)
            place=${words[(i)--]}
            shift $place words
            (( CURRENT -= place ))
            _normal
            ;;
        open | words)
            [[ $task == open ]] && space=(-S '')
            for line in "${(@)answer[2,-1]}"; do
                values+=("${line%%$'\t'*}")
                texts+=("${line%%$'\t'*}  ${line#*$'\t'}")
            done
            compadd -V queuectl "${space[@]}" -l -d texts -a values
            ;;
    esac
}

if [[ $funcstack[1] == _queuectl ]]; then
    _queuectl "$@"
else
    compdef _queuectl queuectl
fi

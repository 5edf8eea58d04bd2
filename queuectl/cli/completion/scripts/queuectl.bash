# Completion of queuectl for bash 4.4 or newer, as `queuectl completion bash` prints it.

_queuectl() {
    local program=$1 count
    local -a answer
    COMPREPLY=()
    type -P -- "$program" >/dev/null || program=queuectl
    mapfile -t answer < <(
        "$program" __complete bash "${COMP_TYPE:-9}" "${COMP_LINE:0:COMP_POINT}" "$2" 2>/dev/null </dev/null
    )
    case ${answer[0]-} in
        files) compopt -o default ;;
        folders) compopt -o dirnames ;;
        programs)
            mapfile -t COMPREPLY < <(compgen -c -- "$2")
            compopt -o default
            ;;
        argv)
            for ((count = 1; count < COMP_CWORD; count++)); do
                [[ ${COMP_WORDS[count]} == -- ]] && break
            done
            if declare -F _comp_command_offset >/dev/null; then
                _comp_command_offset $((count + 1))
            elif declare -F _command_offset >/dev/null; then
                _command_offset $((count + 1))
            elif ((COMP_CWORD == count + 1)); then
                mapfile -t COMPREPLY < <(compgen -c -- "$2")
                compopt -o default
            else
                compopt -o default
            fi
            ;;
        open)
            compopt -o nospace
            COMPREPLY=("${answer[@]:1}")
            ;;
        words) COMPREPLY=("${answer[@]:1}") ;;
    esac
}

complete -o nosort -F _queuectl queuectl

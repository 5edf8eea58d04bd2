"""A plain command line runs without the shell, as in GNU make: the shell takes longer than many a command.

A line is plain where a shell does nothing with it but to execute one program: no character of it means anything to a
shell, and its first word is no builtin but names an ELF file by the job's PATH. Any other line, and each environment in
which a shell behaves or speaks differently, is left to the shell; so is every message about what can't be executed.

The command gets what the shell would give it: the same words, descriptors and variables. Where a shell stays until its
command has ended, `shell_status` tells and reports as that does of a signal.
"""

import functools
import os
import re
import signal
import stat

import msgspec

from queuectl.host.mounts import remote_paths
from queuectl.runnable import SHELL, Runnable, Shell

_LONGEST = 4096
"""Characters of a line. A line of 128 KiB is too long for a shell, and its words may not be too long for a program."""
_LINE = re.compile(r"(?![-+%])[\w./+,@%:-]++(?: ++[\w./+,@%:=-]++)*+", re.ASCII)
_PATH = re.compile(r"/[^:%\0\ud800-\udfff]*(?::/[^:%\0\ud800-\udfff]*)*")
_CWD = re.compile(r"/|(?:/(?!\.\.?(?:/|$))[^/]+)+", re.DOTALL)
"""A folder that a shell calls by the same name."""
_LEVEL = re.compile("0|[1-9][0-9]?")
_BUILTINS = frozenset(
    ". : [ [[ alias bg bind break builtin caller case cd chdir command compgen complete compopt continue coproc declare"
    " dirs disown do done echo elif else enable esac eval exec exit export false fc fg fi for function getopts hash"
    " help history if in jobs kill let local logout mapfile popd printf pushd pwd read readarray readonly return select"
    " set shift shopt source suspend test then time times trap true type typeset ulimit umask unalias unset until wait"
    " while".split()
)
"""The builtins and keywords of dash, bash and busybox."""
_VARIABLE = re.compile(
    r"(?!BASH|LD_(?!LIBRARY_PATH$)|(?:COMP_WORDBREAKS|DIRSTACK|ENV|EPOCHREALTIME|EPOCHSECONDS|EUID|EXECIGNORE|FUNCNAME"
    r"|GROUPS|HISTCMD|IFS|LINENO|OPTARG|OPTERR|OPTIND|POSIXLY_CORRECT|PPID|PS[0-4]|RANDOM|SECONDS|SHELLOPTS|SRANDOM|UID)$)"
    r"[A-Za-z_]\w*",
    re.ASCII,
)
"""A variable that a shell passes on as it is and takes no notice of. A loader's complaint would be made twice."""
_SILENT = frozenset({signal.SIGINT, signal.SIGPIPE})
"""Signals of which a shell says nothing."""


class PlainCommand(msgspec.Struct, frozen=True, gc=False):
    """What the shell would execute."""

    program: str
    """The absolute path of the file."""
    words: tuple[str, ...]
    env: dict[str, str]
    shell_stays: bool
    """Whether the shell would wait for its end, rather than become the command."""


class _ShellKind(msgspec.Struct, frozen=True):
    is_bash: bool
    stays: bool


def plain_command(run: Runnable, env: dict[str, str], cwd: str | None) -> PlainCommand | None:
    """What the shell would execute of this line; None where that is for the shell to find out."""
    if not isinstance(run, Shell) or run.shell != SHELL or len(run.line) > _LONGEST or not _LINE.fullmatch(run.line):
        return None
    words = tuple(run.line.split())
    # The command is the leader of its session, which under a shell that stays it is not: setsid(1) goes by that.
    if words[0] in _BUILTINS or "setsid" in run.line or cwd is None or env.get("PWD") != cwd or not _CWD.fullmatch(cwd):
        return None
    if not env.keys() <= _ordinary and not _are_ordinary(env):
        return None
    program = _find(words[0], env.get("PATH", ""), cwd)
    if program is None or (kind := _shell_kind(SHELL)) is None:
        return None
    if kind.is_bash:
        level = env.get("SHLVL", "0")
        # bash takes away an OLDPWD that is no folder, and warns of a locale that it does not know.
        if "OLDPWD" in env or "LC_ALL" in env or not _LEVEL.fullmatch(level):
            return None
        env = {**env, "SHLVL": level, "_": program if "/" not in words[0] else words[0]}
    return PlainCommand(program, words, env, kind.stays)


def shell_status(status: int, output: int) -> int:
    """The wait status of a shell whose command has ended with `status`; what it says of a signal goes to `output`."""
    if not os.WIFSIGNALED(status):
        return status
    number = os.WTERMSIG(status)
    if number not in _SILENT:
        core = " (core dumped)" if os.WCOREDUMP(status) else ""
        try:
            os.write(output, f"{signal.strsignal(number)}{core}\n".encode())
        except OSError:
            pass  # disk full, as it would have been for the shell
    return 128 + number << 8


_ordinary: set[str] = set()
"""Names of variables that were found to be so: the same ones come with each job."""


def _are_ordinary(env: dict[str, str]) -> bool:
    if not all(map(_VARIABLE.fullmatch, env)):
        return False
    if len(_ordinary) > 10_000:
        _ordinary.clear()
    _ordinary.update(env)
    return True


def _find(name: str, path: str, cwd: str) -> str | None:
    """The first file of that name, if it is an ELF file that may be executed. Touches no remote file system."""
    remote = remote_paths()
    remote.refresh()
    if not _PATH.fullmatch(path) or remote.is_remote(cwd) or remote.is_program_remote(name, cwd, path):
        return None
    for program in [os.path.join(cwd, name)] if "/" in name else [f"{folder}/{name}" for folder in path.split(":")]:
        try:
            if not os.access(program, os.F_OK, follow_symlinks=False):
                continue
            found = os.lstat(program)
            if stat.S_ISLNK(found.st_mode):
                found = os.stat(program) if not remote.is_remote(program) else found
            if stat.S_ISREG(found.st_mode) and os.access(program, os.X_OK):
                return program if _is_elf(program, found.st_dev, found.st_ino, found.st_ctime_ns) else None
        except (OSError, ValueError):
            pass
        return None
    return None


@functools.lru_cache(1024)
def _is_elf(path: str, device: int, inode: int, changed: int) -> bool:
    # Executing it would tell too, but a script's interpreter may lie on a dead server, which blocks what executes it.
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        return os.read(file, 4) == b"\x7fELF"
    finally:
        os.close(file)


@functools.cache
def _shell_kind(shell: str) -> _ShellKind | None:
    """What this shell is like; None where it is none of those that are known."""
    name = os.path.basename(os.path.realpath(shell))
    if name not in ("dash", "bash"):
        return None
    # Whether it stays differs between builds of dash.
    line = f"{shell} -c 'kill -9 $$'"
    silence = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
    pid = os.posix_spawn(shell, (shell, "-c", line), {}, file_actions=silence, setsid=True)
    return _ShellKind(name == "bash", os.WIFEXITED(os.waitpid(pid, 0)[1]))

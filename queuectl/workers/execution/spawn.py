"""Start of a command as an OS process (R13): one posix_spawn, in a session of its own, with default signal handling.

Nothing here may block the worker's loop: folders on a network or FUSE file system are entered and searched by the child
(a small shell in front of the command), never by the worker, since a dead server must not stop every other job.
"""

import errno
import functools
import os
import signal
from _thread import get_native_id
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress

from projections.environments import Environment
from queuectl import amounts
from queuectl.host.mounts import remote_paths
from queuectl.runnable import SHELL, Runnable, Shell
from queuectl.workers.execution.memory import MemoryLimit
from queuectl.workers.execution.traces import TAG

LOCK_FD = 77
"""The third descriptor on which a command holds its attempt's lock: many commands redirect 1 and 2."""

_SIGNALS = tuple(sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}))
_ENTER = 'cd "$1" || exit 127; shift; exec "$@"'
_REASONS = {
    errno.ENOENT: "not found",
    errno.ENOTDIR: "not a folder",
    errno.EACCES: "permission denied",
    errno.ENOEXEC: "not a program this machine can run (a script needs a first line like #!/bin/sh)",
    errno.E2BIG: "the command and its environment are longer than this machine takes",
}
SHORTAGE = frozenset({errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""Errors of a start that may succeed a moment later: too many processes, no memory, no descriptors."""


class NotStarted(Exception):
    """The command could not be started; `code` is the exit code a shell would give (127 not found, else 126)."""

    def __init__(self, what: str, problem: OSError) -> None:
        reason = _REASONS.get(problem.errno or 0) or (problem.strerror or str(problem))
        super().__init__(f"{printable(what)}: {reason}")
        self.code = 127 if problem.errno == errno.ENOENT else 126


def printable(text: str) -> str:
    """The text on one line of at most 200 characters, for output files and messages."""
    return ascii(text[:200])[1:-1] if not text.isprintable() else text[:200]


def environment(
    base: dict[str, str],
    kept: Environment | None,
    own: dict[str, str],
    secrets: dict[str, str],
    *,
    database: str,
    job: str,
    attempt: int,
    queue: str,
    granted: Mapping[str, int | tuple[int, ...]] = {},
    trigger: Mapping[str, str] = {},
    tag: str,
    progress: str,
    cwd: str | None = None,
) -> dict[str, str]:
    """Return the environment of an attempt (R14).

    In rising precedence: the worker's (`base`), unless `kept` replaces it; the variables kept at enqueue; the job's own
    variables; its secrets; the QUEUECTL_ variables, and those by which programs are told of their GPUs.
    """
    env = {
        **(base if kept is None or not kept.whole else {}),
        **(kept.variables if kept is not None else {}),
        **own,
        **secrets,
        "QUEUECTL_DB": database,
        "QUEUECTL_JOB_ID": job,
        "QUEUECTL_ATTEMPT": str(attempt),
        "QUEUECTL_QUEUE": queue,
        "QUEUECTL_PROGRESS": progress,
        **_granted(granted),
        **trigger,
        TAG: tag,
    }
    if cwd is not None:
        env["PWD"] = cwd  # the inherited one names another folder
    return env


def _granted(granted: Mapping[str, int | tuple[int, ...]]) -> dict[str, str]:
    """The variables that tell which pieces of resources an attempt was granted."""
    found: dict[str, str] = {}
    for name, given in granted.items():
        if not isinstance(given, int):
            numbers = ",".join(map(str, given))
            found[amounts.variable(name)] = numbers
            if name == "gpu":
                found |= {"CUDA_VISIBLE_DEVICES": numbers, "ROCR_VISIBLE_DEVICES": numbers}
    return found


def spawn(
    run: Runnable,
    *,
    env: dict[str, str],
    cwd: str | None,
    stdin: str | None,
    output: int,
    error: int | None = None,
    umask: int | None = None,
    nice: int = 0,
    limit: MemoryLimit | None = None,
    program: str = "",
) -> int:
    """Start a command. Returns its pid, which is also its process group and session.

    `umask`: that of the command; None: the worker's. `nice` is added to the worker's niceness. `limit`: that of its
    memory. `output`: the descriptor of the output file, above 2; `error`: that of the file for stderr, if it is another
    one. `stdin`: the path of a regular file; None: /dev/null.
    Relative paths are relative to `cwd`, and argv[0] is looked up in the PATH of `env`, unless `program` is its path,
    on no remote file system. Raises NotStarted, or OSError (see `SHORTAGE`) if the system lacks resources; nothing has
    been started then.
    """
    argv = run.words
    # Any other shell may be missing, or lie on a dead server.
    program = SHELL if isinstance(run, Shell) and run.shell == SHELL else program
    path = env.get("PATH", os.defpath)
    remote = remote_paths()
    remote.refresh()
    if (cwd is not None and remote.is_remote(cwd)) or (not program and remote.is_program_remote(argv[0], cwd, path)):
        argv = (SHELL, "-c", _ENTER, "queuectl", cwd or ".", *argv)
        program, cwd = SHELL, None
    entrance = -1
    try:
        with _inside(cwd):
            program = program or _look_up(argv[0], path, look=limit is not None)
            if limit is not None:
                program, argv = SHELL, limit.words(argv)
            if stdin is not None:
                entrance = _entrance(stdin)
            streams = (entrance if stdin is not None else _nothing(), output, output if error is None else error)
            given = (program, argv, env, streams, umask)
            return _start(*given) if not nice else _in_thread(nice, functools.partial(_start, *given))
    except ValueError as problem:  # a NUL byte or a lone surrogate in a word, an "=" in a variable's name
        raise NotStarted(str(problem), OSError(errno.EINVAL, "can't be handed to a program")) from problem
    finally:
        if entrance >= 0:
            os.close(entrance)


@contextmanager
def _inside(cwd: str | None) -> Generator[None]:
    """The working directory of this process is `cwd` meanwhile. Raises NotStarted where it can't be entered."""
    if cwd is None:
        yield
        return
    home = -1
    with suppress(OSError):  # this process may not enter it, or it is gone: then it does not go back there
        home = os.open(".", os.O_PATH | os.O_CLOEXEC)
    try:
        try:
            os.chdir(cwd)
        except OSError as problem:
            raise NotStarted(f"working directory {cwd}", problem) from problem
        try:
            yield
        finally:
            try:
                os.chdir("/") if home < 0 else os.fchdir(home)
            except OSError:  # it may not go back there: the command may already run, so this must not fail
                os.chdir("/")
    finally:
        if home >= 0:
            os.close(home)


def _start(
    program: str, argv: tuple[str, ...], env: dict[str, str], streams: tuple[int, int, int], umask: int | None
) -> int:
    actions = [(os.POSIX_SPAWN_DUP2, fd, place) for place, fd in enumerate(streams)]
    actions.append((os.POSIX_SPAWN_DUP2, streams[1], LOCK_FD))
    before = os.umask(umask) if umask is not None else None
    try:
        return os.posix_spawn(program, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_SIGNALS)
    except OSError as problem:
        if problem.errno in SHORTAGE:
            raise
        absent = problem.errno == errno.ENOENT and os.path.exists(program)
        raise NotStarted(f"interpreter of {argv[0]}" if absent else argv[0], problem) from problem
    finally:
        if before is not None:
            os.umask(before)


def _in_thread(nice: int, start: Callable[[], int]) -> int:
    """Start a process in a thread of that niceness, which the process inherits: the worker could not lower its own."""
    from threading import Thread

    outcome: list[int | Exception] = []

    def run() -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, get_native_id(), os.getpriority(os.PRIO_PROCESS, 0) + nice)
            outcome.append(start())
        except Exception as error:  # noqa: BLE001 - raised again where it is waited for
            outcome.append(error)

    thread = Thread(target=run)
    try:
        thread.start()
    except RuntimeError as error:
        raise OSError(errno.EAGAIN, str(error)) from error
    thread.join()
    [found] = outcome
    if isinstance(found, Exception):
        raise found
    return found


@functools.cache
def _nothing() -> int:
    return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)


def _entrance(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a FIFO put there must not hang the loop
    except OSError as problem:
        if problem.errno in SHORTAGE:
            raise
        raise NotStarted(f"stdin {path}", problem) from problem


def _look_up(name: str, path: str, *, look: bool) -> str:
    """The program of that name. `look`: also whether one that is named by its path is there, which its start tells."""
    if "/" in name:
        if not look:
            return name
        found = [name]
    else:
        found = [f"{folder or '.'}/{name}" for folder in path.split(os.pathsep)] if name else []
    for program in found:
        if os.access(program, os.X_OK) and not os.path.isdir(program):
            return program
    raise NotStarted(name, OSError(errno.EACCES if any(map(os.path.isfile, found)) else errno.ENOENT, ""))

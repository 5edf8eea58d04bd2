"""What an attempt is started with."""

import signal

import msgspec

from queuectl.runnable import Runnable
from queuectl.workers.execution.plain_command import PlainCommand


class Start(msgspec.Struct, kw_only=True):
    """The parameters of an attempt: what to run, and how."""

    output: str
    """Absolute path of the output file, which must not exist."""
    env: dict[str, str]
    """The complete environment: see `spawn.environment`."""
    run: Runnable
    cwd: str | None = None
    """None: the worker's."""
    stdin: str | None = None
    """Path of a regular file; None: /dev/null."""
    timeout: float | None = None
    """Seconds; None: no limit."""
    grace: float = 5.0
    """Seconds between the stop signal and KILL."""
    stop_signal: int = signal.SIGTERM
    """The number of the signal by which its processes are asked to end."""
    ok_codes: tuple[int, ...] = (0,)
    """The exit codes that are success."""
    umask: int | None = None
    """Of the command; None: the worker's."""
    nice: int = 0
    """Added to the niceness of the worker."""
    memory_limit: int | None = None
    """Bytes; None: no limit."""
    memory_group: str | None = None
    """Absolute path of the control group that is made to keep that limit; None: RLIMIT_AS keeps it."""
    plain: PlainCommand | None = None
    """What to execute instead of the shell; None: nothing else than `run`."""
    split_output: bool = False
    """Whether stderr goes to a file of its own, beside the output file."""
    keep_children: bool = False
    """Keep the remaining processes of the group when the main process ends by itself."""

"""One attempt: a command as an OS process, from the file that says it started to the outcome that is reported.

An `AttemptProcess` is made by `launch` and then driven by the worker's loop, which it never blocks:

    attempt = launch(start)             # AlreadyStarted: somebody else has decided about this attempt (R11)
    ...                                 # no attempt.outcome yet: select on attempt.fileno() till next_deadline
    attempt.tick(now)                   # the deadline has come: TERM on timeout, KILL after the grace period
    outcome = attempt.collect(now)      # readable: unregister the fd first; after None register anew

It is running, then ending (once somebody called `end`), then its main process is reaped and what that left of its
process group is ended (R15), then it is done and has an `outcome`.
"""

import os
import resource
import signal
from typing import Literal

import msgspec

from queuectl import clock
from queuectl.events import SHELL
from queuectl.host import processes
from queuectl.host.pidfd import PidfdSet
from queuectl.units import size_text
from queuectl.workers.execution import output
from queuectl.workers.execution.output import AlreadyStarted as AlreadyStarted
from queuectl.workers.execution.spawn import NotStarted, printable, spawn
from queuectl.workers.recovery.termination import OrphanFinder

Cause = Literal["exit", "signal", "timeout", "cancel", "spawn", "interrupted", "output"]
"""Why an attempt ended: it exited (with any code), a signal of somebody else, we ended it because of its timeout, a
cancel, a stop that does not wait (interrupted) or its output; or it could not be started."""

EndCause = Literal["timeout", "cancel", "interrupted", "output"]
"""The causes for which we end an attempt."""

_SECOND_KILL = 1.0
"""Seconds after which a KILL is sent again; what is left by then counts as stuck."""


class Start(msgspec.Struct, kw_only=True):
    """All that is needed to start an attempt: a shell command or an argv, and where it runs."""

    output: str
    """Absolute path of the output file, which must not exist."""
    env: dict[str, str]
    """The whole environment, as `environment` makes it."""
    command: str | None = None
    argv: tuple[str, ...] | None = None
    cwd: str | None = None
    """None: the worker's."""
    stdin: str | None = None
    """Path of a regular file; None: /dev/null."""
    timeout: float | None = None
    """Seconds; None: no limit."""
    grace: float = 5.0
    """Seconds between TERM and KILL."""
    shell: str = SHELL
    """What runs `command`."""
    umask: int | None = None
    """Of the command; None: the worker's."""
    keep_children: bool = False
    """Leave alone what the main process leaves in its process group when it ends by itself."""
    job: str = ""
    attempt: int = 0
    lease: int = 0
    tag: str = ""
    """Whose attempt this is, for the loop; the command knows it by its environment."""


class CommandOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """How an attempt ended, as `completed` and `failed` record it."""

    cause: Cause
    exit_code: int | None = None
    """Also where we ended it and it chose to exit; None where a signal ended it."""
    signal: int | None = None
    started_at: int
    """Microseconds UTC."""
    run_seconds: float = 0.0
    """Until the main process was seen to have ended; monotonic."""
    cpu_seconds: float = 0.0
    """User and system time of the main process and of those it waited for."""
    max_rss: int | None = None
    """Bytes, of the largest of these processes; None where that is no more than the worker itself had (R15)."""
    output_bytes: int = 0
    """As written, with what was cut out of the middle."""
    output_cut: int = 0
    """Bytes that were cut out of the middle of the output: `cut` finds them in the file."""
    kept: bool = False
    """Processes of its group live on, because of keep_children; they have the attempt's tag in their environment."""
    error: str | None = None
    """Why it could not be started, on one line, which is also in the output file; or what was wrong with its output."""


def launch(start: Start, orphans: OrphanFinder = tuple) -> "AttemptProcess":
    """Take the attempt by creating its output file, lock that, and start the command.

    `orphans` gives what hides from all traces and may be this attempt's: it is ended too, where the attempt fails.

    A command that can't be started is an attempt too, with its outcome (cause spawn) at once. Raises AlreadyStarted
    where the path is taken, and OSError where the file or the process can't be made just now (disk full, no memory, no
    descriptors): then nothing has started.
    """
    fd = output.create(start.output)
    started_at, began = clock.now(), clock.monotonic()
    pid = -1
    try:
        output.lock(fd)
        pid = spawn(
            start.command, start.argv, env=start.env, cwd=start.cwd, stdin=start.stdin, output=fd, shell=start.shell,
            umask=start.umask,
        )  # fmt: skip
        return AttemptProcess(start, pid, os.pidfd_open(pid), fd, started_at, began, orphans=orphans)
    except NotStarted as problem:
        error, code = str(problem), problem.code
    except OSError as problem:
        if pid < 0:  # no process, no memory or no descriptor to be had just now
            os.close(fd)
            raise
        # It has started and can't be watched: the attempt is used, but the worker lives on.
        error, code = f"can't be watched: {printable(str(problem))}", 126
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    try:
        os.write(fd, f"queuectl: {error}\n".encode())
    except OSError:
        pass  # disk full: the outcome has it too
    size = os.fstat(fd).st_size
    os.close(fd)
    outcome = CommandOutcome(cause="spawn", exit_code=code, started_at=started_at, output_bytes=size, error=error)
    return AttemptProcess(start, -1, -1, -1, started_at, began, outcome)


class AttemptProcess:
    """A command that was started. See the module for how it is driven; all times are monotonic seconds."""

    __slots__ = (
        "_began",
        "_ended_for",
        "_error",
        "_kept",
        "_kill_at",
        "_kills",
        "_leftovers",
        "_orphans",
        "_output",
        "_rss_floor",
        "_started_at",
        "_timeout_at",
        "_trim",
        "_usage",
        "outcome",
        "pid",
        "pidfd",
        "start",
    )

    def __init__(
        self,
        start: Start,
        pid: int,
        pidfd: int,
        fd: int,
        started_at: int,
        began: float,
        outcome: CommandOutcome | None = None,
        orphans: OrphanFinder = tuple,
    ) -> None:
        self.start = start
        self.pid = pid
        """The main process, its process group and session; -1 where none was started."""
        self.pidfd = pidfd
        """Of the main process; -1 once that is reaped."""
        self.outcome = outcome
        """How it ended; None until then."""
        self._output = fd
        self._orphans = orphans
        self._started_at = started_at
        self._began = began
        self._timeout_at = None if start.timeout is None else began + start.timeout
        self._ended_for: EndCause | None = None
        self._error: str | None = None
        self._kill_at: float | None = None
        self._kills = 0
        self._trim = output.Trim()
        self._kept = False
        self._leftovers: PidfdSet | None = None
        self._usage: tuple[int, float, resource.struct_rusage] | None = None
        # Asked after the spawn: the child began with the peak that the worker had when it exec'd.
        self._rss_floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if pid >= 0 else 0

    def fileno(self) -> int:
        """What to select on now: readable means `collect`. -1 when there is nothing to wait for."""
        return self.pidfd if self._leftovers is None else self._leftovers.fileno()

    @property
    def started_at(self) -> int:
        """Microseconds UTC."""
        return self._started_at

    @property
    def own_end(self) -> tuple[int, int] | None:
        """How the main process ended by itself: after how many microseconds, and its exit code, or minus the signal.

        None where it has not, or where we ended it."""
        if self._usage is None or self._ended_for is not None:
            return None
        return round(self._usage[1] * 1e6), os.waitstatus_to_exitcode(self._usage[0])

    @property
    def next_deadline(self) -> float | None:
        """When `tick` wants to be called; None: never."""
        if self.outcome is not None:
            return None
        if self._kill_at is not None:
            return self._kill_at
        return None if self._usage is not None else self._timeout_at

    @property
    def ending(self) -> EndCause | None:
        """Why we are ending it, None where we are not."""
        return self._ended_for

    @property
    def stuck(self) -> tuple[int, ...]:
        """The processes that have not ended though they were killed (another user's, or waiting for a dead disk)."""
        if self._kills < 2 or self.outcome is not None:
            return ()
        return (self.pid,) if self._leftovers is None else tuple(self._leftovers.living())

    def end(self, cause: EndCause, now: float, *, grace: float | None = None) -> bool:
        """TERM the process group, and KILL it after the grace period (0: at once). The first cause counts; a later call
        can only shorten the wait. False: the command had ended by itself, and that is its outcome."""
        if self.outcome is not None:
            return False
        if self._usage is None and self._ended_for is None:
            if not self._has_ended():
                self._ended_for = cause
                self._timeout_at = None
                self._signal(signal.SIGTERM)
                self._signal(signal.SIGCONT)  # a stopped process would not see the TERM
            elif self.start.keep_children:
                return False
        if not self._kills:
            kill_at = now + (self.start.grace if grace is None else grace)
            self._kill_at = kill_at if self._kill_at is None else min(self._kill_at, kill_at)
        self.tick(now)
        return self._ended_for is not None

    def tick(self, now: float) -> None:
        """Do what is due."""
        if self.outcome is not None:
            return
        if self._timeout_at is not None and self._usage is None and now >= self._timeout_at:
            self._timeout_at = None
            self.end("timeout", now)
        if self._kill_at is not None and now >= self._kill_at:
            self._kills += 1
            self._kill_at = now + _SECOND_KILL
            if self._leftovers is None:
                self._signal(signal.SIGKILL)
            else:
                self._leftovers.signal(signal.SIGKILL)

    def collect(self, now: float) -> CommandOutcome | None:
        """Take in that a process has ended. None: something still runs, and `fileno` and `next_deadline` are new."""
        if self.outcome is not None:
            return self.outcome
        if self._usage is None:
            if not self._has_ended():
                return None
            # Until its leader is reaped, the group's number can't be given to anybody else.
            spare = self.start.keep_children and self._ended_for is None
            if not spare:
                self._signal(signal.SIGTERM)
            _, status, usage = os.wait4(self.pid, 0)
            self._usage = status, clock.monotonic() - self._began, usage
            os.close(self.pidfd)
            self.pidfd = -1
            if spare:
                self._kept = _exists(self.pid) and bool(processes.group(self.pid))
                return self._done()
        if self._leftovers is None and not _exists(self.pid) and not self._hidden():
            return self._done()
        return None if self._look_for_leftovers(now) else self._done()

    def _look_for_leftovers(self, now: float) -> bool:
        if self._leftovers is None:
            self._leftovers = PidfdSet()
            if self._kill_at is None:
                self._kill_at = now + self.start.grace
        if self._leftovers.living():
            return True
        number = signal.SIGKILL if self._kills else signal.SIGTERM
        # Where the number was given to somebody else, nothing is left: asked of each one, when its pidfd holds it.
        for pid in processes.group(self.pid):
            self._leftovers.add(pid, self._is_left, number)
        for pid in self._hidden():
            self._leftovers.add(pid, lambda pid: pid in self._hidden(), number)
        return bool(self._leftovers.living())

    def _hidden(self) -> list[int]:
        """What must not outlive an attempt that will be tried again, by whatever worker."""
        assert self._usage is not None, "the main process is reaped"
        return [*self._orphans()] if self._ended_for is not None or self._usage[0] != 0 else []

    def _is_left(self, pid: int) -> bool:
        return processes.in_group(pid, self.pid) and not processes.is_taken(self.pid)

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # all of them another user's: `stuck` tells, should they not end

    def _done(self) -> CommandOutcome:
        assert self._usage is not None, "the main process is reaped"
        status, seconds, usage = self._usage
        code = os.waitstatus_to_exitcode(status)
        found = self._stat()
        self.close_output()
        self.outcome = CommandOutcome(
            cause=self._ended_for or ("signal" if code < 0 else "exit"),
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            started_at=self._started_at,
            run_seconds=seconds,
            cpu_seconds=usage.ru_utime + usage.ru_stime,
            max_rss=usage.ru_maxrss * 1024 if usage.ru_maxrss > self._rss_floor else None,
            output_bytes=found.st_size if found is not None else 0,
            output_cut=self._trim.cut,
            kept=self._kept,
            error=self._error,
        )
        return self.outcome

    def close_output(self) -> None:
        """Close our own fd of the output file. The command has its own, and with it the lock."""
        if self._output >= 0:
            os.close(self._output)
            self._output = -1

    def check_output(self, limit: int, now: float, *, kill: bool = False) -> int:
        """Keep the output within about `limit` bytes of disk by cutting out its middle; returns how many are cut.

        With `kill`, or where the file system can't do that, the attempt is ended (cause output).
        """
        found = self._stat()
        if found is not None and found.st_size > limit and self.outcome is None:
            fd = self._output if self._output >= 0 else os.open(self.start.output, os.O_WRONLY | os.O_CLOEXEC)
            why = "output-policy is kill"
            try:
                self._trim.trim(fd, found, limit)
            except OSError as error:
                kill, why = True, f"its middle can't be cut out here: {error.strerror}"
            finally:
                if fd != self._output:
                    os.close(fd)
            if kill and self._error is None and self.end("output", now):
                self._error = f"its output grew past {size_text(limit)} (output-limit), and {why}"
        return self._trim.cut

    def _stat(self) -> os.stat_result | None:
        try:
            return os.fstat(self._output) if self._output >= 0 else os.stat(self.start.output)
        except FileNotFoundError:
            return None  # the command has removed it


def _exists(pgid: int) -> bool:
    """Whether anything, zombies too, is in the process group."""
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True

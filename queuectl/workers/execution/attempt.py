"""One attempt as an OS process, from the creation of its output file to its outcome.

An `AttemptProcess` is created by `launch` and driven by the worker's loop, which it never blocks:

    attempt = launch(start)             # raises AlreadyStarted if recovery has released this attempt (R11)
    ...                                 # while not attempt.ended: poll attempt.fileno() until next_deadline
    attempt.tick(now)                   # at the deadline: the stop signal on timeout, KILL after the grace period
    attempt.collect(now)                # when readable: unregister the fd first, register the new one after False

Its states: running; ending, once `end` was called; reaped, while the remaining processes of its group are ended (R15);
ended, when another command may start in its place. The `outcome` of an ended attempt is made when it is asked for.
"""

import functools
import os
import resource
import signal
from contextlib import suppress
from typing import Literal

from queuectl import clock
from queuectl.decisions import Outcome
from queuectl.host import processes
from queuectl.host.pidfd import PidfdSet
from queuectl.runnable import Argv
from queuectl.units import size_text
from queuectl.workers.execution import memory, traces
from queuectl.workers.execution.memory import MemoryLimit
from queuectl.workers.execution.output import AlreadyStarted as AlreadyStarted
from queuectl.workers.execution.output import OutputFiles
from queuectl.workers.execution.plain_command import shell_status
from queuectl.workers.execution.search import AttemptSearch
from queuectl.workers.execution.spawn import NotStarted, printable, spawn
from queuectl.workers.execution.start import Start as Start
from queuectl.workers.execution.suspension import Suspension
from queuectl.workers.execution.traces import OrphanFinder

EndCause = Literal["timeout", "cancel", "output", "lost"]
"""The causes for which a worker ends an attempt; lost: because it stops itself, or the files of its queue are gone."""

_SECOND_KILL = 1.0
"""Seconds after which a KILL is sent again; processes that are left by then count as stuck."""


def launch(start: Start, orphans: OrphanFinder = tuple) -> "AttemptProcess":
    """Create and lock the output file, and start the command.

    `orphans`: finds untagged processes that may be this attempt's, which are ended as well if the attempt fails.
    If the command can't be started, the attempt has its outcome (cause spawn) at once. Raises AlreadyStarted if the
    path exists, and OSError if the file or the process can't be created just now (disk full, no memory, no
    descriptors): nothing has been started then.
    """
    files = OutputFiles(start.output, split=start.split_output)
    started_at, began = clock.now(), clock.monotonic()
    limit = memory.limit(start.memory_limit, start.memory_group)
    pid = -1
    try:
        # For the pidfd: one that has started and can't be watched is ended, and has failed.
        spare = os.dup(files.stdout)
        try:
            pid, as_shell = _spawn(start, files, limit)
        finally:
            os.close(spare)
        pidfd = os.pidfd_open(pid)
        return AttemptProcess(start, pid, pidfd, files, started_at, began, None, orphans, as_shell, limit)
    except NotStarted as problem:
        error, code = str(problem), problem.code
    except OSError as problem:
        if pid < 0:  # no process, memory or descriptor is available just now
            files.close()
            memory.lift(limit)
            raise
        # It has started and can't be watched: the attempt is used up, but the worker goes on.
        error, code = f"can't be watched: {printable(str(problem))}", 126
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    memory.lift(limit)
    with suppress(OSError):  # disk full; the outcome has the error too
        os.write(files.stderr, f"queuectl: {error}\n".encode())
    size = files.size
    files.close()
    outcome = Outcome(
        cause="spawn", exit_code=code, started_at=started_at, run_seconds=0.0, cpu_seconds=0.0, output_bytes=size,
        error=error,
    )  # fmt: skip
    return AttemptProcess(start, -1, -1, files, started_at, began, outcome)


def _spawn(start: Start, files: OutputFiles, limit: MemoryLimit | None) -> tuple[int, bool]:
    """Start the command. Returns its pid, and whether it runs in place of a shell that would stay until it ends."""
    begin = functools.partial(
        spawn, cwd=start.cwd, stdin=start.stdin, output=files.stdout, error=files.stderr, umask=start.umask,
        nice=start.nice, limit=limit,
    )  # fmt: skip
    if (plain := start.plain) is not None:
        with suppress(NotStarted):  # it is for the shell to say why
            return begin(Argv(plain.words), env=plain.env, program=plain.program), plain.shell_stays
    return begin(start.run, env=start.env), False


class AttemptProcess:
    """A started command. The module tells how it is driven; all times are monotonic seconds."""

    __slots__ = (
        "_as_shell", "_began", "_clock_from", "_ended_for", "_error", "_files", "_kept", "_kill_at", "_kills",
        "_leftovers", "_number", "_orphans", "_outcome", "_rss_floor", "_search", "_started_at", "_suspension",
        "_usage", "ended", "limit", "pid", "pidfd", "start", "timeout",
    )  # fmt: skip

    def __init__(
        self,
        start: Start,
        pid: int,
        pidfd: int,
        files: OutputFiles,
        started_at: int,
        began: float,
        outcome: Outcome | None = None,
        orphans: OrphanFinder = tuple,
        as_shell: bool = False,
        limit: MemoryLimit | None = None,
    ) -> None:
        self.start = start
        self.limit = limit
        """The memory limit; it is to be lifted once the attempt has its outcome."""
        self.pid = pid
        """The pid of the main process, its process group and session; -1 if none was started."""
        self.pidfd = pidfd
        """The pidfd of the main process; -1 once it is reaped."""
        self.ended = outcome is not None
        """Whether nothing of it runs any more."""
        self._outcome = outcome
        self._files = files
        self._as_shell = as_shell
        self._orphans = orphans
        self._started_at = started_at
        self._began = began
        self.timeout = start.timeout
        """Seconds that it may take; None: no limit. May be changed while it runs."""
        self._clock_from = began  # later by the time for which it was suspended
        self._ended_for: EndCause | None = None
        self._error: str | None = None
        self._kill_at: float | None = None
        self._kills = 0
        self._number = start.stop_signal
        self._kept = False
        self._leftovers: PidfdSet | None = None
        self._suspension: Suspension | None = None
        self._search: AttemptSearch | None = None
        self._usage: tuple[int, float, resource.struct_rusage] | None = None
        # Read after the spawn: the child starts with the worker's peak at the time of its exec.
        self._rss_floor = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss if pid >= 0 else 0

    def fileno(self) -> int:
        """The descriptor to poll now; call `collect` when it is readable. -1 if there is nothing to wait for."""
        return self.pidfd if self._leftovers is None else self._leftovers.fileno()

    @property
    def started_at(self) -> int:
        """Microseconds UTC."""
        return self._started_at

    @property
    def own_end(self) -> tuple[int, int] | None:
        """The run time in microseconds, and the exit code or negative signal number, of a command that ended by itself.

        None while it runs, or if the worker has ended it.
        """
        if self._usage is None or self._ended_for is not None:
            return None
        return round(self._usage[1] * 1e6), os.waitstatus_to_exitcode(self._usage[0])

    @property
    def next_deadline(self) -> float | None:
        """When to call `tick`; None: never."""
        if self.ended:
            return None
        if self._kill_at is not None:
            return self._kill_at
        if self._suspension is not None:
            return self._suspension.next_tick
        return None if self._usage is not None or self.timeout is None else self._clock_from + self.timeout

    @property
    def stuck(self) -> tuple[int, ...]:
        """The pids of processes that survived a KILL (another user's, or waiting for a dead disk)."""
        if self._kills < 2 or self.ended:
            return ()
        return (self.pid,) if self._leftovers is None else tuple(self._leftovers.living())

    @property
    def is_suspended(self) -> bool:
        """Whether its processes are stopped, or are being stopped."""
        return self._suspension is not None

    def suspend(self, suspension: Suspension, now: float) -> None:
        """Stop its processes, and the clock of its timeout; does nothing where it has ended or is being ended."""
        if not self.is_suspended and not self.ended and self._usage is None and self._ended_for is None:
            self._suspension = suspension
            self.tick(now)

    def proceed(self, now: float) -> None:
        """Let its processes go on, and the clock; does nothing where they do."""
        if self._suspension is not None:
            self._clock_from += now - self._suspension.since
            self._suspension.end()
            self._suspension = None

    def end(
        self,
        cause: EndCause,
        now: float,
        *,
        number: int | None = None,
        grace: float | None = None,
        error: str | None = None,
    ) -> bool:
        """Send the process group its stop signal, or the one of this number, and KILL it after the grace period.

        Once the main process has ended, all else that is found of the attempt is ended the same way. The first cause
        counts, and the `error` given with it; a later call can only send another signal and shorten the grace period,
        which is 0 after a KILL. Returns False if the command had already ended by itself.
        """
        if self.ended:
            return False
        is_new = number not in (None, self._number)
        self._number = number or self._number
        if self._usage is None and self._ended_for is None:
            if not self._has_ended():
                self._ended_for, self._error = cause, error
                self.timeout = None
                self._send(self._number)
                if self._suspension is not None:
                    self._suspension.end()
                    self._suspension = None
                tag = self.start.env.get(traces.TAG, "")
                self._search = AttemptSearch(self.start.output, tag, orphans=self._orphans, below=os.getpid())
            elif self.start.keep_children:
                return False
        elif is_new and not self._kills:
            self._send(self._number)
        if not self._kills:
            seconds = 0.0 if self._number == signal.SIGKILL else self.start.grace if grace is None else grace
            self._kill_at = now + seconds if self._kill_at is None else min(self._kill_at, now + seconds)
        self.tick(now)
        return self._ended_for is not None

    def tick(self, now: float) -> None:
        """Send the signals that are due."""
        if self.ended:
            return
        if self._suspension is not None:
            self._suspension.tick(now)
        elif self.timeout is not None and self._usage is None and now >= self._clock_from + self.timeout:
            self.timeout = None
            self.end("timeout", now)
        if self._kill_at is not None and now >= self._kill_at:
            self._kills += 1
            self._kill_at = now + _SECOND_KILL
            self._send(signal.SIGKILL)

    def collect(self, now: float) -> bool:
        """Handle the end of a process. Returns whether the attempt has ended; if not, see `fileno`, `next_deadline`."""
        if self.ended:
            return True
        if self._usage is None:
            if not self._has_ended():
                return False
            # Until its leader is reaped, the number of the group can't be reused.
            self.proceed(now)
            spare = self.start.keep_children and self._ended_for is None
            if not spare:
                self._signal(self._number)
            _, status, usage = os.wait4(self.pid, 0)
            if self._as_shell and self._ended_for is None:
                status = shell_status(status, self._files.stderr)
            self._usage = status, clock.monotonic() - self._began, usage
            os.close(self.pidfd)
            self.pidfd = -1
            if spare:
                self._kept = processes.has_members(self.pid) and bool(processes.group(self.pid))
                self.ended = True
                return True
        gone = self._leftovers is None and not self._is_anything_left()
        self.ended = gone or not self._end_leftovers(now)
        return self.ended

    def _end_leftovers(self, now: float) -> bool:
        if self._leftovers is None:
            self._leftovers = PidfdSet()
            if self._kill_at is None:
                self._kill_at = now + self.start.grace
        if self._leftovers.living():
            return True
        number = signal.SIGKILL if self._kills else self._number
        # If the group's number was reused, nothing is left of it: `_is_left` is asked once the pidfd is open.
        for pid in processes.group(self.pid):
            self._leftovers.add(pid, self._is_left, number)
        for pid in self._find_others():
            self._leftovers.add(pid, self._is_other, number)
        return bool(self._leftovers.living())

    def _is_anything_left(self) -> bool:
        return processes.has_members(self.pid) or bool(self._find_others())

    def _find_others(self) -> list[int]:
        """What has left the group, and must not outlive the attempt.

        Of an attempt that the worker has ended, all that is found: nobody would look for it again after a cancel. Of
        one that has failed, its orphans: what has a trace is found before the next attempt, by whatever worker.
        """
        assert self._usage is not None, "the main process is reaped"
        if self._search is not None:
            for _ in range(2):  # one may fork during the first look
                if found := [pid for pid in self._search.find() if not traces.is_free(pid)]:
                    return found
            return []
        succeeded = os.waitstatus_to_exitcode(self._usage[0]) in self.start.ok_codes
        return [] if succeeded else [*self._orphans()]

    def _is_other(self, pid: int) -> bool:
        return self._search.still(pid) if self._search is not None else pid in self._find_others()

    def _is_left(self, pid: int) -> bool:
        return processes.in_group(pid, self.pid) and not processes.is_taken(self.pid)

    def _has_ended(self) -> bool:
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _send(self, number: int) -> None:
        """Signal the group; once the main process is reaped, what is left of it."""
        if self._leftovers is not None:
            self._leftovers.signal(number)
            return
        self._signal(number)
        if number != signal.SIGKILL:
            self._signal(signal.SIGCONT)  # a stopped process would not see it

    def _signal(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except (ProcessLookupError, PermissionError):
            pass  # all processes are another user's: see `stuck`

    @property
    def succeeded(self) -> bool:
        """Whether the attempt has ended and its command exited with 0 by itself."""
        return self.ended and self._usage is not None and self._usage[0] == 0 and self._ended_for is None

    @property
    def outcome(self) -> Outcome | None:
        """What has become of it; None until it has ended. To make it, the output file is looked at and closed."""
        if self.ended and self._outcome is None:
            self._outcome = self._conclude()
        return self._outcome

    def _conclude(self) -> Outcome:
        assert self._usage is not None, "the main process is reaped"
        status, seconds, usage = self._usage
        code = os.waitstatus_to_exitcode(status)
        size = self._files.size
        self.close_output()
        outcome = Outcome(
            cause=self._ended_for or ("signal" if code < 0 else "exit" if code not in self.start.ok_codes else None),
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            started_at=self._started_at,
            run_seconds=round(seconds, 6),
            cpu_seconds=round(usage.ru_utime + usage.ru_stime, 6),
            max_rss=usage.ru_maxrss * 1024 if usage.ru_maxrss > self._rss_floor else None,
            output_bytes=size,
            output_cut=self._files.cut or None,
            limited_by=self.limit.kept_by if self.limit is not None else None,
            kept=self._kept,
            error=self._error,
        )
        return outcome if self.limit is None or self._ended_for is not None else self.limit.judged(outcome)

    def close_output(self) -> None:
        """Close the worker's descriptors of the output files; the command's own hold the locks."""
        self._files.close()

    def check_output(self, limit: int, now: float, *, kill: bool = False) -> int:
        """Keep each output file within about `limit` bytes of disk by cutting out its middle; returns the bytes cut.

        With `kill`, or if the file system can't cut, the attempt is ended (cause output).
        """
        if self._outcome is None and self._files.exceed(limit):
            why = "output-policy is kill"
            try:
                self._files.trim(limit)
            except OSError as error:
                kill, why = True, f"its middle can't be cut out here: {error.strerror}"
            if kill and self._error is None and self.end("output", now):
                self._error = f"its output grew past {size_text(limit)} (output-limit), and {why}"
        return self._files.cut

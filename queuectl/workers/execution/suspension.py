"""Suspension of one attempt: all its processes are stopped, and go on later (R33)."""

import signal
from collections.abc import Callable

from queuectl.engines.base import Holders
from queuectl.host import processes
from queuectl.host.pidfd import send
from queuectl.workers.execution import traces
from queuectl.workers.execution.search import AttemptSearch

READING = 1.0
"""Seconds that a process may go on while it reads the database: its snapshot keeps the WAL from being written back."""
_SHORTEST, _LONGEST = 0.002, 0.25
"""Seconds between two looks."""


class Suspension:
    """Stops all processes of one attempt without blocking: call `tick` at `next_tick`, which is infinite once two looks
    in a row found nothing of it running.

    A process that holds the database's gate is not kept stopped, nor for a second one that reads: others would wait for
    it. It goes on until it has let go. A worker that the attempt started is none of it: what that one runs are jobs of
    their own. What was stopped already by somebody else is left so.
    """

    def __init__(self, search: AttemptSearch, holders: Callable[[], Holders], now: float) -> None:
        """`holders` returns the processes for which others wait. `now` is monotonic seconds."""
        self.since = self.next_tick = now
        self._search, self._holders = search, holders
        self._stopped: dict[int, int | None] = {}
        """The processes that were stopped: pid and start time (no descriptors, there may be a thousand)."""
        self._pause = _SHORTEST
        self._running: list[int] = []
        """What the last look found running."""
        self._clean = 0

    def tick(self, now: float) -> None:
        """Look, and stop what runs. `now` is monotonic seconds."""
        if now < self.next_tick:
            return
        holders = self._holders()
        wanted = {*holders.writing, *(holders.reading if now - self.since < READING else ())}
        before = self._running
        self._running = [pid for pid in self._search.find() if self._stop(pid, wanted=pid in wanted)]
        self._clean = 0 if self._running else self._clean + 1
        in_vain = self._running and self._running == before
        self._pause = min(2 * self._pause, _LONGEST) if in_vain else _SHORTEST
        self.next_tick = now + self._pause if self._clean < 2 else float("inf")

    def _stop(self, pid: int, *, wanted: bool) -> bool:
        """Stop a process of the attempt, or let it go on where others wait for it (`wanted`); returns whether it runs.

        What enters the gate just before it is stopped is found there by the next look.
        """
        if not processes.runs(pid):
            return wanted and send(pid, self._is_stopped, signal.SIGCONT)
        if traces.is_free(pid):
            return False
        if not wanted and send(pid, self._search.still, signal.SIGSTOP):
            self._stopped[pid] = processes.start_time(pid)
        return True

    def _is_stopped(self, pid: int) -> bool:
        """Whether the process is one that was stopped, and not another one of the same pid."""
        began = processes.start_time(pid)
        return began is not None and self._stopped.get(pid) == began

    def end(self) -> None:
        """Let all that was stopped go on."""
        for pid in self._stopped:
            send(pid, self._is_stopped, signal.SIGCONT)

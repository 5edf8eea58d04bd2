"""The recovery watch: every worker looks for dead and hung workers, and recovers what they ran."""

from collections.abc import Callable
from typing import Any

import msgspec

from queuectl.clock import monotonic
from queuectl.errors import Outdated, QueueError
from queuectl.queue import Queue
from queuectl.workers.journal import Journal
from queuectl.workers.recovery import hang_detector
from queuectl.workers.recovery.hang_detector import HangDetector
from queuectl.workers.recovery.rescuer import RecoveryReport, Rescuer, dead_workers, take_lock, write_report
from queuectl.workers.turn import TurnWriter

SCAN = 1.0
"""Seconds between two looks for dead workers."""
COURTESY = 2.0
"""Seconds that a dead worker is left to its supervisor, which alone knows how its commands ended."""


class RecoveryWatch:
    """Finds dead and hung workers and recovers each, a step at a time (R19, R20)."""

    def __init__(self, queue: Queue, me: TurnWriter, journal: Journal | None = None) -> None:
        """`me` is the worker that watches; it is live in the log."""
        self.due = monotonic() + SCAN
        self._queue = queue
        self._actor = f"recovery:{me.worker}"
        self._me = me.worker
        self._hang_detector = HangDetector(queue, me)
        self._journal = journal
        self._next_scan = self.due
        self._dead_since: dict[str, float] = {}
        self._rescuers: list[Rescuer] = []

    @property
    def stuck(self) -> int:
        """How many jobs of dead workers hold a process that can't be ended."""
        return sum(each.stuck for each in self._rescuers)

    def run(self, now: float) -> None:
        """See `Chore`."""
        self.look(now)

    def look(self, now: float) -> list[RecoveryReport]:
        """As `run`; returns the reports of the recoveries that this step has finished. Raises Outdated."""
        finished: list[RecoveryReport] = []
        for each in list(self._rescuers):
            if now >= each.next_tick and each.tick(now):
                self._rescuers.remove(each)
                finished.append(each.report)
        if now >= self._next_scan:
            self._next_scan = now + SCAN
            self._guard(self._look_for_dead, now, "can't look for dead workers")
        if now >= self._hang_detector.next_tick:
            self._guard(self._look_for_hung, now, "can't listen to other workers")
        self.due = min(
            [self._next_scan, self._hang_detector.next_tick, *(max(each.next_tick, now) for each in self._rescuers)]
        )
        for report in finished:
            self._record(report)
        return finished

    def _guard(self, step: Callable[[float], None], now: float, message: str) -> None:
        try:
            step(now)
        except Outdated:
            raise
        except (QueueError, OSError) as error:
            self._write([{"event": "error", "error": f"{message}: {error}"}])

    def _look_for_dead(self, now: float) -> None:
        dead = {id for id in dead_workers(self._queue) if id != self._me}
        self._dead_since = {id: self._dead_since.get(id, now) for id in dead}
        for id, since in self._dead_since.items():
            if now - since >= COURTESY:
                self._recover(id)

    def _look_for_hung(self, now: float) -> None:
        for worker in self._hang_detector.tick(now):
            killed = hang_detector.kill(self._queue, worker)
            self._write([{"event": "hung", "hung": worker.id, "pid": worker.pid, "killed": killed}])
            if hang_detector.is_unseen(self._queue, worker):
                self._recover(worker.id, died=hang_detector.silence(self._queue, worker))

    def _recover(self, id: str, *, died: str = "died") -> None:
        held = take_lock(self._queue, id)
        if held is not None:
            self._rescuers.append(Rescuer(self._queue, held, self._actor, patience=1.0, died=died))

    def _record(self, report: RecoveryReport) -> None:
        if not report.jobs and not report.workers:
            return
        self._write(
            [{"event": "recovered", **msgspec.structs.asdict(each)} for each in report.jobs]
            or [{"event": "worker_lost", "lost": id} for id in report.workers]
        )
        try:
            write_report(self._queue.logs, report)
        except (QueueError, OSError) as error:
            self._write([{"event": "error", "error": f"can't write the report of a recovery: {error}"}])

    def _write(self, lines: list[dict[str, Any]]) -> None:
        if self._journal is not None:
            self._journal.write(lines)

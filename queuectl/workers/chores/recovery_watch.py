"""Looking after other workers, again and again: what every worker does beside its work, and an observer does alone."""

import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import msgspec

from queuectl.clock import monotonic
from queuectl.errors import Outdated, QueueError
from queuectl.host import pidfd
from queuectl.queue import Queue
from queuectl.workers.journal import Journal
from queuectl.workers.recovery import hang_detector, worker_lock
from queuectl.workers.recovery.hang_detector import HangDetector
from queuectl.workers.recovery.rescuer import RecoveryReport, Rescuer, dead_workers, recover, take_lock, write_report
from queuectl.workers.turn import TurnWriter

SCAN = 1.0
"""Seconds between two looks for dead workers."""
COURTESY = 2.0
"""Seconds that others leave to a dead worker's parent, which alone knows how its commands ended."""


class RecoveryWatch:
    """Looks for dead workers again and again, and recovers them: what every worker does beside its work (R19)."""

    def __init__(self, queue: Queue, me: TurnWriter, journal: Journal | None = None) -> None:
        """`me` is live in the log."""
        self.next_tick = monotonic() + SCAN
        self._queue = queue
        self._actor = f"recovery:{me.worker}"
        self._me = me.worker
        self._hang_detector = HangDetector(queue, me)
        self._journal = journal
        self._next_scan = self.next_tick
        self._dead_since: dict[str, float] = {}
        self._rescuers: list[Rescuer] = []

    @property
    def stuck(self) -> int:
        """How many jobs of dead workers can't be ended."""
        return sum(each.stuck for each in self._rescuers)

    def tick(self, now: float) -> list[RecoveryReport]:
        """Look, and go on with what is under way. Returns what was finished. Raises Outdated as `Rescuer.tick` does."""
        finished: list[RecoveryReport] = []
        for each in list(self._rescuers):
            if now >= each.next_tick and each.tick(now):
                self._rescuers.remove(each)
                finished.append(each.report)
        if now >= self._next_scan:
            self._next_scan = now + SCAN
            try:
                self._scan(now)
            except Outdated:
                raise
            except (QueueError, OSError) as error:
                self._note([{"event": "error", "error": f"can't look for dead workers: {error}"}])
        if now >= self._hang_detector.next_tick:
            self._listen(now)
        self.next_tick = min(
            [self._next_scan, self._hang_detector.next_tick, *(max(each.next_tick, now) for each in self._rescuers)]
        )
        for report in finished:
            self._tell(report)
        return finished

    def _scan(self, now: float) -> None:
        dead = {id for id in dead_workers(self._queue) if id != self._me}
        self._dead_since = {id: self._dead_since.get(id, now) for id in dead}
        for id, since in self._dead_since.items():
            if now - since >= COURTESY and (held := take_lock(self._queue, id)) is not None:
                self._rescuers.append(Rescuer(self._queue, held, self._actor, patience=1.0))

    def _listen(self, now: float) -> None:
        try:
            for worker in self._hang_detector.tick(now):
                done = hang_detector.kill(self._queue, worker)
                self._note([{"event": "hung", "hung": worker.id, "pid": worker.pid, "killed": done}])
                if (
                    hang_detector.is_unseen(self._queue, worker)
                    and (held := take_lock(self._queue, worker.id)) is not None
                ):
                    self._rescuers.append(
                        Rescuer(self._queue, held, self._actor, patience=1.0, died=hang_detector.DIED_UNSEEN)
                    )
        except Outdated:
            raise
        except (QueueError, OSError) as error:
            self._note([{"event": "error", "error": f"can't listen to other workers: {error}"}])

    def _tell(self, report: RecoveryReport) -> None:
        if report.jobs or report.workers:
            self._note(
                [{"event": "recovered", **msgspec.structs.asdict(each)} for each in report.jobs]
                or [{"event": "worker_lost", "lost": id} for id in report.workers]
            )
            try:
                write_report(self._queue.logs, report)
            except (QueueError, OSError) as error:
                self._note([{"event": "error", "error": f"can't write the report of a recovery: {error}"}])

    def _note(self, lines: list[dict[str, Any]]) -> None:
        if self._journal is not None:
            self._journal.write(lines)


@contextmanager
def observer(queue: Queue) -> Generator[TurnWriter]:
    """Be a worker without slots for a while: one who recovers others, and is not counted among the workers."""
    id = os.urandom(4).hex()
    with worker_lock.take(queue.home.workers, id):
        writer = TurnWriter(queue, id, (), queue.home.identity())
        writer.start(slots=0)
        try:
            yield writer
        finally:
            writer.stop("observer")


def monitor(queue: Queue) -> Iterator[RecoveryReport]:
    """Recovery as a service: watch for ever, and tell what each finished recovery did."""
    with observer(queue) as me:
        watch = RecoveryWatch(queue, me)
        while True:
            yield from watch.tick(monotonic())
            pidfd.wait([], max(0.0, watch.next_tick - monotonic()))


def recover_hung(queue: Queue, *, patience: float = 30.0) -> RecoveryReport:
    """Listen long enough to tell who is hung, kill those, then recover all that are dead (see `recovery.recover`)."""
    with observer(queue) as me:
        detector = HangDetector(queue, me)
        silent: set[str] = set()
        until = monotonic() + hang_detector.HUNG_AFTER + hang_detector.INTERVAL
        while (now := monotonic()) < until:
            if now >= detector.next_tick:
                for worker in detector.tick(now):
                    hang_detector.kill(queue, worker)
                    if hang_detector.is_unseen(queue, worker):
                        silent.add(worker.id)
            pidfd.wait([], max(0.0, min(detector.next_tick, until) - monotonic()))
    return recover(queue, patience=patience, courtesy=COURTESY, silent=silent)

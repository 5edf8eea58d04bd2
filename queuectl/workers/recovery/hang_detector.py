"""Workers that live but say nothing (R20): judged only by one who could write all the while, never by a clock's time.

A worker that holds jobs writes a heartbeat every few seconds. One that does not for 15 s of the observer's own
monotonic time is hung, if the observer's own heartbeats, appended meanwhile, were committed on time: when nobody can
write (a full disk, a suspended machine, a huge enqueue), nobody is hung. A hung worker on this machine is killed; then
it is dead, and recovered as any dead worker. What a worker that can't be seen from here (another machine's) holds is
brought back by its silence alone.
"""

import os
import signal

from projections.jobs import Job
from projections.workers import Worker
from queuectl.clock import monotonic
from queuectl.engines.view import View
from queuectl.errors import QueueError
from queuectl.host import processes, procfs
from queuectl.liveness import Life
from queuectl.queue import Queue
from queuectl.workers.recovery import attempt_table, worker_lock
from queuectl.workers.turn import TurnWriter

INTERVAL = 5.0
"""Seconds between two looks, each with a heartbeat of the observer's own while somebody is silent."""
HUNG_AFTER = 15.0
"""Seconds of silence that make a worker hung."""
DIED_UNSEEN = f"has said nothing for {HUNG_AFTER:.0f} s, and can't be seen from here"
"""How a worker ended that was judged by its silence alone."""
LATE = 2.0
"""Seconds that a look may be late, or its heartbeat take, before nothing that was seen so far counts."""


LifeSign = tuple[int, frozenset[tuple[str, int | None]]]
"""How far a worker's stream has come, and the leases it holds: it lives when either has changed."""


class HangDetector:
    """What one observer has heard of the others. `me` must be live in the log: its heartbeats are written there."""

    def __init__(self, queue: Queue, me: TurnWriter) -> None:
        self.next_tick = monotonic()
        """When to look again, in monotonic seconds."""
        self._queue = queue
        self._me = me
        self._last = self.next_tick
        self._heard: dict[str, tuple[LifeSign, float]] = {}
        """The last word of each worker, and since when it has been that."""

    def tick(self, now: float) -> list[Worker]:
        """Look; returns the workers that are hung. Raises QueueError where the log can't be read."""
        if now - self._last > INTERVAL + LATE:
            self._heard.clear()  # we were stopped ourselves, and saw nothing
        self._last = now
        self.next_tick = now + INTERVAL
        with self._queue.engine.snapshot() as view:
            others = [(each, jobs) for each, jobs in _holders(view) if each.id != self._me.worker]
        before, self._heard = self._heard, {}
        silent: list[Worker] = []
        for worker, jobs in others:
            word = worker.version, frozenset((job.id, job.lease) for job in jobs)
            said, since = before.get(worker.id, (None, now))
            self._heard[worker.id] = (word, since if said == word else now)
            if said == word:
                silent.append(worker)
        if silent and not self._could_write():
            self._heard.clear()
            return []
        return [worker for worker in silent if now - self._heard[worker.id][1] >= HUNG_AFTER]

    def _could_write(self) -> bool:
        began = monotonic()
        try:
            self._me.write_heartbeat(LATE)
        except QueueError:
            return False
        return monotonic() - began <= LATE


def kill(queue: Queue, worker: Worker) -> bool:
    """Kill a hung worker's process; False where it is out of reach (another machine or container) or gone already.

    It must be that very process, by when it began or by the lock that it holds: looked at once its pidfd is open, so
    that no stranger is hit.
    """
    if (worker.boot_id, worker.pid_namespace) != (procfs.boot_id(), procfs.pid_namespace()):
        return False
    try:
        process = os.pidfd_open(worker.pid)
    except ProcessLookupError:
        return False
    try:
        if not _is_it(queue, worker):
            return False
        _note(f"{queue.home.workers}/{worker.id}")
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(process)
    return True


def is_unseen(queue: Queue, worker: Worker) -> bool:
    """Whether a silent worker is to be recovered without its end having been seen: nothing of it can be seen from here,
    not even its lock."""
    return queue.liveness(worker) is Life.UNKNOWN


def unseen_workers(queue: Queue) -> list[tuple[Worker, list[Job]]]:
    """The workers that hold jobs and can't be seen from here, each with its jobs: only silence tells their end."""
    with queue.engine.snapshot() as view:
        holders = _holders(view)
    return [(worker, jobs) for worker, jobs in holders if is_unseen(queue, worker)]


def _holders(view: View) -> list[tuple[Worker, list[Job]]]:
    """The workers that hold jobs, each with its jobs; also those that have ended, as far as the log knows."""
    known = [view.worker(id) for id in view.workers_with_jobs()]
    return [(worker, view.jobs_of(worker.id)) for worker in known if worker is not None]


def _is_it(queue: Queue, worker: Worker) -> bool:
    """Whether the process with the worker's pid is the worker."""
    if worker.start_ticks is None:
        return worker_lock.owner(queue.home.workers, worker.id) == worker.pid
    return processes.start_time(worker.pid) == worker.start_ticks and queue.liveness(worker) is Life.LIVES


def _note(path: str) -> None:
    try:
        attempt_table.write_kill_reason(path, f"was killed: it had said nothing for {HUNG_AFTER:.0f} s")
    except OSError:
        pass  # a full disk saves nobody; recovery will only not know why

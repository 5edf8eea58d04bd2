"""Detection of hung workers: processes that live but append nothing (R20, R48).

A worker that holds jobs appends a heartbeat every few seconds. If none comes for 15 s of the observer's own monotonic
time, the worker is hung, provided that the observer's own heartbeats were committed on time meanwhile: while none can
write (a full disk, a suspended machine, a huge enqueue), none is hung. The times of events are never compared. A hung
worker on this machine is killed and recovered as any dead worker; the jobs of one that can't be seen from here (on
another machine) are recovered without that.

A worker of another host has a lease instead, and ends what it runs before that is over. It is lost once the lease and a
margin have passed without a sign of life, also where it holds nothing: then it writes heartbeats too, if fewer.
"""

import os
import signal

from projections.jobs import Job
from projections.workers import Worker
from queuectl.clock import monotonic
from queuectl.engines.view import View
from queuectl.errors import QueueError
from queuectl.host import processes, procfs
from queuectl.host_lease import HostLease
from queuectl.liveness import Life
from queuectl.queue import Queue
from queuectl.units import span
from queuectl.workers.recovery import attempt_table, worker_lock
from queuectl.workers.turn import TurnWriter

INTERVAL = 5.0
"""Seconds between two checks, each with a heartbeat of the observer while a worker is silent."""
HUNG_AFTER = 15.0
"""Seconds without a sign of life after which a worker is hung."""
LATE = 2.0
"""Seconds that a check may be late, or its heartbeat take; after more, observation starts anew."""


LifeSign = tuple[int, frozenset[tuple[str, int | None]]]
"""The version of a worker's stream and the leases it holds: a change of either shows that the worker lives."""


class HangDetector:
    """Watches the other workers. `me` must be live in the log: it appends the observer's heartbeats."""

    def __init__(self, queue: Queue, me: TurnWriter) -> None:
        self.next_tick = monotonic()
        """When to call `tick` next, in monotonic seconds."""
        self._queue = queue
        self._me = me
        self.patience = HUNG_AFTER
        """Seconds of silence after which each worker is judged that was silent at the last tick."""
        self._last = self.next_tick
        self._signs: dict[str, tuple[LifeSign, float]] = {}
        """The last sign of life of each worker, and when it was first seen."""

    def tick(self, now: float) -> list[Worker]:
        """Check all workers that hold jobs; returns the hung ones. Raises QueueError if the log can't be read."""
        if now - self._last > INTERVAL + LATE:
            self._signs.clear()  # this process was paused, and may have missed signs of life
        self._last = now
        self.next_tick = now + INTERVAL
        before, self._signs = self._signs, {}
        silent: list[Worker] = []
        for worker, jobs in self._others():
            sign = worker.version, frozenset((job.id, job.lease) for job in jobs)
            last, since = before.get(worker.id, (None, now))
            self._signs[worker.id] = (sign, since if last == sign else now)
            if last == sign and (jobs or now - since > _lease(worker).idle_silence) and not self._is_outdated(worker):
                silent.append(worker)
        self.patience = max([HUNG_AFTER, *(patience(self._queue, worker) for worker in silent)])
        if silent and not self._could_write():
            self._signs.clear()
            return []
        return [each for each in silent if now - self._signs[each.id][1] >= patience(self._queue, each)]

    def _others(self) -> list[tuple[Worker, list[Job]]]:
        """The workers to watch, each with its jobs: those that hold any, and those of other hosts that could."""
        with self._queue.engine.snapshot() as view:
            found = _holders(view)
            live = view.workers() if self._queue.engine.many_hosts else []
        holders = {worker.id for worker, _ in found}
        idle = [each for each in live if each.id not in holders and each.slots and is_elsewhere(self._queue, each)]
        return [(each, jobs) for each, jobs in (*found, *((each, []) for each in idle)) if each.id != self._me.worker]

    def _is_outdated(self, worker: Worker) -> bool:
        """Whether it is of an older version than the database: it writes nothing, and waits for what it runs."""
        elsewhere = is_elsewhere(self._queue, worker)
        return not elsewhere and attempt_table.read_outdated(f"{self._queue.home.workers}/{worker.id}")

    def _could_write(self) -> bool:
        began = monotonic()
        try:
            self._me.write_heartbeat(LATE)
        except QueueError:
            return False
        return monotonic() - began <= LATE


def is_elsewhere(queue: Queue, worker: Worker) -> bool:
    """Whether it is a worker of another host, which has a lease."""
    return worker.lease is not None and not queue.home.has_identity(worker.identity)


def patience(queue: Queue, worker: Worker) -> float:
    """Seconds without a sign of life after which a worker is hung, or lost with its host."""
    return _lease(worker).taken_over_at if is_elsewhere(queue, worker) else HUNG_AFTER


def silence(queue: Queue, worker: Worker) -> str:
    """Why a worker that can't be seen from here is lost, as the end of a sentence."""
    if is_elsewhere(queue, worker):
        return f"was not heard for {span(patience(queue, worker))}, longer than its lease"
    return f"has said nothing for {HUNG_AFTER:.0f} s, and can't be seen from here"


def kill(queue: Queue, worker: Worker) -> bool:
    """Kill a hung worker's process; False if it has ended or is out of reach (another machine or container).

    The process is identified by its start time, or by the lock it holds, once its pidfd is open: so that no other
    process is killed to which the pid was given meanwhile.
    """
    if (worker.boot_id, worker.pid_namespace) != (procfs.boot_id(), procfs.pid_namespace()):
        return False
    try:
        process = os.pidfd_open(worker.pid)
    except ProcessLookupError:
        return False
    try:
        if not _is_same_process(queue, worker):
            return False
        _record_reason(f"{queue.home.workers}/{worker.id}")
        signal.pidfd_send_signal(process, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return False
    finally:
        os.close(process)
    return True


def is_unseen(queue: Queue, worker: Worker) -> bool:
    """Whether neither the worker's process nor its lock can be seen from here, so that only heartbeats tell its end."""
    return queue.liveness(worker) is Life.UNKNOWN


def unseen_workers(queue: Queue) -> list[tuple[Worker, list[Job]]]:
    """The workers that hold jobs and can't be seen from here (see `is_unseen`), each with its jobs."""
    with queue.engine.snapshot() as view:
        holders = _holders(view)
    return [(worker, jobs) for worker, jobs in holders if is_unseen(queue, worker)]


def _holders(view: View) -> list[tuple[Worker, list[Job]]]:
    """The workers that hold jobs, each with its jobs, including those that have ended according to the log."""
    known = [view.worker(id) for id in view.workers_with_jobs()]
    return [(worker, view.jobs_of(worker.id)) for worker in known if worker is not None]


def _lease(worker: Worker) -> HostLease:
    return HostLease(worker.lease or HUNG_AFTER)


def _is_same_process(queue: Queue, worker: Worker) -> bool:
    """Whether the process with the worker's pid is that worker."""
    if worker.start_ticks is None:
        return worker_lock.owner(queue.home.workers, worker.id) == worker.pid
    return processes.start_time(worker.pid) == worker.start_ticks and queue.liveness(worker) is Life.LIVES


def _record_reason(path: str) -> None:
    try:
        attempt_table.write_kill_reason(path, f"was killed: it had said nothing for {HUNG_AFTER:.0f} s")
    except OSError:
        pass  # on a full disk the worker is killed all the same; recovery then does not know why

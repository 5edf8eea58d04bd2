"""Takeover of a host that an operator knows to be gone, without waiting for the leases of its workers (R48)."""

import os
from collections.abc import Sequence

import msgspec

from projections.workers import Worker
from queuectl.engines.view import View
from queuectl.errors import NotFound, Refused
from queuectl.liveness import Life
from queuectl.queue import Queue
from queuectl.workers.recovery.rescuer import RecoveryReport, recover_each


class GoneHost(msgspec.Struct, frozen=True):
    """What the log has of a host."""

    name: str
    workers: Sequence[Worker]
    """Its workers that have not ended, or hold jobs."""
    jobs: int
    """How many jobs these hold."""


def find(queue: Queue, name: str) -> GoneHost:
    """The host of this name, which must be another one, and of which no worker can be seen to live.

    Raises NotFound, which names those that are known, and Refused.
    """
    with queue.engine.snapshot() as view:
        known = _workers(view)
        jobs = {worker.id: len(view.jobs_of(worker.id)) for worker in known}
    chosen = [worker for worker in known if worker.host == name]
    if name == os.uname().nodename or any(queue.home.has_identity(worker.identity) for worker in chosen):
        raise Refused(f"{name} is this host: its dead workers are known without that; run `queuectl recover`")
    if not chosen:
        others = ", ".join(sorted({worker.host for worker in known} - {os.uname().nodename}))
        elsewhere = f"there are some on {others}" if others else "nor on any other"
        raise NotFound(f"no worker is up on a host {name!r}; {elsewhere}")
    if living := next((worker for worker in chosen if queue.liveness(worker) is Life.LIVES), None):
        raise Refused(f"worker {living.id} on {name} lives: process {living.pid}, as can be seen from here")
    return GoneHost(name, chosen, sum(jobs[worker.id] for worker in chosen))


def take_over(queue: Queue, host: GoneHost, reason: str | None = None) -> RecoveryReport:
    """Declare its workers lost, and have what they held run again, or die (`on_lost`), as `queue.actor`.

    Where the host is not gone, what they run is run twice, until their own leases run out.
    """
    died = "ended with its host, which is gone" + (f" ({reason})" if reason is not None else "")
    return recover_each(queue, {worker.id: died for worker in host.workers}, queue.actor)


def _workers(view: View) -> list[Worker]:
    live = view.workers()
    others = {id: view.worker(id) for id in set(view.workers_with_jobs()) - {worker.id for worker in live}}
    return [*live, *(worker for worker in others.values() if worker is not None)]

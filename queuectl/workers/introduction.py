"""What a worker says of itself when it starts: where it runs, what it offers, and how long it may go unheard."""

import os
from collections.abc import Mapping, Sequence

from queuectl import clock, enclosing_jobs
from queuectl.engines.view import Transaction
from queuectl.events import WorkerStarted
from queuectl.host import processes, procfs
from queuectl.host_limits import HostLimits
from queuectl.queue import Queue


def introduction(
    queue: Queue,
    tx: Transaction,
    identity: str,
    queues: Sequence[str],
    *,
    slots: int,
    drain: bool,
    private: bool,
    resources: Mapping[str, int | str],
    limits: HostLimits,
    cgroup: str | None,
) -> WorkerStarted:
    """The first event of the worker that is this process. `identity`: that of the queue's folder."""
    many_hosts = queue.engine.many_hosts
    return WorkerStarted(
        host=os.uname().nodename,
        pid=os.getpid(),
        start_ticks=processes.start_time(os.getpid()),
        slots=slots,
        queues=list(queues),
        boot_id=procfs.boot_id(),
        pid_namespace=procfs.pid_namespace(),
        machine_id=procfs.machine_id(),
        identity=identity,
        drain=drain,
        inside=enclosing_jobs.inside(queue.engine),
        resources=dict(resources),
        max_load=limits.max_load,
        min_free_memory=limits.min_free_memory,
        cgroup=cgroup,
        private=private,
        lease=queue.settings(tx).lease if many_hosts else None,
        clock_ahead=(clock.now() - tx.now) / clock.SECOND if many_hosts else None,
    )

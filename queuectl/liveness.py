"""Whether a worker lives: one judgement for all that would recover it, stop it, or count on it (R42).

A worker holds the lock on its lock file as long as it lives, and the kernel lets go of it at its end. But a file can be
removed, and a folder replaced by a copy, while the worker goes on: so a lock that is missing or free proves nothing
alone. The process that `worker_started` recorded must be gone as well, wherever it can be looked at from here.

Where the database has workers of many hosts, here is the queue's folder in which the worker started, by its identity:
containers may share machine, boot and even pids, and still not see each other's files (R48).
"""

import enum
import os
from collections.abc import Iterable, Mapping

from projections.workers import Worker
from queuectl.clock import SECOND
from queuectl.engines.base import Engine
from queuectl.host.flock import locked
from queuectl.host.procfs import boot_id, look, machine_id, pid_namespace


class Life(enum.Enum):
    """What is known of a worker's process."""

    LIVES = "lives"
    """It is there, or another process is recovering what it left."""
    GONE = "gone"
    UNKNOWN = "unknown"
    """It can't be seen from here (another pid namespace, machine or host): only its heartbeats tell."""


def liveness(worker: Worker, engine: Engine) -> Life:
    """Whether the worker's process lives. Looks at its lock, and where that is not held at the process itself."""
    path = f"{engine.home.workers}/{worker.id}"
    if locked(path):
        return Life.LIVES
    if engine.many_hosts and not engine.home.has_identity(worker.identity):
        return Life.UNKNOWN
    if worker.boot_id == boot_id():
        if worker.pid_namespace == pid_namespace() and (life := _of_process(worker, engine)) is not Life.UNKNOWN:
            return life
    elif worker.machine_id == machine_id():
        return Life.GONE  # the machine has been down since
    # Its pid tells nothing here. A lock file that it took itself, and that is free, is the kernel's word.
    return Life.GONE if os.path.lexists(path) and engine.home.has_identity(worker.identity) else Life.UNKNOWN


def lease_left(worker: Worker, now: int) -> float | None:
    """Seconds that are left of the lease of a worker (R48), for people: clocks differ. Below 0 where it has run out.

    None where it has no lease, or has ended. `now` is microseconds UTC.
    """
    if worker.lease is None or not worker.live:
        return None
    return worker.lease - max(0, now - worker.heartbeat_at) / SECOND


def parents(workers: Iterable[Worker], engine: Engine) -> dict[int, int]:
    """The processes that have started these workers and restart them, by pid, and when each started.

    Those that can be seen from here: they have the database open as well. The process that asks is none of them.
    """
    found: dict[int, int] = {}
    for worker in workers:
        if (worker.boot_id, worker.pid_namespace) == (boot_id(), pid_namespace()):
            process = look(worker.pid)
            if process is None or process.started != worker.start_ticks or process.parent in (*found, 0, os.getpid()):
                continue
            if (above := look(process.parent)) is not None and engine.uses(process.parent):
                found[process.parent] = above.started
    return found


def any_lives(known: Mapping[int, int]) -> bool:
    """Whether any of these processes, by pid and start, is there."""
    return any((now := look(pid)) and now.started == started and now.lives for pid, started in known.items())


def _of_process(worker: Worker, engine: Engine) -> Life:
    process = look(worker.pid)
    if process is None or not process.lives or worker.start_ticks not in (None, process.started):
        return Life.GONE
    if worker.start_ticks is not None and engine.home.has_identity(worker.identity):
        return Life.LIVES
    # Either its start was not recorded, and the pid may have been given away; or the folder is another one, because
    # it was replaced under the worker, or because this queue is a copy of that worker's.
    match engine.uses(worker.pid):
        case None:
            return Life.UNKNOWN
        case uses:
            return Life.LIVES if uses else Life.GONE

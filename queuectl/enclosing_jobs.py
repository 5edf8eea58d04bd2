"""Commands inside a job: which jobs can't end before the command does, so that nothing waits for itself.

A job's command has QUEUECTL_JOB_ID, QUEUECTL_ATTEMPT and QUEUECTL_DB in its environment (R14). A worker that was
started inside a job says so in the log (`worker_started.inside`), and that job waits for it: it is a host of what this
worker runs, as is, in its turn, the job inside which the host's own worker was started.
"""

import os

from projections.jobs import Job
from queuectl.engines import resolve
from queuectl.engines.base import Engine
from queuectl.engines.view import View
from queuectl.errors import QueueError, Refused


def inside(engine: Engine) -> str | None:
    """The id of the job of this queue inside which this process runs, by its environment; None: of none."""
    id, database = os.environ.get("QUEUECTL_JOB_ID"), os.environ.get("QUEUECTL_DB")
    if not id or not database:
        return None
    try:
        return id if engine.url in (database, resolve(database)) else None
    except QueueError:
        return None


def attempt() -> int | None:
    """The number of the attempt inside which this process runs, by its environment; None: of none."""
    number = os.environ.get("QUEUECTL_ATTEMPT", "")
    return int(number) if number.isdecimal() and number.isascii() else None


def hosts(view: View, job: str | None) -> list[Job]:
    """This job and those that wait for it, innermost first, as far as they are processing; [] for None.

    What was started by an attempt that has ended since is inside of no job any more.
    """
    found: list[Job] = []
    while job is not None and all(job != host.id for host in found):
        host = view.job(job)
        if host is None or host.state != "processing":
            break
        if not found and os.environ.get("QUEUECTL_ATTEMPT", str(host.attempt)) != str(host.attempt):
            break
        found.append(host)
        worker = view.worker(host.worker) if host.worker is not None else None
        job = worker.inside if worker is not None else None
    return found


def waiting_inside(view: View, job: str | None) -> list[Job]:
    """The processing jobs that can't end before what waits inside `job` has.

    Those are its hosts, and each job that itself waits inside until nothing is left to do: two of them would wait for
    each other. None outside of a job: to wait there keeps no job from ending.
    """
    known = {host.id: host for host in hosts(view, job)}
    if not known:
        return []
    for worker in view.workers():
        if worker.drain and not worker.private and worker.inside is not None and worker.inside not in known:
            waiting = view.job(worker.inside)
            if waiting is not None and waiting.state == "processing":
                known[waiting.id] = waiting
    return list(known.values())


def refuse_own(view: View, job: str | None, wanted: str) -> None:
    """Raises Refused where a command inside `job` would wait for itself by waiting for the job `wanted`."""
    ids = [host.id for host in hosts(view, job)]
    if wanted not in ids:
        return
    if wanted == ids[0]:
        raise Refused(f"job {wanted} would wait for itself: this command is a part of it")
    raise Refused(f"job {wanted} would wait for itself: it waits for job {ids[0]}, of which this command is a part")

"""The check of workers and what they run: who is dead, stopped or hung, and which attempts can't be ended (R18).

Much of what it sees is only passing: a worker that died a moment ago is recovered by the next, a job that is being
cancelled has seconds to end. So it looks again until that is over, and tells what is left then.
"""

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from projections.jobs import Job
from projections.workers import Worker
from queuectl import paths
from queuectl.clock import monotonic
from queuectl.doctor.finding import Finding, Process, fine, problem, process, some, warning
from queuectl.workers import lock, processes
from queuectl.workers.ledger import tag

if TYPE_CHECKING:
    from queuectl.doctor import Bars, Patient

PATIENCE = 10.0
"""Seconds after which nothing is passing any more: a command has 5 to end after a TERM."""

COURTESY = 2.0
"""Seconds that a parent has to recover its worker when no other is up."""

PAUSE = 0.25


class Seen(msgspec.Struct):
    """What one look has found."""

    lasting: list[Finding]
    passing: list[Finding]
    """What is a problem only if it is still so in a while."""
    dead: list[Finding]
    """Workers that nobody recovers so far."""
    up: int = 0
    """Workers, and those that only recover, that live and would see to the dead."""

    @property
    def patience(self) -> float:
        """Seconds to wait for it to pass."""
        if self.passing or (self.dead and self.up):
            return PATIENCE
        return COURTESY if self.dead else 0.0


def workers(patient: "Patient", bars: "Bars") -> Iterator[Finding]:
    """Whether what workers hold goes on: each lives, or somebody takes over what it ran."""
    began = monotonic()
    while monotonic() - began < (seen := _look(patient)).patience:
        time.sleep(PAUSE)
    findings = [*seen.lasting, *seen.passing, *seen.dead]
    yield from findings or [fine(f"{seen.up} up, none dead or stuck", up=seen.up)]


def _look(patient: "Patient") -> Seen:
    with patient.engine.snapshot() as view:
        held = [(worker, view.held(worker.id)) for worker in view.workers()]
    seen = Seen([], [], [])
    for worker, jobs in held:
        if worker.machine_id != processes.machine_id():
            continue  # its own machine's to judge
        if not lock.held(patient.place.workers, worker.id):
            seen.dead.append(_dead(patient, worker, jobs))
        elif (owner := _other_owner(patient, worker)) is not None:
            seen.passing += [_being_recovered(patient, worker, job, owner) for job in jobs]
        elif _is_stopped(worker):
            seen.lasting.append(_stopped(worker, jobs))
        else:
            seen.up += 1
            seen.passing += [_not_ending(patient, worker, job) for job in jobs if job.cancel_requested]
    return seen


def _other_owner(patient: "Patient", worker: Worker) -> int | None:
    """The process that holds a dead worker's lock to recover it; None where the worker itself may be holding it."""
    if worker.pid_namespace != processes.pid_namespace():
        return None
    owner = lock.owner(patient.place.workers, worker.id)
    return owner if owner != worker.pid else None


def _is_stopped(worker: Worker) -> bool:
    return worker.pid_namespace == processes.pid_namespace() and processes.state(worker.pid) == "T"


def _stopped(worker: Worker, jobs: list[Job]) -> Finding:
    return problem(
        f"worker {worker.id} (process {worker.pid}) is stopped, and {_holding(jobs)}",
        f"let it go on: kill -CONT {worker.pid}; or have it killed and its jobs tried again: queuectl recover --hung",
        worker=worker.id,
        pid=worker.pid,
        jobs=[job.id for job in jobs],
    )


def _dead(patient: "Patient", worker: Worker, jobs: list[Job]) -> Finding:
    what = f"worker {worker.id} (process {worker.pid}) is dead, and {_holding(jobs)}"
    alive = [each for job in jobs for each in _running(patient, worker, job)]
    if alive:
        what += f"; what it ran is still alive: {some(list(map(str, alive)))}"
    do = "run `queuectl recover`, or start a worker, which does it too"
    facts = {"worker": worker.id, "pid": worker.pid, "jobs": [job.id for job in jobs], "processes": alive}
    return problem(what, do, **facts) if jobs else warning(what, do, **facts)


def _being_recovered(patient: "Patient", worker: Worker, job: Job, owner: int) -> Finding:
    what = f"job {job.id}, attempt {job.attempt}: its worker is dead, and {process(owner)} can't end what it ran"
    return _stuck(what, patient, worker, job, recoverer=owner)


def _not_ending(patient: "Patient", worker: Worker, job: Job) -> Finding:
    what = f"job {job.id}, attempt {job.attempt}: was cancelled, and its worker (process {worker.pid}) can't end it"
    return _stuck(what, patient, worker, job)


def _stuck(what: str, patient: "Patient", worker: Worker, job: Job, **facts: int) -> Finding:
    left = _running(patient, worker, job)
    if left:
        what += f": {some(list(map(str, left)))}"
        do = f"end it as its owner or as root: kill -9 {' '.join(str(each.pid) for each in left)}"
        if any(each.state == "D" for each in left):
            do += "; what waits for a device ends when that answers, or with a restart of the machine"
    elif _is_locked(patient, worker, job):
        what += ": its output file is locked by a process that can't be seen from here"
        do = "find and end it: another user's, or another container's"
    else:
        do = f"see what it is at: {patient.logs}/worker.jsonl"
    return problem(what, do, **facts, worker=worker.id, job=job.id, attempt=job.attempt, processes=left)


def _running(patient: "Patient", worker: Worker, job: Job) -> list[Process]:
    """What lives of an attempt, as far as it can be found by its tag; nothing of another queue's or another boot's."""
    place = patient.place
    if job.lease is None or worker.boot_id != processes.boot_id() or not os.path.exists(place.folder + "/id"):
        return []
    identity = paths.identity(place)
    if worker.identity != identity:
        return []
    found = processes.by_tag(tag(identity, job.id, job.lease))
    return [each for each in map(process, found) if each.state not in "ZX?"]


def _is_locked(patient: "Patient", worker: Worker, job: Job) -> bool:
    path = patient.place.output_of(worker.identity, job.id, job.lease or 0)
    return os.path.isfile(path) and not processes.lock_free(path)


def _holding(jobs: list[Job]) -> str:
    if not jobs:
        return "holds no job"
    return f"holds {'job' if len(jobs) == 1 else 'jobs'} {some([f'{job.id} (attempt {job.attempt})' for job in jobs])}"

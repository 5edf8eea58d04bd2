"""The check of workers and their attempts: dead, stopped and hung workers, and attempts that can't be ended (R18).

Many findings are transient: another worker recovers one that died a moment ago; a job past its timeout has seconds to
end. The check therefore scans repeatedly, and reports what every scan has found.
"""

import os
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from projections.jobs import Job
from projections.workers import Worker
from queuectl.clock import monotonic, now
from queuectl.doctor.finding import Finding, ProcessSummary, fine, problem, process, some, warning
from queuectl.host import processes, procfs
from queuectl.liveness import Life
from queuectl.units import counted, span
from queuectl.workers.execution import traces
from queuectl.workers.execution.output import is_output_locked
from queuectl.workers.recovery import attempt_table, worker_lock
from queuectl.workers.turn import earlier_attempts, tag

if TYPE_CHECKING:
    from projections.replay import ProgressBars
    from queuectl.doctor import InspectedQueue

PATIENCE = 10.0
"""Seconds after which no finding is transient any more, but for the processes of a job with a long grace period."""
GRACE = 5.0
"""Seconds of grace that are over by then."""

COURTESY = 2.0
"""Seconds that a supervisor has to recover its worker when no other worker is up."""

PAUSE = 0.25


class WorkerScan(msgspec.Struct):
    """The result of one scan."""

    lasting: list[Finding] = []
    passing: list[tuple[str, Finding]] = []
    """Findings that may be transient, each with a key that identifies it in the next scan."""
    up: int = 0
    """Number of live workers, monitors included."""
    attended: bool = False
    """Whether a live worker can resolve the transient findings."""

    @property
    def patience(self) -> float:
        """Seconds to wait for transient findings to resolve."""
        return 0.0 if not self.passing else PATIENCE if self.attended else COURTESY


class Traces(msgspec.Struct, frozen=True):
    """The traces of an attempt that live. False if there are none."""

    processes: list[ProcessSummary] = []
    locked: bool = False
    """Its output file is locked by a process that can't be found."""

    def __bool__(self) -> bool:
        return bool(self.processes) or self.locked


def workers(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check that every job a worker holds makes progress, and that every queue with jobs has a worker."""
    began, scan = monotonic(), _scan(queue)
    while monotonic() - began < scan.patience:
        time.sleep(PAUSE)
        before, scan = {key for key, _ in scan.passing}, _scan(queue)
        scan.passing = [(key, finding) for key, finding in scan.passing if key in before]
    findings = [*scan.lasting, *(finding for _, finding in scan.passing)]
    yield from findings or [fine(f"{scan.up} up, none dead or stuck", up=scan.up)]
    for name, (reason, jobs) in sorted(queue.unserved().items(), key=lambda item: item[0]):
        what = f"{reason.text}: {counted(jobs, 'job waits', 'jobs wait')} there"
        # Without any worker this is expected; with others up, this queue may have been forgotten.
        yield Finding(
            "warning" if scan.up else "ok",
            what,
            f"start one with `{reason.frees}`",
            {"queue": name, "jobs": jobs},
        )

    for name, why in sorted(queue.held_back().items()):
        yield fine(f"{why}; its jobs wait", queue=name)


def _scan(queue: "InspectedQueue") -> WorkerScan:
    with queue.engine.snapshot() as view:
        held = [(worker, view.jobs_of(worker.id)) for worker in view.workers()]
        ended = [
            (id, view.worker(id), view.jobs_of(id))
            for id in set(view.workers_with_jobs()) - {each.id for each, _ in held}
        ]
    scan = WorkerScan()
    for id, worker, jobs in ended:
        if worker is not None and queue.liveness(worker) is Life.UNKNOWN:
            scan.lasting.append(_unseen(worker, jobs))
        elif worker is None or queue.liveness(worker) is Life.GONE:
            scan.passing += [(f"{job.id} {job.lease}", _abandoned(queue, id, worker, job)) for job in jobs]
    for worker, jobs in held:
        if (life := queue.liveness(worker)) is Life.UNKNOWN and worker.lease is not None:
            scan.up += 1  # as far as is known: its host is looked at by itself
        elif life is Life.UNKNOWN:
            # Only a process in its container or on its machine can judge it; heartbeats are not waited for here.
            scan.lasting += [_unseen(worker, jobs)] if jobs else []
        elif life is Life.GONE:
            scan.passing.append((worker.id, _dead(queue, worker, jobs)))
        elif (owner := _other_owner(queue, worker)) is not None:
            scan.attended = True
            found = [_being_recovered(queue, worker, job, owner) for job in jobs]
            scan.passing += [(worker.id, finding) for finding in found if finding is not None]
        elif _is_here(worker) and processes.state(worker.pid) == "T":
            scan.lasting.append(_stopped(worker, jobs))
        else:
            scan.attended = True
            scan.up += 1
            started = _started(queue, worker)
            for job in jobs:
                if (finding := _held_up(queue, worker, job, started.get((job.seq, job.lease or 0)))) is not None:
                    scan.passing.append((f"{job.id} {job.lease}", finding))
    return scan


def _is_here(worker: Worker) -> bool:
    """Whether the worker is in the pid namespace of this process."""
    return worker.pid_namespace == procfs.pid_namespace()


def _other_owner(queue: "InspectedQueue", worker: Worker) -> int | None:
    """The pid that holds a dead worker's lock to recover it; None if the worker itself may hold it."""
    owner = worker_lock.owner(queue.home.workers, worker.id) if _is_here(worker) else None
    return owner if owner != worker.pid else None


def _started(queue: "InspectedQueue", worker: Worker) -> dict[tuple[int, int], attempt_table.TableEntry]:
    """The worker's attempts that are started and not reported, by job (its seq) and lease."""
    entries = attempt_table.read(f"{queue.home.workers}/{worker.id}") if _is_here(worker) else []
    return {(entry.job, entry.lease): entry for entry in entries}


def _stopped(worker: Worker, jobs: list[Job]) -> Finding:
    return problem(
        f"worker {worker.id} (process {worker.pid}) is stopped, and {_holding(jobs)}",
        f"let it go on: kill -CONT {worker.pid}; or have it killed and its jobs tried again: queuectl recover --hung",
        worker=worker.id,
        pid=worker.pid,
        jobs=[job.id for job in jobs],
    )


def _unseen(worker: Worker, jobs: list[Job]) -> Finding:
    heard = span(max(0, now() - worker.heartbeat_at) // 1_000_000)
    names = some([f"{job.id} (attempt {job.attempt})" for job in jobs])
    return warning(
        f"worker {worker.id} (on {worker.host}) can't be seen from here, was last heard of {heard} ago, and holds"
        f" {counted(len(jobs), 'job that stays', 'jobs that stay')} processing: {names}",
        "if it lives no more, bring back what it holds: queuectl recover --hung (which listens for 20 seconds"
        " first, and leaves the worker alone if it says anything)",
        worker=worker.id,
        host=worker.host,
        jobs=[job.id for job in jobs],
    )


def _dead(queue: "InspectedQueue", worker: Worker, jobs: list[Job]) -> Finding:
    what = f"worker {worker.id} (process {worker.pid}) is dead, and {_holding(jobs)}"
    alive = [each for job in jobs for each in _traces(queue, worker, job.id, job.lease).processes]
    if alive:
        what += f"; what it ran is still alive: {some(list(map(str, alive)))}"
    do = "run `queuectl recover`, or start a worker, which does it too"
    facts = {"worker": worker.id, "pid": worker.pid, "jobs": [job.id for job in jobs], "processes": alive}
    return problem(what, do, **facts) if jobs else warning(what, do, **facts)


def _abandoned(queue: "InspectedQueue", id: str, worker: Worker | None, job: Job) -> Finding:
    fate = (
        "is not in the log" if worker is None else "has stopped" if worker.state == "stopped" else "was declared lost"
    )
    what = f"job {job.id} (attempt {job.attempt}) is processing, but its worker {id} {fate}"
    left = _traces(queue, worker, job.id, job.lease).processes
    if left:
        what += f"; what it ran is still alive: {some(list(map(str, left)))}"
    do = "run `queuectl recover`, or start a worker, which does it too"
    return problem(what, do, worker=id, job=job.id, attempt=job.attempt, processes=left)


def _being_recovered(queue: "InspectedQueue", worker: Worker, job: Job, owner: int) -> Finding | None:
    what = f"its worker is dead, and {process(owner)} can't end what it ran"
    return _stuck(queue, worker, job, what, _traces(queue, worker, job.id, job.lease), recoverer=owner)


def _held_up(
    queue: "InspectedQueue", worker: Worker, job: Job, entry: attempt_table.TableEntry | None
) -> Finding | None:
    """A finding about a job of a live worker that should have ended or started; None if there is none."""
    its = f"its worker (process {worker.pid}) can't end"
    pid = entry.pid if entry is not None and entry.code == attempt_table.RUNNING else None
    if (why := _over(queue, job, pid)) is not None:
        return _stuck(queue, worker, job, f"{why}, and {its} it", _traces(queue, worker, job.id, job.lease, pid))
    if entry is not None:
        kept = job.policy.keep_children and entry.code != attempt_table.RUNNING
        ended = pid is None or processes.start_time(pid) is None
        if ended and not kept and (left := _traces(queue, worker, job.id, job.lease)):
            return _stuck(queue, worker, job, f"its command has ended, and {its} what that left", left)
    elif not os.path.lexists(queue.home.output_of(worker.identity, job.id, job.lease or 0)):
        number, left = _earlier_traces(queue, job)
        if left:
            return _stuck(queue, worker, job, f"waits, for {its} what is left of attempt {number}", left)
    return None


def _over(queue: "InspectedQueue", job: Job, pid: int | None) -> str | None:
    """Why an attempt with this main process should have ended; None if it need not, as far as can be told."""
    if job.cancel_requested:
        return "was cancelled"
    if pid is None or (started := processes.start_time(pid)) is None:
        return None
    # A start time includes the time the machine was suspended before: the process may be older, not younger.
    age = monotonic() - started / os.sysconf("SC_CLK_TCK")
    if job.timeout is not None and age > job.timeout and not _was_suspended(queue, job):
        return f"is past its timeout of {span(job.timeout)}"
    return "was killed" if procfs.is_kill_pending(pid) else None


def _was_suspended(queue: "InspectedQueue", job: Job) -> bool:
    """Whether its attempt is or was suspended, so that the clock of its timeout is behind."""
    with queue.engine.snapshot() as view:
        records = view.stream(f"job:{job.id}")
    return any(record.type == "suspended" and record.version > (job.lease or 0) for record in records)


def _stuck(queue: "InspectedQueue", worker: Worker, job: Job, what: str, left: Traces, **facts: int) -> Finding | None:
    """A finding about what can't be ended; None while it may have part of a long grace period left."""
    if job.policy.grace > GRACE and left.processes and not any(_cannot_end(each.pid) for each in left.processes):
        return None
    what = f"job {job.id}, attempt {job.attempt}: {what}"
    if left.processes:
        what += f": {some(list(map(str, left.processes)))}"
        do = f"end it as its owner or as root: kill -9 {' '.join(str(each.pid) for each in left.processes)}"
        if any(each.state == "D" for each in left.processes):
            do += "; what waits for a device ends when that answers, what is frozen (by its cgroup) when it is thawed"
    elif left.locked:
        what += ": its output file is locked by a process that can't be seen from here"
        do = "find and end it: another user's, or another container's"
    else:
        do = f"see what it is at: {queue.logs}/worker.jsonl"
    return problem(what, do, **facts, worker=worker.id, job=job.id, attempt=job.attempt, processes=left.processes)


def _cannot_end(pid: int) -> bool:
    """Whether the process was killed in vain, or may not be signalled from here."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return procfs.is_kill_pending(pid)


def _traces(
    queue: "InspectedQueue", worker: Worker | None, job: str, lease: int | None, main: int | None = None
) -> Traces:
    """The traces of an attempt of this worker; none for another queue's worker or another boot.

    `main`: the pid of its main process, whose tag can't be read if it is another user's, or hides its environment.
    """
    if worker is None or lease is None or worker.boot_id != procfs.boot_id():
        return Traces()
    if not queue.home.has_identity(worker.identity):
        return Traces()
    path = queue.home.output_of(worker.identity, job, lease)
    pids = {*traces.by_tag(tag(worker.identity, job, lease)), *([main] if main is not None else [])}
    found = [each for each in map(process, sorted(pids)) if each.state not in "ZX?"]
    return Traces(found, not found and os.path.isfile(path) and is_output_locked(path))


def _earlier_traces(queue: "InspectedQueue", job: Job) -> tuple[int, Traces]:
    """The last earlier attempt that must have ended before the job's next one starts, and its traces."""
    with queue.engine.snapshot() as view:
        for attempt in reversed(earlier_attempts(view, job)):
            if left := _traces(queue, view.worker(attempt.worker), job.id, attempt.lease):
                return attempt.number, left
    return 0, Traces()


def _holding(jobs: list[Job]) -> str:
    if not jobs:
        return "holds no job"
    return f"holds {'job' if len(jobs) == 1 else 'jobs'} {some([f'{job.id} (attempt {job.attempt})' for job in jobs])}"

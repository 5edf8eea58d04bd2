"""Recovery of a dead worker's jobs (R11, R18, R19, R21).

A worker is dead when the lock on its lock file is free. Recovery takes that lock and holds it until it is complete. It
never lets a job run again while a process of its last attempt is found: it ends them all, scans until none is left, and
only then appends the outcome. A claim that never started is released and uses up no attempt.
"""

import os
import signal
from collections.abc import Mapping
from typing import Any

import msgspec

from projections.jobs import Job
from projections.workers import Worker
from queuectl import clock, decisions, on_empty
from queuectl.clock import monotonic
from queuectl.decisions import Ending, Lease, Outcome, Release, Report
from queuectl.engines.view import Write
from queuectl.errors import Outdated, QueueError
from queuectl.events import WorkerLost, encode
from queuectl.host import pidfd, procfs, signal_names
from queuectl.host.oom import PERHAPS
from queuectl.liveness import Life
from queuectl.outputs import keep_ends
from queuectl.queue import Queue
from queuectl.workers.execution import memory, traces
from queuectl.workers.execution.memory import MemoryLimit
from queuectl.workers.execution.progress import with_progress
from queuectl.workers.execution.traces import OrphanFinder
from queuectl.workers.journal import open_log_file
from queuectl.workers.recovery import attempt_table, worker_lock
from queuectl.workers.recovery.termination import Survivors, Termination
from queuectl.workers.recovery.worker_lock import NoLockFile, WorkerLock
from queuectl.workers.turn import requested_stop, tag

PATIENCE = 30.0
"""Seconds that one pass has for what it ends, beside the grace periods of the jobs."""
PAUSE = 1.0
"""Seconds before the next try when the database or the output folder can't be used."""

_CHANGED = "the queue's folder is not the one in which it ran, but was removed or replaced meanwhile, or is a copy"
_FOUND = "what it ran was found and ended"


class RecoveredJob(msgspec.Struct, frozen=True):
    """What a recovery did with one job."""

    job: str
    attempt: int
    worker: str
    outcome: str
    """The type of the event that ended the attempt: completed, failed, cancelled, interrupted or released."""
    then: str
    """The state of the job afterwards."""
    error: str | None = None


class RecoveryReport(msgspec.Struct):
    """The result of a recovery."""

    workers: list[str] = []
    jobs: list[RecoveredJob] = []
    left: list[str] = []
    """What could not be ended, one line each; these jobs stay `processing`."""


class Rescuer:
    """Recovers one dead worker without blocking: call `tick` at `next_tick` until it returns True."""

    def __init__(
        self,
        queue: Queue,
        held: WorkerLock,
        actor: str,
        *,
        patience: float | None = None,
        known: Mapping[tuple[int, int], Outcome] | None = None,
        died: str = "died",
        orphans: OrphanFinder = tuple,
        at_once: bool = False,
    ) -> None:
        """Continue the recovery of the worker whose lock is `held`, which is released when it is complete.

        `patience`: how many seconds a tick waits for other writers; None: without limit. `known`: how attempts ended,
        where more is known than the worker's attempt table has (see `unreported_outcomes`). `died`: how the worker
        ended. `orphans`: finds untagged processes of its commands, for its parent, to which they have fallen.
        `at_once`: KILL follows the stop signal without the grace period of each job.
        """
        self.next_tick = 0.0
        """When to call `tick` next, in monotonic seconds."""
        self.failing = False
        """Whether the last tick could not use the database or the output folder."""
        self.report = RecoveryReport(workers=[], jobs=[], left=[])
        self._queue = queue
        self._lock = held
        self._actor = actor
        self._patience = patience
        self._known = unreported_outcomes(held.path) if known is None else known
        self._died = attempt_table.read_kill_reason(held.path) or died
        self._stop = attempt_table.read_stop(held.path)
        self._started = {(entry.job, entry.lease) for entry in attempt_table.read(held.path)}
        self._orphans = orphans
        self._at_once = at_once
        self.grace = 0.0
        """The longest grace period of those that are being ended, in seconds."""
        self._id = held.worker
        self._outcomes: dict[Lease, Outcome | None] | None = None
        """Outcomes not yet appended, by lease; an outcome of None: never started. None until the first tick."""
        self._limits: dict[Lease, MemoryLimit] = {}
        """The memory limits of attempts that were started, whose groups are left to remove."""
        self._terminations: list[tuple[Lease, Outcome | None, Termination]] = []
        """Attempts whose processes are being ended, each with the outcome to append afterwards."""

    def tick(self, now: float) -> bool:
        """Do the next step. Returns True when the recovery is complete. `now` is monotonic seconds.

        If the database or the output folder can't be used, `next_tick` is a second later. Raises Outdated if a newer
        version of queuectl has written to the database.
        """
        self.failing = False
        try:
            return self._advance(now)
        except Outdated:
            raise
        except (QueueError, OSError) as error:
            self.report.left = [f"worker {self._id}: {error}"]
            self.next_tick = now + PAUSE
            self.failing = True
            return False

    def _advance(self, now: float) -> bool:
        if self._outcomes is None:
            self._outcomes = self._begin()
        for lease, outcome, termination in list(self._terminations):
            if now >= termination.next_tick and termination.tick(now):
                termination.close()
                self._terminations.remove((lease, outcome, termination))
                self._outcomes[lease] = outcome
        for lease in self._outcomes:
            memory.lift(self._limits.pop(lease, None))
        # One attempt that is slow to end must not delay the other jobs.
        if self._outcomes or not self._terminations:
            self._append(self._outcomes)
            self._outcomes.clear()
        self.report.left = [
            f"job {lease.job}: {_described(termination.left)}" for lease, _, termination in self._terminations
        ]
        if self._terminations:
            self.next_tick = min(termination.next_tick for _, _, termination in self._terminations)
            return False
        self._lock.close()
        return True

    @property
    def stuck(self) -> int:
        """Number of attempts that can't be ended."""
        return sum(termination.stuck for _, _, termination in self._terminations)

    def abandon(self) -> None:
        """Stop before completion; the lock file is kept, so that another process recovers the worker."""
        for _, _, termination in self._terminations:
            termination.close()
        self._lock.close(keep=True)

    def _begin(self) -> dict[Lease, Outcome | None]:
        with self._queue.engine.snapshot() as view:
            worker, jobs = view.worker(self._id), view.jobs_of(self._id)
            if worker is not None and worker.state == "stopping":
                self._stop = requested_stop(view, self._id) or self._stop
        outcomes: dict[Lease, Outcome | None] = {}
        terminations: list[tuple[Lease, Outcome | None, Termination]] = []
        for job in jobs:
            lease = decisions.lease(job)
            outcome, termination = self._judge(job, lease, worker)
            if termination is not None:
                terminations.append((lease, outcome, termination))
                self.grace = max(self.grace, 0.0 if self._at_once else job.policy.grace)
            else:
                outcomes[lease] = outcome
        self._terminations = terminations
        return outcomes

    def _judge(self, job: Job, lease: Lease, worker: Worker | None) -> tuple[Outcome | None, Termination | None]:
        """The outcome of an attempt (None: it never started), and the termination that must be complete before."""
        here = self._queue.home.identity()
        identity = worker.identity if worker is not None else here
        if worker is not None and worker.boot_id != procfs.boot_id():
            # None of its processes live here, and a missing output file proves nothing.
            return decisions.explained(_lost(self._elsewhere(worker)), self._stop), None
        path, mark = self._queue.home.output_of(identity, job.id, lease.version), tag(identity, job.id, lease.version)
        limit = memory.found(job.policy.memory_limit, memory.group_of(worker.cgroup if worker else None, path))
        if limit is not None:
            self._limits[lease] = limit
        termination = Termination(
            path,
            mark,
            grace=0.0 if self._at_once else job.policy.grace,
            number=signal_names.number(job.stop_signal),
            orphans=self._orphans,
            # The folder was replaced under the worker; or this queue is a copy, and tagged processes the original's.
            database=self._queue.engine.access if identity != here else None,
        )
        if identity != here:
            what = _CHANGED if worker is None or worker.lease is None else f"it ran on host {worker.host}"
            return self._ended(job, lease, limit, what), termination
        try:
            # The creator of the path decides whether the attempt may start (R11): mkdir is as exclusive as O_EXCL.
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not os.path.isdir(path):
                return with_progress(self._ended(job, lease, limit, _FOUND), path), termination
        # The file may have been removed while the command ran. Scanned twice: it may fork during the first scan.
        if (job.seq, lease.version) in self._started or any(traces.by_tag(mark) for _ in range(2)):
            return self._ended(job, lease, limit, _FOUND), termination
        return None, termination if any(True for _ in self._orphans()) else None

    def _ended(self, job: Job, lease: Lease, limit: MemoryLimit | None, what: str) -> Outcome:
        """The outcome of an attempt that was started."""
        known = self._known.get((job.seq, lease.version), _lost(f"its worker {self._died}; {what}"))
        known = decisions.judged(known, job.policy.ok_codes)
        if limit is not None:
            known = limit.judged(msgspec.structs.replace(known, limited_by=limit.kept_by))
        if known.cause == "signal" and known.signal == signal.SIGKILL:
            known = msgspec.structs.replace(known, error=f"{PERHAPS}; its worker {self._died}")
        return decisions.explained(known, self._stop)

    def _elsewhere(self, worker: Worker) -> str:
        """Why no process is left here of a worker that ran under another boot of the machine."""
        if worker.lease is not None and worker.identity != self._queue.home.identity():
            return f"its worker {self._died}; it ran on host {worker.host}"
        if worker.machine_id == procfs.machine_id():
            return "its worker ended when the machine went down"
        return f"its worker ran on another machine ({worker.host})"

    def _append(self, outcomes: dict[Lease, Outcome | None]) -> None:
        started = [(lease.job, lease.version) for lease, outcome in outcomes.items() if outcome is not None]
        keep_ends(self._queue.engine, self._queue.home.identity(), started)
        with self._queue.engine.transaction(self._patience) as tx, on_empty.coming_to_rest(tx, self._actor):
            # What is fenced has been decided by another process meanwhile.
            ended = tx.end([_ending(lease, outcome) for lease, outcome in outcomes.items()], self._actor, {}).jobs
            worker = tx.worker(self._id)
            if worker is not None and worker.live and not self._terminations:
                lost = WorkerLost(reason=f"process {worker.pid} {self._died}")
                tx.append([Write(f"worker:{self._id}", worker, [lost])], self._actor)
                self.report.workers = [self._id]
            recovered = [
                RecoveredJob(job.id, end.job.attempt, self._id, end.events[0].type, job.state, job.error)
                for end in ended
                if (job := tx.job(end.job.id)) is not None
            ]
        self.report.jobs += recovered


def recover(
    queue: Queue, *, patience: float | None = None, courtesy: float = 0.0, silent: Mapping[str, str] = {}
) -> RecoveryReport:
    """Recover all dead workers once, and write `logs/recovered_jobs_<timestamp>.json` if there are any.

    `patience`: seconds after which attempts that have not ended are reported and left; None: half a minute, and the
    grace periods of their jobs. `courtesy`: seconds to wait first for the supervisors of the dead workers, which alone
    know how their commands ended. `silent`: hung workers that can't be seen from here, by id with how each ended.
    Raises OSError if the folder of lock files can't be read.
    """
    dead = {**dict.fromkeys(dead_workers(queue), "died"), **silent}
    if dead and courtesy:
        pidfd.wait([], courtesy)
    return recover_each(queue, dead, f"recovery:{os.urandom(4).hex()}", patience=patience)


def recover_each(queue: Queue, dead: Mapping[str, str], actor: str, *, patience: float | None = None) -> RecoveryReport:
    """Recover these dead workers, by id with how each ended, and write a report as `recover` does."""
    total = RecoveryReport(workers=[], jobs=[], left=[])
    deadline = monotonic() + (PATIENCE if patience is None else patience)
    for id, died in dead.items():
        held = take_lock(queue, id)
        if held is None:
            continue
        rescuer = Rescuer(queue, held, actor, died=died)
        until = deadline
        while not rescuer.tick(now := monotonic()):
            until = deadline + (rescuer.grace if patience is None else 0.0)
            if now >= until:
                rescuer.abandon()
                break
            pidfd.wait([], max(0.001, min(rescuer.next_tick, until) - now))
        deadline = until
        total.workers += rescuer.report.workers
        total.jobs += rescuer.report.jobs
        total.left += rescuer.report.left
    queue.cascade()
    if total.jobs or total.workers:
        write_report(queue.logs, total)
    return total


def unreported_outcomes(path: str, reaped: Mapping[int, int] | None = None) -> dict[tuple[int, int], Outcome]:
    """The outcomes that a dead worker had not reported, by job (its seq) and lease.

    `path`: the worker's lock file. `reaped`: by pid, the wait statuses of processes that were reaped in its place.
    """
    reaped = reaped or {}
    known: dict[tuple[int, int], Outcome] = {}
    for entry in attempt_table.read(path):
        if entry.code != attempt_table.RUNNING:
            known[entry.job, entry.lease] = _outcome(entry.code, entry.started_at, entry.ran / 1e6)
        elif entry.pid in reaped:
            code = os.waitstatus_to_exitcode(reaped[entry.pid])
            known[entry.job, entry.lease] = _outcome(code, entry.started_at)
    return known


def _outcome(code: int, started_at: int, seconds: float | None = None) -> Outcome:
    if code < 0:
        return Outcome(cause="signal", signal=-code, started_at=started_at, run_seconds=seconds)
    return Outcome(cause="exit" if code else None, exit_code=code, started_at=started_at, run_seconds=seconds)


def dead_workers(queue: Queue) -> list[str]:
    """The workers to recover: their process is gone, and they are live in the log, hold a job or have a lock file.

    Raises OSError if the folder of lock files can't be read.
    """
    folder = queue.home.workers
    worker_lock.sweep(folder)
    files = worker_lock.ids(folder)  # read first: a starting worker has a lock file before it is in the log
    with queue.engine.snapshot() as view:
        known = {worker.id: worker for worker in view.workers()}
        others = {id: view.worker(id) for id in dict.fromkeys([*view.workers_with_jobs(), *files]) if id not in known}
    workers = [*known.values(), *(worker for worker in others.values() if worker is not None)]
    unknown = [id for id, worker in others.items() if worker is None and not worker_lock.held(folder, id)]
    return [*(worker.id for worker in workers if queue.liveness(worker) is Life.GONE), *unknown]


def write_report(folder: str, report: RecoveryReport) -> str:
    """Write `recovered_jobs_<timestamp>.json` and return its path. Raises Unusable, OSError."""
    stamp = clock.text(clock.now()).replace(":", "").replace("-", "").replace(".", "_")
    name = f"recovered_jobs_{stamp}.json"
    document: dict[str, Any] = {"at": clock.text(clock.now()), **msgspec.structs.asdict(report)}
    with open(open_log_file(folder, name, os.O_TRUNC), "wb") as file:
        file.write(msgspec.json.format(encode(document)) + b"\n")
    return f"{folder}/{name}"


def take_lock(queue: Queue, id: str) -> WorkerLock | None:
    """The lock of a dead worker; None if it lives, is being recovered elsewhere, or needs no recovery."""
    folder = queue.home.workers
    try:
        return worker_lock.try_lock(folder, id)
    except NoLockFile:
        pass
    with queue.engine.snapshot() as view:
        worker = view.worker(id)
        if (worker is None or not worker.live) and not view.jobs_of(id):
            return None
    try:
        return worker_lock.take(folder, id)  # the file was removed, or the folder replaced
    except FileExistsError:
        return None


def _ending(lease: Lease, outcome: Outcome | None) -> Ending:
    return Release(lease, "its worker died before it started") if outcome is None else Report(lease, outcome)


def _lost(error: str) -> Outcome:
    return Outcome(cause="lost", error=error)


def _described(left: Survivors) -> str:
    if left.pids:
        return f"process {', '.join(map(str, left.pids))} can't be ended"
    return "its output file is still locked by a process that can't be found"

"""What becomes of a dead worker's jobs (R11, R18, R19, R21).

The kernel tells at once who is dead: a worker's lock file whose lock is free. Recovery takes that lock and keeps it
during its whole pass. It never lets a job run again while anything of its last attempt is found: it ends all of that,
looks until nothing is left, and only then appends. A claim that never started is given back and uses up nothing.
"""

import os
import random
import signal
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from projections.jobs import Job
from projections.workers import Worker
from queuectl import clock, decisions
from queuectl.clock import monotonic
from queuectl.decisions import Lease, Outcome
from queuectl.engines.view import Write
from queuectl.errors import Fenced, Outdated, QueueError
from queuectl.events import Event, WorkerLost, encode
from queuectl.host import pidfd, procfs
from queuectl.host.oom import PERHAPS
from queuectl.liveness import Life
from queuectl.queue import Queue
from queuectl.workers.execution import traces
from queuectl.workers.journal import opened
from queuectl.workers.recovery import attempt_table, worker_lock
from queuectl.workers.recovery.termination import GRACE, Hunt, Left, Strays
from queuectl.workers.recovery.worker_lock import Gone, WorkerLock
from queuectl.workers.turn import asked, tag

PAUSE = 1.0
"""Seconds to wait when the database or the folder of outputs can't be used, before the next try."""


_CHANGED = "the queue's folder is not the one in which it ran, but was removed or replaced meanwhile, or is a copy"
_FOUND = "what it ran was found and ended"


class Recovered(msgspec.Struct, frozen=True):
    """What one recovery did about one job."""

    job: str
    attempt: int
    worker: str
    outcome: str
    """completed, failed, cancelled, interrupted or released: what became of the attempt."""
    then: str
    """The state of the job now."""
    error: str | None = None


class Report(msgspec.Struct):
    """What a recovery found and did."""

    workers: list[str] = []
    jobs: list[Recovered] = []
    left: list[str] = []
    """What could not be ended, one line each; these jobs stay as they are."""


class Pass:
    """The recovery of one dead worker, step by step for a loop that must not wait: call `tick` at `next_tick`."""

    def __init__(
        self,
        queue: Queue,
        held: WorkerLock,
        actor: str,
        *,
        patience: float | None = None,
        known: Mapping[tuple[int, int], Outcome] | None = None,
        died: str = "died",
        strays: Strays = tuple,
        grace: float = GRACE,
    ) -> None:
        """`held` is the dead worker's lock, which is let go when the pass is over.

        `patience` is how many seconds a tick may wait for others who write; None: for ever. `known` is what
        `outcomes` tells, where somebody knows more than stands in the worker's roster, `died` how the worker did, and
        `strays` gives what of its commands had no trace and has fallen to us: for its parent. `grace` is how many
        seconds there are between TERM and KILL.
        """
        self.next_tick = 0.0
        """When to go on, in monotonic seconds."""
        self.failing = False
        """Whether the last tick could not use the database or the folder of outputs."""
        self.report = Report(workers=[], jobs=[], left=[])
        self._queue = queue
        self._lock = held
        self._actor = actor
        self._patience = patience
        self._known = outcomes(held.path) if known is None else known
        self._died = attempt_table.condemned(held.path) or died
        self._stop = attempt_table.stopped(held.path)
        self._started = {(entry.job, entry.lease) for entry in attempt_table.read(held.path)}
        self._strays = strays
        self._grace = grace
        self._id = held.worker
        self._verdicts: dict[Lease, Outcome | None] | None = None
        """What is known of each attempt and not yet written, None: it never started. None altogether until the first
        tick."""
        self._hunts: list[tuple[Lease, Outcome | None, Hunt]] = []
        """What must be looked for, and the outcome of the attempt once nothing of it is found any more."""

    def tick(self, now: float) -> bool:
        """Go on; True when the pass is over. `now` is monotonic seconds.

        Where the database or the folder of outputs can't be used just now, it tries again a second later. Raises
        Outdated where a newer queuectl has been at the database.
        """
        self.failing = False
        try:
            return self._go_on(now)
        except Outdated:
            raise
        except (QueueError, OSError) as error:
            self.report.left = [f"worker {self._id}: {error}"]
            self.next_tick = now + PAUSE
            self.failing = True
            return False

    def _go_on(self, now: float) -> bool:
        if self._verdicts is None:
            self._verdicts = self._begin()
        for lease, outcome, hunt in list(self._hunts):
            if now >= hunt.next_tick and hunt.tick(now):
                hunt.close()
                self._hunts.remove((lease, outcome, hunt))
                self._verdicts[lease] = outcome
        # What one attempt leaves, and is slow to end, must not keep the other jobs waiting.
        if self._verdicts or not self._hunts:
            self._append(self._verdicts)
            self._verdicts.clear()
        self.report.left = [f"job {lease.job}: {_described(hunt.left)}" for lease, _, hunt in self._hunts]
        if self._hunts:
            self.next_tick = min(hunt.next_tick for _, _, hunt in self._hunts)
            return False
        self._lock.close()
        return True

    @property
    def stuck(self) -> int:
        """How many attempts can't be ended."""
        return sum(hunt.stuck for _, _, hunt in self._hunts)

    def abandon(self) -> None:
        """Stop in the middle; somebody else will recover this worker."""
        for _, _, hunt in self._hunts:
            hunt.close()
        self._lock.close(keep=True)

    def _begin(self) -> dict[Lease, Outcome | None]:
        with self._queue.engine.snapshot() as view:
            worker, jobs = view.worker(self._id), view.held(self._id)
            if worker is not None and worker.state == "stopping":
                self._stop = asked(view, self._id) or self._stop
        verdicts: dict[Lease, Outcome | None] = {}
        hunts: list[tuple[Lease, Outcome | None, Hunt]] = []
        for job in jobs:
            lease = decisions.lease(job)
            outcome, hunt = self._judged(job, lease, worker)
            if hunt is not None:
                hunts.append((lease, outcome, hunt))
            else:
                verdicts[lease] = outcome
        self._hunts = hunts
        return verdicts

    def _judged(self, job: Job, lease: Lease, worker: Worker | None) -> tuple[Outcome | None, Hunt | None]:
        """What has become of one attempt, None where it never started; and what must be ended before that is said."""
        here = self._queue.home.identity()
        identity = worker.identity if worker is not None else here
        if worker is not None and worker.boot_id != procfs.boot_id():
            # Nothing of it lives here, and a missing file proves nothing.
            return decisions.explained(_lost(_elsewhere(worker)), self._stop), None
        path, mark = self._queue.home.output_of(identity, job.id, lease.version), tag(identity, job.id, lease.version)
        if identity != here:
            # The folder was replaced under the worker; or this queue is a copy, and what has the tag is the other's.
            hunt = Hunt(path, mark, strays=self._strays, grace=self._grace, database=self._queue.url)
            return self._ended(job, lease, _CHANGED), hunt
        hunt = Hunt(path, mark, strays=self._strays, grace=self._grace)
        try:
            # Whoever makes the path decides whether the attempt may start (R11): a folder is as exclusive as a file.
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not os.path.isdir(path):
                return self._ended(job, lease, _FOUND), hunt
        # The file may have been removed while the command ran. Twice: it may fork while we look.
        if (job.seq, lease.version) in self._started or any(traces.by_tag(mark) for _ in range(2)):
            return self._ended(job, lease, _FOUND), hunt
        return None, hunt if any(True for _ in self._strays()) else None

    def _ended(self, job: Job, lease: Lease, what: str) -> Outcome:
        """The outcome of an attempt that was started."""
        known = self._known.get((job.seq, lease.version), _lost(f"its worker {self._died}; {what}"))
        if known.signal == signal.SIGKILL:
            known = msgspec.structs.replace(known, error=f"{PERHAPS}; its worker {self._died}")
        return decisions.explained(known, self._stop)

    def _append(self, verdicts: dict[Lease, Outcome | None]) -> None:
        with self._queue.engine.transaction(self._patience) as tx:
            writes: list[Write] = []
            told: list[tuple[Lease, str]] = []
            for lease, outcome in verdicts.items():
                job = tx.job(lease.job)
                try:
                    if job is None:
                        raise Fenced(f"job {lease.job} is gone")
                    if outcome is None:
                        events: list[Event] = decisions.release(job, lease, "its worker died before it started")
                    else:
                        events = decisions.report(job, lease, outcome, tx.now, random.random())
                except Fenced:
                    continue  # decided by somebody else meanwhile
                writes.append(Write(f"job:{lease.job}", job, events))
                told.append((lease, events[0].type))
            worker = tx.worker(self._id)
            if worker is not None and worker.live and not self._hunts:
                lost = WorkerLost(reason=f"process {worker.pid} {self._died}")
                writes.append(Write(f"worker:{self._id}", worker, [lost]))
                self.report.workers = [self._id]
            after = {change.record.subject: change.after for change in tx.append(writes, self._actor)}
            tx.forget_secrets(lease.job for lease, type in told if type == "completed")
        self.report.jobs += [
            Recovered(lease.job, lease.attempt, self._id, outcome, after[lease.job].state, after[lease.job].error)
            for lease, outcome in told
        ]


def recover(queue: Queue, *, patience: float = 30.0, courtesy: float = 0.0, silent: Iterable[str] = ()) -> Report:
    """One pass over all dead workers; what can't be ended within `patience` seconds is told and left.

    `silent` are workers that can't be seen from here and were judged by their silence.

    `courtesy` is how many seconds are left to the parents of those that have died just now, which alone know how the
    commands ended.

    Writes `logs/recovered_jobs_<timestamp>.json` where it found any.
    """
    whole = Report(workers=[], jobs=[], left=[])
    deadline = monotonic() + patience
    me = os.urandom(4).hex()
    dead = list(dict.fromkeys([*gone(queue), *silent]))
    if dead and courtesy:
        pidfd.wait([], courtesy)
    for id in dead:
        held = taken(queue, id)
        if held is None:
            continue
        one = Pass(queue, held, f"recovery:{me}")
        while not one.tick(now := monotonic()):
            if now >= deadline:
                one.abandon()
                break
            pidfd.wait([], max(0.001, min(one.next_tick, deadline) - now))
        whole.workers += one.report.workers
        whole.jobs += one.report.jobs
        whole.left += one.report.left
    if whole.jobs or whole.workers:
        write_report(queue.logs, whole)
    return whole


def outcomes(path: str, reaped: Mapping[int, int] | None = None) -> dict[tuple[int, int], Outcome]:
    """How those commands ended that a dead worker had not reported, by job (its seq) and lease.

    `path` is its lock file; `reaped` are the wait statuses, by pid, of what it had not reaped itself.
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


def gone(queue: Queue) -> list[str]:
    """The workers that left something behind and whose processes are gone: live in the log, holding a job however that
    came to be, or with a lock file. Raises OSError where the folder can't be read."""
    folder = queue.home.workers
    worker_lock.sweep(folder)
    files = worker_lock.ids(folder)  # first: who begins has a lock before it is in the log
    with queue.engine.snapshot() as view:
        known = {worker.id: worker for worker in view.workers()}
        others = {id: view.worker(id) for id in dict.fromkeys([*view.holders(), *files]) if id not in known}
    workers = [*known.values(), *(worker for worker in others.values() if worker is not None)]
    strangers = [id for id, worker in others.items() if worker is None and not worker_lock.held(folder, id)]
    return [*(worker.id for worker in workers if queue.liveness(worker) is Life.GONE), *strangers]


def write_report(folder: str, report: Report) -> str:
    """Write `recovered_jobs_<timestamp>.json` and return its path. Raises Unusable, OSError."""
    stamp = clock.text(clock.now()).replace(":", "").replace("-", "").replace(".", "_")
    name = f"recovered_jobs_{stamp}.json"
    document: dict[str, Any] = {"at": clock.text(clock.now()), **msgspec.structs.asdict(report)}
    with open(opened(folder, name, os.O_TRUNC), "wb") as file:
        file.write(msgspec.json.format(encode(document)) + b"\n")
    return f"{folder}/{name}"


def taken(queue: Queue, id: str) -> WorkerLock | None:
    """The dead worker's lock; None where it lives, or somebody else recovers it, or has."""
    folder = queue.home.workers
    try:
        return worker_lock.try_lock(folder, id)
    except Gone:
        pass
    with queue.engine.snapshot() as view:
        worker = view.worker(id)
        if (worker is None or not worker.live) and not view.held(id):
            return None
    try:
        return worker_lock.take(folder, id)  # its file was removed, or is another folder's: ours stands in for it
    except FileExistsError:
        return None


def _elsewhere(worker: Worker) -> str:
    """Why nothing is left of a worker that ran under another run of the kernel."""
    if worker.machine_id == procfs.machine_id():
        return "its worker ended when the machine went down"
    return f"its worker ran on another machine ({worker.host})"


def _lost(error: str) -> Outcome:
    return Outcome(cause="lost", error=error)


def _described(left: Left) -> str:
    if left.pids:
        return f"process {', '.join(map(str, left.pids))} can't be ended"
    return "its output file is still locked by a process that can't be found"

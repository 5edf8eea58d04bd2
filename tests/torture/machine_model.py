"""What a queue should be after each command, said a second time: plain objects, no events, no SQL, nothing of ours.

`machine.py` drives this and the real engine side by side. What the model expects of the log is only which events were
added to which streams, transaction by transaction.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

SECOND = 1_000_000
FINAL = ("completed", "dead", "cancelled")
WAITING = ("pending", "failed")


@dataclass
class Policy:
    """What a job was told when it was enqueued, with the settings of that moment filled in."""

    queue: str
    priority: int
    run_at: int
    max_retries: int
    base: float
    cap: float
    jitter: float
    on_lost: str
    stop_signal: str
    no_retry_codes: tuple[int, ...] = ()
    secrets: tuple[str, ...] = ()


@dataclass
class Attempt:
    number: int
    worker: str
    lease: int
    outcome: str | None = None
    cause: str | None = None


@dataclass
class Job:
    id: str
    seq: int
    policy: Policy
    run_at: int
    latest: int
    """`run_at` lies between these two: jitter is not foretold. Once it was seen, they are equal."""
    secrets: tuple[str, ...]
    state: str = "pending"
    version: int = 1
    attempt: int = 0
    failures: int = 0
    interruptions: int = 0
    worker: str | None = None
    lease: int | None = None
    cancel: bool = False
    asked: str | None = None
    """The signal that the cancel names."""
    exit_code: int | None = None
    signal: int | None = None
    cause: str | None = None
    values: dict[str, str] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)

    def row(self) -> tuple[object, ...]:
        """As the jobs table should have it."""
        return (
            self.id, self.seq, self.version, self.state, self.policy.queue, self.policy.priority, self.run_at,
            ",".join(self.secrets) or None, self.attempt, self.failures, self.worker, self.lease, int(self.cancel),
            self.asked if self.cancel else None, self.exit_code, self.signal, self.cause,
        )  # fmt: skip


@dataclass
class Worker:
    id: str
    queues: tuple[str, ...]
    boot: str
    state: str = "running"
    stop_now: bool = False
    version: int = 1

    @property
    def live(self) -> bool:
        return self.state in ("running", "stopping")


@dataclass(frozen=True)
class Held:
    """A lease, as somebody remembers it."""

    job: str
    attempt: int
    version: int


@dataclass(frozen=True)
class Ended:
    """What somebody says of an attempt."""

    cause: str | None
    exit_code: int | None = None
    signal: int | None = None


class Model:
    """A queue in memory."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.head = 0
        self.at = 0
        self.jobs: dict[str, Job] = {}
        self.gone: set[str] = set()
        self.workers: dict[str, Worker] = {}
        self.config: dict[str, str] = {}
        self.config_version = 0
        self.number = 0
        self.transactions: list[tuple[int, list[tuple[str, int, str]]]] = []
        """What was added since it was last looked at: the moment of each transaction and its (stream, version, type).
        """
        self._open: list[tuple[str, int, str]] = []

    # -- transactions ------------------------------------------------------------------------------------------------

    def commit(self) -> None:
        """The events since the last commit were one transaction (none, where there were none)."""
        if self._open:
            self.at = max(self.now, self.at + 1)
            self.transactions.append((self.at, self._open))
            self._open = []

    def _event(self, job: Job, *types: str) -> None:
        for type in types:
            job.version += 1
            self.head += 1
            self._open.append((f"job:{job.id}", job.version, type))

    def _worker_event(self, worker: Worker, type: str) -> None:
        self.head += 1
        self._open.append((f"worker:{worker.id}", worker.version, type))

    # -- users -------------------------------------------------------------------------------------------------------

    def setting(self, key: str, default: str) -> str:
        return self.config.get(key, default)

    def enqueue(self, id: str | None, policy: Policy, values: dict[str, str]) -> str:
        if id is None:
            self.number += 1
            id = str(self.number)
        self.head += 1
        self.jobs[id] = Job(
            id, self.head, policy, policy.run_at, policy.run_at, policy.secrets, values=dict(values)
        )  # fmt: skip
        self._open.append((f"job:{id}", 1, "enqueued"))
        return id

    def taken(self, id: str) -> bool:
        return id in self.jobs or id in self.gone

    def refusal(self, verb: str, ids: Iterable[str], env: Collection[str] | None = None) -> str | None:
        """The error that this command is answered with, None where it is carried out."""
        for id in ids:
            job = self.jobs.get(id)
            if job is None:
                return "NotFound"
            if verb == "cancel":
                if job.state in ("completed", "cancelled"):
                    return "Refused"
            elif job.state not in FINAL or (verb == "retry" and self.lacks(job, env)):
                return "Refused"
        return None

    def lacks(self, job: Job, env: Collection[str] | None) -> bool:
        """Whether secret values would have to be given anew: a completed job has none, others may have been lost."""
        kept = () if job.state == "completed" else job.values
        return not {*job.secrets} <= {*kept, *(env or ())}

    def cancel(self, id: str, signal: str | None) -> None:
        job = self.jobs[id]
        if job.state != "processing":
            job.state = "cancelled"
            self._event(job, "cancelled")
        elif not job.cancel or (signal is not None and signal != self.stop_signal(job)):
            job.asked = signal or (job.asked if job.cancel else None)
            job.cancel = True
            self._event(job, "cancel_requested")

    @staticmethod
    def stop_signal(job: Job) -> str:
        """By what a job that is being cancelled is asked to end."""
        return job.asked or job.policy.stop_signal

    def retry(self, id: str, env: dict[str, str] | None) -> None:
        job = self.jobs[id]
        if env is not None:
            kept = () if job.state == "completed" else job.secrets
            job.secrets = tuple(sorted({*kept, *env}))
            job.values.update(env)
        job.state, job.failures, job.interruptions = "pending", 0, 0
        job.exit_code = job.signal = job.cause = None
        job.run_at = job.latest = self.now
        self._event(job, "requeued")

    def purge(self, id: str) -> None:
        self._event(self.jobs[id], "purged")
        del self.jobs[id]
        self.gone.add(id)

    def set_config(self, key: str, value: str | None) -> None:
        if value is None:
            self.config.pop(key, None)
        else:
            self.config[key] = value
        self.config_version += 1
        self.head += 1
        self._open.append(("config", self.config_version, "config_set"))

    def stop_worker(self, id: str, now: bool) -> None:
        worker = self.workers[id]
        if worker.state == "running" or (now and not worker.stop_now):
            worker.state, worker.stop_now = "stopping", worker.stop_now or now
            worker.version += 1
            self._worker_event(worker, "stop_requested")

    # -- workers -----------------------------------------------------------------------------------------------------

    def start_worker(self, id: str, queues: tuple[str, ...], boot: str) -> None:
        self.workers[id] = Worker(id, queues, boot)
        self._worker_event(self.workers[id], "worker_started")

    def end_worker(self, id: str, state: str) -> None:
        """It stopped or was lost; nothing is said where that was said before, or it never said that it was up."""
        worker = self.workers.get(id)
        if worker is not None and worker.live:
            worker.state = state
            worker.version += 1
            self._worker_event(worker, f"worker_{state}")

    def heartbeat(self, id: str) -> None:
        worker = self.workers[id]
        worker.version += 1
        self._worker_event(worker, "heartbeat")

    def held(self, worker: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.worker == worker]

    def holds(self, lease: Held) -> Job | None:
        """The job, where it is held under exactly this lease."""
        job = self.jobs.get(lease.job)
        if job is None or job.state != "processing" or (job.attempt, job.lease) != (lease.attempt, lease.version):
            return None
        return job

    def waiting(self, queues: Sequence[str]) -> list[Job]:
        return [j for j in self.jobs.values() if j.state in WAITING and (not queues or j.policy.queue in queues)]

    def ready(self, queues: Sequence[str], limit: int) -> list[Job]:
        due = [job for job in self.waiting(queues) if job.run_at <= self.now]
        return sorted(due, key=lambda job: (-job.policy.priority, job.run_at, job.seq))[:limit]

    def claim(self, job: Job, worker: str) -> bool:
        """Whether it may be started: a job whose secret values are gone is buried instead."""
        job.attempt += 1
        job.state, job.worker = "processing", worker
        self._event(job, "claimed")
        job.lease = job.version
        job.attempts.append(Attempt(job.attempt, worker, job.version))
        return not set(job.secrets) - set(job.values)

    def bury(self, job: Job) -> None:
        """Its secret values are not there."""
        self._end(job, "failed", Ended("spawn"))
        job.failures += 1
        job.state = "dead"
        self._event(job, "failed", "dead")

    def report(self, lease: Held, ended: Ended) -> str | None:
        """The state of the job now, or None where the report is refused."""
        job = self.holds(lease)
        if job is None:
            return None
        if ended.cause is None:
            self._end(job, "completed", ended)
            job.state = "completed"
            job.values.clear()
            self._event(job, "completed")
        elif job.cancel:
            cause = job.cause
            self._end(job, "cancelled", ended)
            job.state, job.cause, job.attempts[-1].cause = "cancelled", cause, None
            self._event(job, "cancelled")
        else:
            cause = "signal" if ended.cause == "cancel" else ended.cause
            self._end(job, "failed", Ended(cause, ended.exit_code, ended.signal))
            job.failures += 1
            final = cause == "exit" and ended.exit_code in job.policy.no_retry_codes
            lost = cause == "lost" and job.policy.on_lost == "dead"
            dead = final or lost or job.failures > job.policy.max_retries
            job.state = "dead" if dead else "failed"
            self._event(job, "failed", "dead" if dead else "retried")
            if not dead:
                self._back_off(job)
        return job.state

    def interrupt(self, lease: Held) -> str | None:
        """As `report`, of an attempt that was lost with a worker that had been told to stop."""
        job = self.holds(lease)
        if job is None or job.cancel or job.interruptions == 9:
            return self.report(lease, Ended("lost" if job is None or job.cancel else "interrupted"))
        job.attempts[-1].outcome = "interrupted"
        job.interruptions += 1
        job.worker = job.lease = None
        job.state = "failed" if job.failures else "pending"
        self._event(job, "interrupted")
        return job.state

    def release(self, lease: Held) -> str | None:
        """As `report`, of an attempt that never started."""
        job = self.holds(lease)
        if job is None:
            return None
        job.attempts[-1].outcome = "released"
        job.attempt -= 1
        job.worker = job.lease = None
        job.state = "failed" if job.failures else "pending"
        self._event(job, "released")
        if job.cancel:
            job.state, job.cancel = "cancelled", False
            self._event(job, "cancelled")
        return job.state

    def _end(self, job: Job, outcome: str, ended: Ended) -> None:
        last = job.attempts[-1]
        last.outcome, last.cause = outcome, ended.cause
        job.exit_code, job.signal, job.cause = ended.exit_code, ended.signal, ended.cause
        job.worker = job.lease = None
        job.cancel = False
        job.interruptions = 0

    def _back_off(self, job: Job) -> None:
        policy = job.policy
        plain = min(policy.base**job.failures, policy.cap)
        low, high = plain * (1 - policy.jitter), min(plain * (1 + policy.jitter), policy.cap)
        job.run_at, job.latest = self.now + round(low * SECOND), self.now + round(high * SECOND)

    # -- what can be read --------------------------------------------------------------------------------------------

    def counts(self) -> dict[tuple[str, str], int]:
        found: dict[tuple[str, str], int] = {}
        for job in self.jobs.values():
            key = (job.policy.queue, job.state)
            found[key] = found.get(key, 0) + 1
        return found

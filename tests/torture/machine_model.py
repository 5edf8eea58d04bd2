"""What a queue should be after each command, said a second time: plain objects, no events, no SQL, nothing of ours.

`machine.py` drives this and the real engine side by side. What the model expects of the log is only which events were
added to which streams, transaction by transaction.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence

from tests.torture.machine_admission import Admission, at_rest, much
from tests.torture.machine_flow_model import FlowModel
from tests.torture.machine_subjects import FINAL, WAITING, Attempt, Ended, Held, Job, Policy, Worker

SECOND = 1_000_000


class Model(FlowModel):
    """A queue in memory."""

    def __init__(self, now: int) -> None:
        super().__init__(now)
        self.gone: set[str] = set()
        """The ids of jobs that were purged or archived."""
        self.purged: dict[str, tuple[int, int]] = {}
        """Of those that were purged only: the version of that event, and its moment."""
        self.seals = 0
        self.config: dict[str, str] = {}
        self.config_version = 0
        self.number = 0

    # -- users -------------------------------------------------------------------------------------------------------

    def setting(self, key: str, default: str) -> str:
        return self.config.get(key, default)

    def enqueue(self, id: str | None, policy: Policy, values: dict[str, str], *, held: bool = False) -> str:
        if id is None:
            self.number += 1
            id = str(self.number)
        self.add(f"job:{id}", 1, "enqueued")
        self.jobs[id] = Job(
            id, self.head, policy, policy.run_at, policy.run_at, policy.secrets, held=held, values=dict(values)
        )  # fmt: skip
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
            job.state, job.held, job.forced = "cancelled", False, False
            self.event(job, "cancelled")
        elif not job.cancel or (signal is not None and signal != self.stop_signal(job)):
            job.asked = signal or (job.asked if job.cancel else None)
            job.cancel = True
            self.event(job, "cancel_requested")

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
        job.state, job.failures, job.interruptions, job.postponed = "pending", 0, 0, 0
        job.exit_code = job.signal = job.cause = None
        job.run_at = job.latest = self.now
        self.event(job, "requeued")

    def purge(self, id: str) -> None:
        job = self.jobs.pop(id)
        self.event(job, "purged")
        self.gone.add(id)
        self.purged[id] = job.version, self.stamp

    def set_config(self, key: str, value: str | None) -> None:
        if value is None:
            self.config.pop(key, None)
        else:
            self.config[key] = value
        self.config_version += 1
        self.add("config", self.config_version, "config_set")

    def stop_worker(self, id: str, now: bool) -> None:
        worker = self.workers[id]
        if worker.state == "running" or (now and not worker.stop_now):
            worker.state, worker.stop_now = "stopping", worker.stop_now or now
            worker.version += 1
            self.add(f"worker:{worker.id}", worker.version, "stop_requested")

    def archive(self, before: int) -> list[str]:
        """The streams that leave the log: of jobs that had ended by then, purged ones, and workers without attempts.

        What still counts for the rate of its queue stays.
        """
        ahead = {job for queue in self.queues.values() for job, arrival in queue.starts if arrival > self.now}
        versions = {
            id: job.version for id, job in self.jobs.items() if job.state in FINAL and job.finished_at <= before
        } | {id: version for id, (version, at) in self.purged.items() if at <= before}
        jobs = {id: version for id, version in versions.items() if id not in ahead}
        busy = {each.worker for id, job in self.jobs.items() if id not in jobs for each in job.attempts}
        ended = (each for each in self.workers.values() if not each.live and each.ended_at <= before)
        workers = {each.id: each.version for each in ended if each.id not in busy}
        if not jobs and not workers:
            return []
        if self.unsealed:
            self.seals += 1
            self.add("audit", self.seals, "sealed")
        gone = {f"job:{id}": version for id, version in jobs.items()}
        gone |= {f"worker:{id}": version for id, version in workers.items()}
        for stream, version in gone.items():
            self.add(stream, version + 1, "archived")
        for queue in self.queues.values():
            queue.starts = [start for start in queue.starts if start[0] not in jobs]
        self.jobs = {id: job for id, job in self.jobs.items() if id not in jobs}
        self.purged = {id: purge for id, purge in self.purged.items() if id not in jobs}
        self.workers = {id: worker for id, worker in self.workers.items() if id not in workers}
        self.gone |= jobs.keys()
        return [*gone]

    # -- workers -----------------------------------------------------------------------------------------------------

    def start_worker(self, worker: Worker) -> None:
        self.workers[worker.id] = worker
        self.add(f"worker:{worker.id}", 1, "worker_started")

    def end_worker(self, id: str, state: str) -> None:
        """It stopped or was lost; nothing is said where that was said before, or it never said that it was up."""
        worker = self.workers.get(id)
        if worker is not None and worker.live:
            worker.state, worker.ended_at = state, self.stamp
            worker.version += 1
            self.add(f"worker:{worker.id}", worker.version, f"worker_{state}")

    def heartbeat(self, id: str) -> None:
        """Of a worker that lives: who was declared lost says nothing more of itself."""
        worker = self.workers.get(id)
        if worker is not None and worker.live:
            worker.version += 1
            self.add(f"worker:{id}", worker.version, "heartbeat")

    def held(self, worker: str) -> list[Job]:
        return [job for job in self.jobs.values() if job.worker == worker]

    @staticmethod
    def lease(job: Job) -> Held:
        """By what its worker holds it."""
        assert job.lease is not None
        return Held(job.id, job.attempt, job.lease)

    def holds(self, lease: Held) -> Job | None:
        """The job, where it is held under exactly this lease."""
        job = self.jobs.get(lease.job)
        if job is None or job.state != "processing" or (job.attempt, job.lease) != (lease.attempt, lease.version):
            return None
        return job

    def waiting(self, queues: Sequence[str]) -> list[Job]:
        """The jobs that wait, held ones aside."""
        served = [job for job in self.jobs.values() if not queues or job.queue in queues]
        return [job for job in served if job.state in WAITING and not job.held]

    def admission(self, now: int) -> Admission:
        """Whom a claim finds at that moment, were all else as it is."""
        return Admission(self.jobs.values(), [*self.workers.values()], self.queues, self.resources, now)

    def claim(self, worker: Worker, want: int, free: int) -> tuple[list[Job], int]:
        """What a worker claims, of that it may start, and how many slots all of it takes.

        A job whose secret values are gone is buried instead.
        """
        admission = self.admission(self.now)
        found = admission.select(worker, want, free)
        for job, granted in found:
            job.attempt += 1
            job.state, job.worker, job.held, job.granted = "processing", worker.id, False, granted
            self.event(job, "claimed")
            job.lease = job.version
            charged = arrival = 0
            if job.id in admission.starts:
                queue, arrival = admission.starts[job.id]
                charged = self.queues[queue].charge(arrival)
                self.queues[queue].starts.append((job.id, arrival))
            job.attempts.append(Attempt(job.attempt, worker.id, job.version, self.stamp, charged, arrival))
        lost = [job for job, _ in found if set(job.secrets) - set(job.values)]
        for job in lost:
            self._bury(job)
        self.pause_for(lost)
        return [job for job, _ in found if job not in lost], sum(job.policy.slots for job, _ in found)

    def next_start(self, worker: Worker, want: int, free: int) -> int | None:
        """When a worker with so much room finds a job, if only time passes; None: never."""
        moments = sorted({*(job.run_at for job in self.waiting(worker.queues)), *self.openings()})
        later = (moment for moment in moments if moment > self.now)
        return next((each for each in later if self.admission(each).select(worker, want, free)), None)

    def next_due(self, queues: Sequence[str]) -> int | None:
        """When to look for work, where no job needs more than a slot: one is due in an open queue, or one opens."""
        admission = self.admission(self.now)
        waiting = [job for job in self.waiting(queues) if admission.is_queue_open(job.queue)]
        return min([*(job.run_at for job in waiting), *self.openings()], default=None)

    def _bury(self, job: Job) -> None:
        """Its secret values are not there."""
        self._end(job, "failed", Ended("spawn"))
        job.failures += 1
        job.state = "dead"
        self.event(job, "failed", "dead")

    def report(self, lease: Held, ended: Ended) -> str | None:
        """The state of the job now, or None where the report is refused."""
        job = self.holds(lease)
        if job is None:
            return None
        if ended.cause is None:
            self._end(job, "completed", ended)
            job.state = "completed"
            job.values.clear()
            self.event(job, "completed")
        elif job.cancel:
            cause = job.cause
            self._end(job, "cancelled", ended)
            job.state, job.cause, job.attempts[-1].cause = "cancelled", cause, None
            self.event(job, "cancelled")
        else:
            cause = "signal" if ended.cause == "cancel" else ended.cause
            self._end(job, "failed", Ended(cause, ended.exit_code, ended.signal))
            job.failures += 1
            final = cause == "exit" and ended.exit_code in job.policy.no_retry_codes
            lost = cause == "lost" and job.policy.on_lost == "dead"
            dead = final or lost or job.failures > job.policy.max_retries
            job.state = "dead" if dead else "failed"
            self.event(job, "failed", "dead" if dead else "retried")
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
        job.postponed = 0
        job.forced = False
        self._let_go(job)
        job.state = "failed" if job.failures else "pending"
        self.event(job, "interrupted")
        return job.state

    def release(self, lease: Held, vain: bool = False) -> str | None:
        """As `report`, of an attempt that never started; `vain`: it could not, and would not a moment later."""
        job = self.holds(lease)
        if job is None:
            return None
        job.attempts[-1].outcome = "released"
        job.attempt -= 1
        self._let_go(job)
        self._refund(job, job.attempts[-1])
        job.state = "failed" if job.failures else "pending"
        if vain and not job.forced and not job.cancel:
            job.run_at = job.latest = self.now + min(10 * 2**job.postponed, 60) * SECOND
            job.postponed += 1
        self.event(job, "released")
        if job.cancel:
            job.state, job.cancel, job.forced = "cancelled", False, False
            self.event(job, "cancelled")
        return job.state

    def _end(self, job: Job, outcome: str, ended: Ended) -> None:
        last = job.attempts[-1]
        last.outcome, last.cause = outcome, ended.cause
        job.exit_code, job.signal, job.cause = ended.exit_code, ended.signal, ended.cause
        job.cancel = job.forced = False
        job.interruptions = job.postponed = 0
        self._let_go(job)

    @staticmethod
    def _let_go(job: Job) -> None:
        job.worker = job.lease = None
        job.suspended = job.by_pause = False
        job.granted = {}

    def _refund(self, job: Job, claim: Attempt) -> None:
        """A start that did not come to be does not count, unless another may have started in its place."""
        queue = self.queue(job.queue)
        if not claim.charged or queue.rate is None or queue.arrival is None:
            return
        if self.now - claim.claimed_at < queue.rate.interval and self.now < claim.arrival:
            queue.starts.append((job.id, queue.arrival - claim.charged))

    def _back_off(self, job: Job) -> None:
        policy = job.policy
        plain = min(policy.base**job.failures, policy.cap)
        low, high = plain * (1 - policy.jitter), min(plain * (1 + policy.jitter), policy.cap)
        job.run_at, job.latest = self.now + round(low * SECOND), self.now + round(high * SECOND)

    # -- what can be read --------------------------------------------------------------------------------------------

    def counts(self) -> dict[tuple[str, str, int], int]:
        return Counter((job.queue, job.state, int(job.held)) for job in self.jobs.values())

    def flow(self) -> dict[str, list[tuple[object, ...]]]:
        """The rows that the tables of flow control should have."""
        processing = [job for job in self.jobs.values() if job.state == "processing"]
        return {
            "queues": [queue.row() for queue in self.queues.values()],
            "starts": [(queue.name, *start) for queue in self.queues.values() for start in queue.starts],
            "resources": [(each.name, each.version, each.capacity, each.indices) for each in self.resources.values()],
            "grants": [
                (name, job.id, much(given), ",".join(map(str, given)) or None if isinstance(given, tuple) else None)
                for job in processing
                for name, given in job.granted.items()
            ],
        }

    def at_rest(self, queues: Sequence[str]) -> bool:
        """Whether nothing will happen in these queues without a person, but for what users delayed."""
        return at_rest(self.jobs.values(), queues, self.workers.values(), self.queues, self.supply, self.now)

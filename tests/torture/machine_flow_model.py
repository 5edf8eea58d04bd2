"""The first half of the model of `machine.py`: its log, and what people control of queues, resources and jobs."""

from collections.abc import Iterable

from tests.torture.machine_admission import Admission, Supply
from tests.torture.machine_subjects import FINAL, WAITING, Job, Queue, Rate, Resource, Worker


class FlowModel:
    """Queues with pauses and limits, resources, and jobs that are held, forced or suspended, in memory."""

    def __init__(self, now: int) -> None:
        self.now = now
        self.head = 0
        self.at = 0
        self.jobs: dict[str, Job] = {}
        self.workers: dict[str, Worker] = {}
        self.queues: dict[str, Queue] = {}
        """Those of which anything was said; under an empty name what was said of all."""
        self.resources: dict[str, Resource] = {}
        self.transactions: list[tuple[int, list[tuple[str, int, str]]]] = []
        """What was added since it was last looked at: the moment of each transaction and its (stream, version, type).
        """
        self.unsealed = False
        """Whether anything has happened since the last seal."""
        self._open: list[tuple[str, int, str]] = []

    # -- transactions ------------------------------------------------------------------------------------------------

    @property
    def stamp(self) -> int:
        """The moment of the events of this transaction."""
        return max(self.now, self.at + 1)

    def commit(self) -> None:
        """The events since the last commit were one transaction (none, where there were none)."""
        if self._open:
            self.at = self.stamp
            self.transactions.append((self.at, self._open))
            self._open = []

    def add(self, stream: str, version: int, type: str) -> None:
        self.head += 1
        self.unsealed = stream != "audit"
        self._open.append((stream, version, type))

    def event(self, job: Job, *types: str) -> None:
        for type in types:
            job.version += 1
            self.add(f"job:{job.id}", job.version, type)
            if type in FINAL:
                job.finished_at = self.stamp

    def queue_event(self, queue: Queue, type: str) -> None:
        queue.version += 1
        self.queues[queue.name] = queue
        self.add(f"queue:{queue.name}" if queue.name else "queues", queue.version, type)

    # -- queues ------------------------------------------------------------------------------------------------------

    def queue(self, name: str) -> Queue:
        """The queue; one of which nothing was said is not kept until something is."""
        return self.queues.get(name) or Queue(name)

    def gates(self, job: Job) -> list[Queue]:
        """What was said of its queue, and of all."""
        return [self.queue(name) for name in (job.queue, "")]

    def pause(self, name: str, until: int | None, suspends: bool) -> None:
        self._pause(self.queue(name), until, suspends)
        self._settle_pauses(name)

    def _pause(self, queue: Queue, until: int | None, suspends: bool, job: str | None = None) -> None:
        queue.paused, queue.until, queue.suspends, queue.paused_for = True, until, suspends, job
        self.queue_event(queue, "queue_paused")

    def may_resume(self, name: str) -> bool:
        return self.queue(name).is_paused(self.now) or not name or not self.queue("").is_paused(self.now)

    def resume(self, name: str) -> bool:
        """Whether it was paused."""
        queue = self.queue(name)
        if not queue.is_paused(self.now):
            return False
        queue.paused, queue.until, queue.suspends, queue.paused_for = False, None, False, None
        self.queue_event(queue, "queue_resumed")
        self._settle_pauses(name)
        return True

    def _settle_pauses(self, name: str) -> None:
        """What runs there stands still, or goes on."""
        for job in self.jobs.values():
            if job.state == "processing" and name in ("", job.queue):
                if self.queue(name).suspends_at(self.now) and not job.cancel:
                    if not job.suspended:
                        job.suspended = job.by_pause = True
                        self.event(job, "suspended")
                else:
                    self.end_pause(job)

    def end_pause(self, job: Job) -> None:
        """A job goes on that a pause has suspended, unless one still does."""
        if job.by_pause and not any(queue.suspends_at(self.now) for queue in self.gates(job)):
            self.proceed(job.id)

    def pause_for(self, died: Iterable[Job]) -> None:
        """Queues that want it so are paused when a job of theirs dies, each once."""
        asked: set[str] = set()
        for job in died:
            queue = self.queue(job.queue)
            shut = queue.paused and queue.until is None
            if queue.pause_on_failure and not shut and queue.name not in asked:
                asked.add(queue.name)
                self._pause(queue, None, False, job.id)

    def limit(self, name: str, concurrency: int | None, rate: Rate | None, pause_on_failure: bool) -> None:
        """These are its limits, all of them."""
        queue = self.queue(name)
        wanted = (concurrency, rate, pause_on_failure)
        if wanted != (queue.concurrency, queue.rate, queue.pause_on_failure):
            queue.concurrency, queue.rate, queue.pause_on_failure = wanted
            self.queue_event(queue, "queue_limited")

    def openings(self) -> list[int]:
        """The moments at which queues open by themselves: a pause ends, or a rate lets the next job start."""
        found = [queue.until for queue in self.queues.values() if queue.is_paused(self.now)]
        now = Admission([], [], self.queues, {}, self.now)
        found += [now.opens(queue) for queue in self.queues.values()]
        return [moment for moment in found if moment is not None and moment > self.now]

    # -- resources ---------------------------------------------------------------------------------------------------

    def set_resource(self, name: str, capacity: int | None, indices: str | None = None) -> None:
        """There is so much of it; None: nobody says so any more."""
        resource = self.resources.get(name) or Resource(name)
        if (resource.capacity, resource.indices) != (capacity, indices):
            resource.capacity, resource.indices = capacity, indices
            resource.version += 1
            self.resources[name] = resource
            self.add(f"resource:{name}", resource.version, "resource_set" if capacity is not None else "resource_unset")

    @property
    def supply(self) -> Supply:
        """What there is now, and who has it."""
        holders = [job for job in self.jobs.values() if job.state == "processing"]
        return Supply(self.resources, self.workers.values(), holders)

    # -- jobs --------------------------------------------------------------------------------------------------------

    def refuses_control(self, verb: str, ids: Iterable[str]) -> str | None:
        """The error that this command is answered with, None where it is carried out."""
        fit = {
            "hold": WAITING,
            "unhold": (*WAITING, "processing"),
            "force": WAITING,
            "suspend": ("processing",),
            "proceed": ("processing",),
        }[verb]
        for id in ids:
            job = self.jobs.get(id)
            if job is None:
                return "NotFound"
            if job.state not in fit or (verb == "suspend" and job.cancel):
                return "Refused"
        return None

    def hold(self, id: str) -> None:
        job = self.jobs[id]
        if not job.held or job.forced:
            job.held, job.forced = True, False
            self.event(job, "held")

    def unhold(self, id: str) -> None:
        job = self.jobs[id]
        if job.held:
            job.held = False
            self.event(job, "unheld")

    def force(self, id: str) -> None:
        job = self.jobs[id]
        if not job.forced:
            job.forced = True
            self.event(job, "forced")

    def suspend(self, id: str) -> None:
        job = self.jobs[id]
        if not job.suspended or job.by_pause:
            job.suspended, job.by_pause = True, False
            self.event(job, "suspended")

    def proceed(self, id: str) -> None:
        job = self.jobs[id]
        if job.suspended:
            job.suspended = job.by_pause = False
            self.event(job, "continued")

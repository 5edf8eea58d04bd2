"""What may start, said a second time for the model of `machine.py`: job after job in the order of claims, by hand."""

from collections.abc import Iterable, Mapping, Sequence

from tests.torture.machine_subjects import FINAL, WAITING, Granted, Job, Queue, Resource, Worker

KEPT = 600_000_000
"""Microseconds for which a job must have been due before anything is kept for it."""


class Supply:
    """What there is of resources, and who has what. All workers have one home."""

    def __init__(self, resources: Mapping[str, Resource], workers: Iterable[Worker], holders: Iterable[Job]) -> None:
        self._set = {each.name: each for each in resources.values() if each.capacity is not None}
        self._offers = [worker.offers for worker in workers if worker.live]
        self._granted = [job.granted for job in holders]

    def pieces(self, name: str) -> tuple[int, ...] | None:
        """The numbers of the pieces that there are; None where they have none."""
        if offered := [each[name] for each in self._offers if name in each]:
            numbers = {number for each in offered if isinstance(each, str) for number in spelled(each)}
            return tuple(sorted(numbers)) or None
        found = self._set.get(name)
        return spelled(found.indices) if found is not None and found.indices is not None else None

    def capacity(self, name: str) -> int:
        """How much there is where jobs start."""
        if (pieces := self.pieces(name)) is not None:
            return len(pieces)
        if offered := [much for each in self._offers if isinstance(much := each.get(name), int)]:
            return max(offered)
        found = self._set.get(name)
        return found.capacity or 0 if found is not None else 1

    def most(self, name: str) -> int:
        """How much exists anywhere: what was said of the whole queue counts, though workers offer their own."""
        found = self._set.get(name)
        return max(self.capacity(name), found.capacity or 0 if found is not None else 0)

    def free_pieces(self, name: str) -> list[int]:
        taken = {number for each in self._granted if isinstance(had := each.get(name), tuple) for number in had}
        return [number for number in self.pieces(name) or () if number not in taken]

    def free(self, name: str) -> int:
        used = sum(much(each[name]) for each in self._granted if name in each)
        left = max(0, self.capacity(name) - used)
        return left if self.pieces(name) is None else min(left, len(self.free_pieces(name)))

    def exists(self, needs: Mapping[str, int]) -> bool:
        return all(need <= self.most(name) for name, need in needs.items())

    def has(self, job: Job, besides: Mapping[str, int] = {}) -> bool:
        return all(need <= self.free(name) - besides.get(name, 0) for name, need in job.policy.needs.items())

    def take(self, job: Job) -> dict[str, Granted]:
        """What a job is granted: of pieces those with the lowest numbers."""
        granted = {
            name: need if self.pieces(name) is None else (*self.free_pieces(name)[:need],)
            for name, need in job.policy.needs.items()
        }
        self._granted.append(granted)
        return granted


class Admission:
    """A claim of one worker: whom it finds, at one moment."""

    def __init__(
        self,
        jobs: Iterable[Job],
        workers: Sequence[Worker],
        queues: Mapping[str, Queue],
        resources: Mapping[str, Resource],
        now: int,
    ) -> None:
        self._now = now
        self._queues = queues
        self._workers = [worker for worker in workers if worker.live]
        jobs = [*jobs]
        self._due = sorted((job for job in jobs if is_due(job, now)), key=lambda job: job.order)
        self._processing = [job.queue for job in jobs if job.state == "processing"]
        self._arrivals = {name: queue.arrival for name, queue in queues.items()}
        self.supply = Supply(resources, workers, [job for job in jobs if job.state == "processing"])
        self.starts: dict[str, tuple[str, int]] = {}
        """By job that starts in a queue with a rate: that queue, and when its next start would be due then."""
        self.kept = False
        """Whether the free slots of the worker are kept for a job that needs more of them."""

    def select(self, me: Worker, want: int, free: int) -> list[tuple[Job, dict[str, Granted]]]:
        """The jobs that a worker claims which wants so many slots filled, `free` of them at once, best first."""
        found: list[tuple[Job, dict[str, Granted]]] = []
        slots = 0
        passed: set[str] = set()
        for job in self._due:
            if slots >= want:
                break
            if job.queue not in (me.queues or (job.queue,)) or not self.is_open(job):
                continue
            if {f"queue {job.queue}", f"demand {job.policy.demand}"} & passed:
                continue
            if job.policy.slots > free:
                # Ahead of a free slot nothing is claimed for which others wait: neither this one, nor what is like it.
                # Slots are kept for the first that is like it, or for none.
                if job.policy.slots == 1 and self._is_limited(job.queue):
                    passed |= {f"queue {job.queue}"} if not job.forced else set()
                    continue
                if job.policy.demand:
                    passed.add(f"demand {job.policy.demand}")
                    if job.policy.slots > 1 and not self.kept and self._may_have(job):
                        rank = [worker.id for worker in self._workers if worker.serves(job)][: self._waits(job)]
                        self.kept = me.id in rank
                        free = 0 if self.kept else free
                    continue
                if self.kept:
                    continue
            if self._may_have(job):
                found.append((job, self.supply.take(job)))
                slots += job.policy.slots
                free -= job.policy.slots
                self._start(job)
        return found

    def is_open(self, job: Job) -> bool:
        """Whether pauses and limits let it start."""
        return job.forced or self.is_queue_open(job.queue)

    def is_queue_open(self, name: str) -> bool:
        return not self._shut(name)

    def _shut(self, name: str) -> set[str]:
        """What shuts a queue: any of paused, concurrency and rate."""
        queue, everything = (self._queues.get(each) or Queue(each) for each in (name, ""))
        found: set[str] = set()
        if queue.is_paused(self._now) or everything.is_paused(self._now):
            found.add("paused")
        if queue.concurrency is not None and self._processing.count(name) >= queue.concurrency:
            found.add("concurrency")
        if self.opens(queue) > self._now:
            found.add("rate")
        return found

    def reasons(self, job: Job) -> set[str]:
        """The kinds of reasons why a waiting job does not start, as far as those are a matter of the job."""
        found = self._shut(job.queue) if not job.forced else set[str]()
        if not job.forced:
            found |= {"held"} if job.held else set()
            late = "postponed" if job.postponed else "delayed" if job.state == "pending" else "backoff"
            found |= {late} if job.run_at > self._now else set()
        if not self.supply.has(job):
            found.add("resource")
        elif not self._may_have(job):
            found.add("reserved")
        return found

    def opens(self, queue: Queue) -> int:
        """When its rate lets the next job start."""
        if queue.rate is None or (due := self._arrival(queue)) is None:
            return self._now
        return due - (queue.rate.burst - 1) * queue.rate.interval

    def _arrival(self, queue: Queue) -> int | None:
        arrival, rate = self._arrivals.get(queue.name), queue.rate
        if arrival is None or rate is None:
            return None
        return min(arrival, self._now + rate.burst * rate.interval)

    def _is_limited(self, name: str) -> bool:
        return name in self._queues and self._queues[name].limited

    def _start(self, job: Job) -> None:
        self._due = [each for each in self._due if each is not job]
        self._processing.append(job.queue)
        queue = self._queues.get(job.queue)
        if queue is not None and queue.rate is not None:
            arrival = max(self._now, self._arrival(queue) or self._now) + queue.rate.interval
            self._arrivals[job.queue] = arrival
            self.starts[job.id] = job.queue, arrival

    def _waits(self, job: Job) -> int:
        """For how many spans it has been due after each of which one more worker keeps slots for it."""
        return max(0, (self._now - job.run_at) // KEPT)

    def _may_have(self, job: Job) -> bool:
        """Whether it gets what it needs of resources."""
        return self.supply.has(job) and self.supply.has(job, self._kept_from(job))

    def _kept_from(self, other: Job) -> dict[str, int]:
        """What is kept of resources for jobs before this one: for the first of each, where it was due for long."""
        kept: dict[str, int] = {}
        met: set[str] = set()
        for job in self._due:
            if job.order >= other.order:
                break
            served = any(worker.serves(job) for worker in self._workers)
            if not job.policy.needs or not served or not self.is_open(job) or self.supply.has(job, kept):
                continue
            if self.supply.exists(job.policy.needs):
                for name, need in job.policy.needs.items():
                    if name not in met and self._waits(job):
                        kept[name] = need
                met.update(job.policy.needs)
        return kept


def is_due(job: Job, now: int) -> bool:
    """Whether a job waits for nothing but its start, as far as it is its own matter."""
    return job.state in WAITING and (job.forced or (not job.held and job.run_at <= now))


def at_rest(
    jobs: Iterable[Job],
    served: Sequence[str],
    workers: Iterable[Worker],
    queues: Mapping[str, Queue],
    supply: Supply,
    now: int,
) -> bool:
    """Whether nothing happens in these queues (none named: in all) without a person, but for what users delayed."""
    widest = max((worker.slots for worker in workers if worker.live), default=None)
    shut = {name for name, queue in queues.items() if queue.paused and queue.until is None}
    for job in jobs:
        if job.state in FINAL or (served and job.queue not in served):
            continue
        never = any(need > supply.capacity(name) for name, need in job.policy.needs.items()) or (
            widest is not None and job.policy.slots > widest
        )
        waits = job.state in WAITING
        if waits and (never or (not job.forced and (job.held or {"", job.queue} & shut))):
            continue
        if job.state in ("processing", "failed") or job.forced or job.postponed or job.run_at <= now:
            return False
    return True


def much(granted: Granted) -> int:
    """How much that is."""
    return granted if isinstance(granted, int) else len(granted)


def spelled(text: str) -> tuple[int, ...]:
    """The numbers of `0-3,7`."""
    found: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        found += range(int(low), int(high or low) + 1)
    return tuple(found)

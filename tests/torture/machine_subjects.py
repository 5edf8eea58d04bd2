"""What the model of `machine.py` is about: jobs, workers, queues and resources as plain objects, nothing of ours."""

from dataclasses import dataclass, field

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
    needs: dict[str, int] = field(default_factory=dict)
    slots: int = 1

    @property
    def demand(self) -> str:
        """What it needs beside one slot, as the jobs table should have it."""
        needs = [f"{name}={much}" for name, much in sorted(self.needs.items())]
        return " ".join([*needs, f"slots={self.slots}"] if self.slots > 1 else needs)


@dataclass
class Attempt:
    number: int
    worker: str
    lease: int
    claimed_at: int
    charged: int
    """By how much (µs) it has moved the theoretical arrival time of its queue's rate."""
    arrival: int
    """To when."""
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
    postponed: int = 0
    """How many times in a row it could not be started."""
    worker: str | None = None
    lease: int | None = None
    cancel: bool = False
    asked: str | None = None
    """The signal that the cancel names."""
    exit_code: int | None = None
    signal: int | None = None
    cause: str | None = None
    finished_at: int = 0
    """The moment of its latest end."""
    held: bool = False
    forced: bool = False
    suspended: bool = False
    by_pause: bool = False
    """Whether a pause has suspended it."""
    granted: dict[str, "Granted"] = field(default_factory=dict)
    values: dict[str, str] = field(default_factory=dict)
    attempts: list[Attempt] = field(default_factory=list)

    @property
    def queue(self) -> str:
        return self.policy.queue

    @property
    def order(self) -> tuple[bool, int, int, int]:
        """Who comes first is claimed first."""
        if self.forced:
            return (False, 0, 0, self.seq)
        return (True, -self.policy.priority, self.run_at, self.seq)

    def row(self) -> tuple[object, ...]:
        """As the jobs table should have it."""
        return (
            self.id, self.seq, self.version, self.state, self.policy.queue, self.policy.priority, self.run_at,
            ",".join(self.secrets) or None, self.attempt, self.failures, self.worker, self.lease, int(self.cancel),
            self.asked if self.cancel else None, self.exit_code, self.signal, self.cause, self.policy.demand,
            int(self.held), int(self.forced), int(self.suspended), int(self.by_pause),
        )  # fmt: skip


@dataclass
class Worker:
    id: str
    queues: tuple[str, ...]
    boot: str
    slots: int
    offers: dict[str, int | str]
    """What it has of resources: how much, or the numbers of the pieces as `0-3`."""
    state: str = "running"
    stop_now: bool = False
    version: int = 1
    ended_at: int = 0

    @property
    def live(self) -> bool:
        return self.state in ("running", "stopping")

    def serves(self, job: Job) -> bool:
        return self.state == "running" and self.slots >= job.policy.slots and job.queue in (self.queues or (job.queue,))


@dataclass(frozen=True)
class Rate:
    """So many starts in so many seconds, `burst` of them at once."""

    starts: int
    seconds: float
    burst: int = 1

    @property
    def interval(self) -> int:
        """Microseconds."""
        return round(self.seconds * 1_000_000 / self.starts)


@dataclass
class Queue:
    """What was said of a queue; of all of them, where its name is empty."""

    name: str
    version: int = 0
    concurrency: int | None = None
    rate: Rate | None = None
    pause_on_failure: bool = False
    paused: bool = False
    until: int | None = None
    suspends: bool = False
    paused_for: str | None = None
    """The job whose death has paused it."""
    starts: list[tuple[str, int]] = field(default_factory=list)
    """Who has started, and when the next start would be due then if all were evenly spaced."""

    @property
    def arrival(self) -> int | None:
        return self.starts[-1][1] if self.starts else None

    def charge(self, arrival: int) -> int:
        """How much of an interval a start adds by which the next is due then: less where it was forced too early."""
        assert self.rate is not None
        before = self.arrival
        return self.rate.interval if before is None else min(self.rate.interval, max(0, arrival - before))

    @property
    def limited(self) -> bool:
        return self.concurrency is not None or self.rate is not None

    def is_paused(self, now: int) -> bool:
        return self.paused and (self.until is None or now < self.until)

    def suspends_at(self, now: int) -> bool:
        return self.suspends and self.is_paused(now)

    def row(self) -> tuple[object, ...]:
        """As the queues table should have it."""
        rate = (self.rate.starts, self.rate.seconds, self.rate.burst) if self.rate else (None, None, None)
        return (
            self.name, self.version, self.concurrency, *rate, int(self.pause_on_failure), int(self.paused), self.until,
            self.paused_for, int(self.suspends),
        )  # fmt: skip


@dataclass
class Resource:
    """What was said of a resource."""

    name: str
    version: int = 0
    capacity: int | None = None
    """None: nobody says so any more."""
    indices: str | None = None


Granted = int | tuple[int, ...]
"""How much of a resource, or the numbers of the pieces."""


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

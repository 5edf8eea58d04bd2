"""The options with which a supervisor and its workers are started, handed over as JSON by a pipe or a file: an outbox
may be named with a password, and command lines can be read by every user."""

import msgspec

from queuectl.host_limits import UNLIMITED, HostLimits

READY = b"ready\n"
"""What a supervisor writes once its workers have been spawned."""

WORKER_SETTINGS = (
    "output_limit", "output_policy", "disk_floor", "plain_commands", "synchronous", "seal_every", "keep",
    "keep_dead", "lease",
)  # fmt: skip
"""The settings that workers use: none is spawned where one of these can't be read."""


class WorkerOptions(msgspec.Struct, frozen=True, tag="worker"):
    """The options of one worker process."""

    url: str
    worker: str
    """The worker's id; the supervisor fills it in."""
    slots: int = 1
    """How many commands may run at once."""
    queues: list[str] = []
    """The queues to serve; empty: all."""
    drain: bool = False
    """Stop once nothing is left that will run by itself."""
    seconds: float | None = None
    """Stop after so many seconds."""
    resources: dict[str, int | str] = {}
    """What it offers of the resources of its host: how much, or the numbers of the pieces as `0-3`."""
    limits: HostLimits = UNLIMITED
    """Those of the host past which it claims nothing."""
    only: list[str] = []
    """The ids of the only jobs to run; the worker stops after the last of them. Empty: any job."""
    helps: bool = False
    """Run what a `wait` inside a job waits for, until that stops the worker."""
    outboxes: list[str] = []
    """The URLs of the outboxes whose rows are moved into the log; there may be passwords in them."""
    logs: str | None = None
    """The folder for `worker.jsonl`; None: the queue's own."""
    database: tuple[int, int] | None = None
    """Device and inode that the database must have; None: any."""
    orders: int | None = None
    """The descriptor from which orders are read; its end is an order to stop as well."""

    @property
    def is_private(self) -> bool:
        """Whether the worker serves one command that waits for it; its supervisor writes no messages then."""
        return bool(self.only) or self.helps


class SupervisorOptions(msgspec.Struct, frozen=True, tag="supervisor"):
    """The options of a supervisor."""

    worker: WorkerOptions
    """The options of each worker, without those that differ from one to the next."""
    count: int
    """How many workers to run."""
    ready: int | None = None
    """A descriptor to which `READY` is written once the workers have been spawned."""
    leash: int | None = None
    """A descriptor whose end counts as the first signal to stop."""
    stop_timeout: float | None = None
    """Seconds after the first signal to stop in which what runs may finish; None: as long as it takes."""


class RetentionOptions(msgspec.Struct, frozen=True, tag="retention"):
    """The options of a process that archives what has been kept for long enough."""

    url: str
    worker: str
    """The id of the worker that has started it."""
    logs: str | None
    """As of `WorkerOptions`."""

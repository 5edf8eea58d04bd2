"""The events of the streams of queues: `queue:NAME`, and `queues` for all of them at once."""

from typing import ClassVar

from queuectl.events.payload import Payload
from queuectl.rate import Rate


class QueuePaused(Payload, frozen=True, kw_only=True):
    """No job of the queue is claimed any more."""

    type: ClassVar[str] = "queue_paused"
    wakes_workers: ClassVar[bool] = True
    until: str | None = None
    """The moment at which that ends by itself."""
    cause: str | None = None
    """`failure`: a job of a queue that pauses on failure has died; None: somebody asked for it."""
    job: str | None = None
    """The id of that job."""
    suspend: bool = False
    """Whether what runs was suspended as well (`suspended` in the streams of these jobs)."""
    reason: str | None = None


class QueueResumed(Payload, frozen=True, kw_only=True):
    """Jobs of the queue are claimed again."""

    type: ClassVar[str] = "queue_resumed"
    wakes_workers: ClassVar[bool] = True
    reason: str | None = None


class QueueLimited(Payload, frozen=True, kw_only=True):
    """The limits of the queue are these from now on, all of them; None: there is no such limit."""

    type: ClassVar[str] = "queue_limited"
    wakes_workers: ClassVar[bool] = True
    concurrency: int | None = None
    """How many of its jobs are processing at most, over all workers."""
    rate: Rate | None = None
    """How often its jobs start at most, over all workers; retries count."""
    pause_on_failure: bool = False
    """Whether the queue is paused when one of its jobs dies."""
    reason: str | None = None

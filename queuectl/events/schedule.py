"""The events of the stream of a schedule, `schedule:NAME`. A job that it enqueues says so in its `trigger`."""

from typing import ClassVar

from queuectl.events.job import Enqueued
from queuectl.events.payload import Payload


class ScheduleTerms(Payload, frozen=True, kw_only=True):
    """When a schedule enqueues a job, and which. There is either `cron` or `every`."""

    wakes_workers: ClassVar[bool] = True
    cron: str | None = None
    """A cron expression, and in `tz` the time zone of its clock."""
    tz: str | None = None
    every: int | None = None
    """Seconds from one moment to the next, and in `anchor` the first of all."""
    anchor: str | None = None
    catch_up: str = "last"
    """Which of the moments that passed while no worker was there are made up for: `none`, `last` or `all`."""
    window: float = 86400.0
    """Seconds: a moment that passed longer ago is not made up for."""
    overlap: str = "skip"
    """What becomes of a moment while an earlier job has not ended: `skip`; `queue`: its job waits for the end of those
    that run, and it is skipped where one waits; `allow`."""
    jitter: float = 0.0
    """Seconds by up to which a job is due later than its moment, at random."""
    until: str | None = None
    """The moment after which there is none any more."""
    pause_on_failure: bool = False
    """Whether the schedule is paused when one of its jobs dies."""
    job: Enqueued
    """The policy of its jobs, as it would have been for one that was enqueued then."""
    said: tuple[str, ...] = ()
    """The options of which anything was said. What was not said is, for each job, as the settings have it by then."""
    since: str | None = None
    """The moment after which these terms hold; None: they were changed, and moments come as before."""
    reason: str | None = None


class ScheduleAdded(ScheduleTerms, frozen=True, kw_only=True):
    """A schedule was added, or one of this name that had been removed."""

    type: ClassVar[str] = "schedule_added"


class ScheduleEdited(ScheduleTerms, frozen=True, kw_only=True):
    """Its terms are these from now on, all of them."""

    type: ClassVar[str] = "schedule_edited"


class SchedulePaused(Payload, frozen=True, kw_only=True):
    """It enqueues no jobs any more."""

    type: ClassVar[str] = "schedule_paused"
    cause: str | None = None
    """`failure`: a job of a schedule that pauses on failure has died; None: somebody asked for it."""
    job: str | None = None
    """The id of that job."""
    reason: str | None = None


class ScheduleResumed(Payload, frozen=True, kw_only=True):
    """It enqueues jobs again."""

    type: ClassVar[str] = "schedule_resumed"
    wakes_workers: ClassVar[bool] = True
    reason: str | None = None


class ScheduleRemoved(Payload, frozen=True, kw_only=True):
    """It is not there any more."""

    type: ClassVar[str] = "schedule_removed"
    reason: str | None = None


class ScheduleFired(Payload, frozen=True, kw_only=True):
    """It has enqueued a job, in the same transaction."""

    type: ClassVar[str] = "schedule_fired"
    moment: str
    """The moment for which."""
    job: str
    """The id of the job."""
    cause: str | None = None
    """`run` or `backfill`: somebody asked for it, and the moments go on as before; None: the moment had come."""


class ScheduleSkipped(Payload, frozen=True, kw_only=True):
    """Moments for which no job is enqueued."""

    type: ClassVar[str] = "schedule_skipped"
    first: str
    last: str
    count: int
    """How many moments there are from the first to the last, both included."""
    cause: str
    """Why: `overlap`, an earlier job has not ended; `paused`; `down`, no worker was there in time; `window`, it was too
    long ago; `exists`, there is a job of that moment already."""


class ScheduleRewound(Payload, frozen=True, kw_only=True):
    """The clock was set back: what comes after this moment comes again, but for what has a job already."""

    type: ClassVar[str] = "schedule_rewound"
    moment: str

"""What a schedule may be: its name, the ids of its jobs, its terms, and the moments that they mean."""

from typing import Protocol

from queuectl import bounds, recurrence, units
from queuectl.clock import SECOND, micros, second_text
from queuectl.errors import Invalid
from queuectl.events import ScheduleTerms
from queuectl.recurrence import Cron, Interval

CATCH_UP = ("none", "last", "all")
OVERLAP = ("skip", "queue", "allow")

NOT_SCHEDULED = (
    "id", "name", "at", "delay", "if_absent", "unique", "on_duplicate", "batch", "halt", "after", "after_any",
    "after_failure",
)  # fmt: skip
"""The options of a job that the jobs of a schedule can't have: their ids and moments are the schedule's, and what they
would be compared with, or wait for, is another each time."""


class Recurring(Protocol):
    """What tells when it recurs: the state of a schedule."""

    @property
    def cron(self) -> str | None:
        """A cron expression, in the time zone `tz`."""
        ...

    @property
    def tz(self) -> str | None:
        """See `cron`."""
        ...

    @property
    def every(self) -> int | None:
        """Seconds, counted from `anchor` (µs UTC)."""
        ...

    @property
    def anchor(self) -> int | None:
        """See `every`."""
        ...


def recurrence_of(terms: Recurring) -> Cron | Interval:
    """The moments that are meant. Raises Invalid where they can't be told here: a zone that is not known."""
    if terms.cron is not None:
        return recurrence.cron(terms.cron, terms.tz or "UTC")
    return Interval(terms.every or 1, terms.anchor or 0)


def job_id(schedule: str, moment: int) -> str:
    """The id of the job that a schedule enqueues for a moment (µs UTC): no other is enqueued for it."""
    return f"{schedule}@{second_text(moment)}"


def check_schedule(name: str) -> str:
    """The same name, if a schedule may have it. Raises Invalid."""
    bounds.check_name("schedule", name)
    if set(name) & set(" ,@"):
        raise Invalid(f"schedule: {name!r} has a space, a comma or '@' in it")
    if len(name.encode()) > 170:
        raise Invalid(f"schedule: is {len(name.encode())} bytes long; at most 170, since the ids of its jobs begin so")
    bounds.check_id(job_id(name, 0))
    return name


def check_terms(terms: ScheduleTerms) -> None:
    """Raise Invalid for terms that can't be, wherever their time zone is known."""
    if (terms.cron is None) == (terms.every is None):
        raise Invalid("a schedule has a cron expression, or an interval (every): give one of them")
    if terms.every is not None:
        _check_every(terms)
    else:
        if terms.anchor is not None:
            raise Invalid("anchor: is where intervals begin: a cron expression has none")
        recurrence.check_expression(terms.cron or "")
    for name, words in (("catch_up", CATCH_UP), ("overlap", OVERLAP)):
        if (word := getattr(terms, name)) not in words:
            raise Invalid(f"{name}: {word!r} is not one of {', '.join(words)}{units.nearest(str(word), words)}")
    for name in ("window", "jitter"):
        bounds.within(name, getattr(terms, name), 0, units.LONGEST)
    if 0 < terms.jitter < 1:
        raise Invalid(
            f"jitter: {terms.jitter:g} is not a second or more; that of retries stands in the JSON spec of the job"
        )
    if terms.catch_up == "all" and terms.overlap != "allow":
        raise Invalid(
            f"catch-up all with overlap {terms.overlap}: of the moments that passed all but one would be skipped; "
            "give overlap allow as well, or catch up the last"
        )
    for name in ("until", "anchor", "since"):
        if (moment := getattr(terms, name)) is not None and not 0 <= micros(moment) <= units.LATEST:
            raise Invalid(f"{name}: {moment!r} lies before 1970 or after the year 9000")
    if unfit := {*terms.said} & {*NOT_SCHEDULED}:
        raise Invalid(f"{min(unfit)}: a job of a schedule can't have that")


def _check_every(terms: ScheduleTerms) -> None:
    bounds.within("every", terms.every or 0, 1, int(units.LONGEST))
    if terms.tz is not None:
        raise Invalid("tz: is for cron expressions: an interval is the same everywhere")
    if terms.anchor is None or micros(terms.anchor) % SECOND:
        raise Invalid("anchor: is no whole second")

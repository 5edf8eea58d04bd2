"""The decisions on a schedule: which moments that have come are fired, which are skipped, and why (R37, R38)."""

from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

from projections.schedules import ScheduleState
from queuectl.clock import SECOND, text
from queuectl.errors import NotFound, Refused
from queuectl.events import (
    Event,
    ScheduleAdded,
    ScheduleEdited,
    ScheduleFired,
    SchedulePaused,
    ScheduleRemoved,
    ScheduleResumed,
    ScheduleRewound,
    ScheduleSkipped,
    ScheduleTerms,
)
from queuectl.recurrence import Recurrence
from queuectl.schedule_terms import job_id, recurrence_of

PUNCTUAL = 60 * SECOND
"""Microseconds after which a moment has passed, for a schedule that makes up for none."""
PAGE = 100
"""Jobs that are enqueued by one decision; the rest by further ones."""
SPAN = 366 * 86400 * SECOND
"""Microseconds within which moments are counted by one decision: for a cron expression that takes some 20 ms."""


LONGEST_SETTLED = 100 * SPAN
"""Microseconds of which one command skips the moments, for a clock that is thousands of years ahead; workers go on."""


class ScheduleFacts(Struct, frozen=True):
    """What decides beside the schedule itself."""

    unended: frozenset[str]
    """The states of its jobs that have not ended."""
    exists: Callable[[int], bool]
    """Whether there ever was the job of a moment (µs UTC)."""


def due(schedule: ScheduleState, facts: ScheduleFacts, now: int) -> list[Event]:
    """What becomes of the moments of a schedule that have come by `now`; none: nothing is to be done yet.

    There may be more to be done at once: no more is decided than a transaction can take.
    """
    if not schedule.is_active:
        return []
    recurrence = recurrence_of(schedule)
    if _is_ahead(schedule, recurrence, now):
        return [ScheduleRewound(moment=text(now))]
    end = _end(schedule, now)
    latest = recurrence.latest(schedule.position, end)
    if latest is None:
        return []
    if latest - schedule.position > SPAN and (far := _far(schedule, recurrence, now, latest)):
        return [*far]
    wanted = _wanted(schedule, recurrence, now, latest)
    first = wanted[0] if wanted else latest + 1
    return [*_passed(schedule, recurrence, schedule.position, first - 1, now), *_fired(schedule, facts, wanted)]


def next_look(schedule: ScheduleState, now: int) -> int | None:
    """When `due` may have something to decide next (µs UTC, not before `now`); None: never, as it is."""
    if not schedule.is_active:
        return None
    recurrence = recurrence_of(schedule)
    if _is_ahead(schedule, recurrence, now):
        return now
    found = recurrence.after(schedule.position)
    return max(found, now) if found is not None and found <= _end(schedule, found) else None


def upcoming(schedule: ScheduleState, now: int) -> Iterator[int]:
    """The moments (µs UTC) that come after `now`, as if it were not paused."""
    recurrence = recurrence_of(schedule)
    moment: int | None = now
    while (moment := recurrence.after(moment)) is not None and moment <= _end(schedule, moment):
        yield moment


def add(schedule: ScheduleState | None, terms: ScheduleAdded) -> list[Event]:
    """Add a schedule. Raises Refused where there is one of its name."""
    if schedule is not None and not schedule.removed:
        raise Refused(f"there is a schedule {schedule.name} already: `queuectl schedule edit`, or choose another name")
    return [terms]


def edit(schedule: ScheduleState, terms: ScheduleEdited) -> list[Event]:
    """Change the terms of a schedule; no events where they are what they were."""
    return [terms] if _key(_terms(schedule)) != _key(terms) else []


def pause(schedule: ScheduleState, reason: str | None = None, *, job: str | None = None) -> list[Event]:
    """Enqueue no more jobs. `job`: the one whose death is why. No events where it is paused."""
    if schedule.paused_at is not None:
        return []
    return [SchedulePaused(cause="failure" if job is not None else None, job=job, reason=reason)]


def resume(schedule: ScheduleState, now: int, reason: str | None = None) -> list[Event]:
    """Enqueue jobs again, of the moments after `now`; no events where it is not paused."""
    if schedule.paused_at is None:
        return []
    return [*settled(schedule, now, "paused"), ScheduleResumed(reason=reason)]


def remove(schedule: ScheduleState, now: int, reason: str | None = None) -> list[Event]:
    """Remove it. What it has enqueued stays."""
    cause = "paused" if schedule.paused_at is not None else "down"
    return [*settled(schedule, now, cause), ScheduleRemoved(reason=reason)]


def settled(schedule: ScheduleState, now: int, cause: str) -> Iterator[ScheduleSkipped]:
    """Skip all that has come by `now`."""
    recurrence, end = recurrence_of(schedule), _end(schedule, now)
    position = schedule.position
    end = min(end, position + LONGEST_SETTLED)
    while position < end:
        upto = min(end, position + SPAN)
        yield from _skipped(recurrence, position, upto, cause)
        position = upto


def there(schedule: ScheduleState | None, name: str) -> ScheduleState:
    """The schedule, if it is there. Raises NotFound."""
    if schedule is None or schedule.removed:
        raise NotFound(f"no schedule {name!r}; see `queuectl schedule list`")
    return schedule


def _is_ahead(schedule: ScheduleState, recurrence: Recurrence, now: int) -> bool:
    """Whether the clock was set back, by more than from one moment to the next."""
    if schedule.position <= now:
        return False
    following = recurrence.after(now)
    return following is not None and following < schedule.position and following <= _end(schedule, following)


def _end(schedule: ScheduleState, now: int) -> int:
    return min(now, schedule.until) if schedule.until is not None else now


def _far(schedule: ScheduleState, recurrence: Recurrence, now: int, latest: int) -> list[ScheduleSkipped]:
    """Where very many moments may have passed, the first of those that are skipped; none: they are not that many."""
    keeps = latest if schedule.catch_up != "all" else now - round(schedule.window * SECOND)
    upto = min(schedule.position + SPAN, keeps - 1)
    return _passed(schedule, recurrence, schedule.position, upto, now) if upto > schedule.position else []


def _wanted(schedule: ScheduleState, recurrence: Recurrence, now: int, latest: int) -> Sequence[int]:
    """The moments that are to be fired, no more than a page of them."""
    longest = PUNCTUAL if schedule.catch_up == "none" else max(PUNCTUAL, round(schedule.window * SECOND))
    if schedule.catch_up != "all":
        return [latest] if now - latest <= longest else []
    found: list[int] = []
    moment = recurrence.after(max(schedule.position, now - longest - 1))
    while moment is not None and moment <= latest and len(found) < PAGE:
        found.append(moment)
        moment = recurrence.after(moment)
    return found


def _passed(
    schedule: ScheduleState, recurrence: Recurrence, position: int, upto: int, now: int
) -> list[ScheduleSkipped]:
    """Skip the moments after `position`: those that are too long ago, and those when no worker was there."""
    edge = min(upto, now - round(schedule.window * SECOND) - 1) if schedule.catch_up != "none" else position
    edge = max(edge, position)
    return [*_skipped(recurrence, position, edge, "window"), *_skipped(recurrence, edge, upto, "down")]


def _fired(schedule: ScheduleState, facts: ScheduleFacts, moments: Sequence[int]) -> list[Event]:
    # Only where overlaps are allowed is there more than one moment: see `check_terms`.
    in_the_way = {"skip": facts.unended, "queue": facts.unended - {"processing"}}.get(schedule.overlap)
    events: list[Event] = []
    for moment in moments:
        if facts.exists(moment):
            cause = "exists"
        elif in_the_way:
            cause = "overlap"
        else:
            events.append(ScheduleFired(moment=text(moment), job=job_id(schedule.name, moment)))
            continue
        _skip(events, moment, cause)
    return events


def _skip(events: list[Event], moment: int, cause: str) -> None:
    """Add a moment that is skipped, to the event before it where that is of the same cause."""
    before = events[-1] if events else None
    if isinstance(before, ScheduleSkipped) and before.cause == cause:
        events[-1] = ScheduleSkipped(first=before.first, last=text(moment), count=before.count + 1, cause=cause)
    else:
        events.append(ScheduleSkipped(first=text(moment), last=text(moment), count=1, cause=cause))


def _skipped(recurrence: Recurrence, after: int, upto: int, cause: str) -> Iterator[ScheduleSkipped]:
    """The event that skips all moments later than one and no later than another."""
    last = recurrence.latest(after, upto)
    if last is not None and (first := recurrence.after(after)) is not None:
        count = recurrence.count(after, last)
        yield ScheduleSkipped(first=text(first), last=text(last), count=count, cause=cause)


def _terms(schedule: ScheduleState) -> ScheduleEdited:
    """The terms of a schedule as an event would state them."""
    return ScheduleEdited(
        cron=schedule.cron, tz=schedule.tz, every=schedule.every,
        anchor=text(schedule.anchor) if schedule.anchor is not None else None, catch_up=schedule.catch_up,
        window=schedule.window, overlap=schedule.overlap, jitter=schedule.jitter,
        until=text(schedule.until) if schedule.until is not None else None,
        pause_on_failure=schedule.pause_on_failure, job=schedule.job, said=schedule.said,
    )  # fmt: skip


def _key(terms: ScheduleTerms) -> tuple[object, ...]:
    """What of the terms makes a difference."""
    return tuple(getattr(terms, name) for name in terms.__struct_fields__ if name not in ("since", "reason"))

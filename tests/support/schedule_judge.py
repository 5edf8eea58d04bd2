"""A judge of schedules that reads the log alone: each moment is enqueued once, or told as skipped (R37, R38)."""

from collections import Counter
from collections.abc import Iterator

from queuectl import Queue
from queuectl.clock import micros
from queuectl.events import (
    Enqueued,
    Recorded,
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
from queuectl.recurrence import Interval, Recurrence, cron


class Told:
    """What the log tells of the moments that came while some terms held."""

    def __init__(self, terms: ScheduleTerms, since: int) -> None:
        self.moments: Recurrence = (
            cron(terms.cron, terms.tz or "")
            if terms.cron is not None
            else Interval(terms.every or 0, micros(terms.anchor or ""))
        )
        self.last = micros(terms.until) if terms.until is not None else None
        self.since = self.upto = since
        """Between these all is to be told."""
        self.fired: set[int] = set()
        self.skipped: list[tuple[int, int]] = []

    def faults(self) -> Iterator[str]:
        """What is missing."""
        upto = self.upto if self.last is None else min(self.upto, self.last)
        moment: int | None = self.since
        while (moment := self.moments.after(moment)) is not None and moment <= upto:
            if moment in self.fired:
                continue
            covering = [last for first, last in self.skipped if first <= moment <= last]
            if not covering:
                yield f"{moment} is neither fired nor skipped"
            else:
                moment = max(covering)  # all within: a range of a century need not be gone through


def fire(queue: Queue, name: str = "s") -> None:
    """Do what workers do, until there is nothing to do."""
    while queue.schedules.fire(name):
        pass


def faults(queue: Queue, name: str, now: int | None = None) -> list[str]:
    """What is wrong with the log of a schedule. `now` (µs UTC): all up to then is told, unless it is paused."""
    found: list[str] = []
    spans: list[Told] = []
    paused = removed = False
    fired: Counter[str] = Counter()
    for record in queue.events():
        if record.stream != f"schedule:{name}":
            continue
        event = record.event
        match event:
            case ScheduleAdded() | ScheduleEdited():
                if event.since is not None:
                    if isinstance(event, ScheduleEdited):  # what had come by then was settled
                        spans[-1].upto = max(spans[-1].upto, micros(event.since))
                    spans.append(Told(event, micros(event.since)))
                removed = False
            case ScheduleFired():
                fired[event.job] += 1
                found += _wrong_job(queue, name, record, event)
                if event.cause is None:
                    if micros(event.moment) <= spans[-1].upto:
                        found.append(f"event {record.seq}: that moment was told before")
                    spans[-1].fired.add(micros(event.moment))
                    spans[-1].upto = micros(event.moment)
            case ScheduleSkipped():
                first, last = micros(event.first), micros(event.last)
                if spans[-1].moments.count(first - 1, last) != event.count:
                    found.append(f"event {record.seq}: {event.count} is not how many moments there are")
                if first <= spans[-1].upto:
                    found.append(f"event {record.seq}: some of these moments were told before")
                spans[-1].skipped.append((first, last))
                spans[-1].upto = max(spans[-1].upto, last)
            case ScheduleRewound():
                spans.append(_again(spans[-1], micros(event.moment)))
            case SchedulePaused():
                paused = True
            case ScheduleResumed() | ScheduleRemoved():
                paused, removed = False, isinstance(event, ScheduleRemoved)
            case _:
                found.append(f"event {record.seq}: {record.type}")
    if now is not None and not paused and not removed:
        spans[-1].upto = max(spans[-1].upto, now)
    found += [f"job {job} is fired {times} times" for job, times in fired.items() if times > 1]
    found += [fault for span in spans for fault in span.faults()]
    return found + _untold(queue, name, fired)


def _again(span: Told, since: int) -> Told:
    """The same terms, of which moments come again after a clock was set back: what was fired before is done."""
    again = Told.__new__(Told)
    again.__dict__ |= span.__dict__ | {"since": since, "upto": since, "fired": set(), "skipped": []}
    return again


def _wrong_job(queue: Queue, name: str, record: Recorded, event: ScheduleFired) -> Iterator[str]:
    enqueued = next(queue.events(job=event.job, type="enqueued"), None)
    if enqueued is None:
        yield f"event {record.seq}: job {event.job} was not enqueued"
        return
    policy = enqueued.event
    assert isinstance(policy, Enqueued)
    trigger = policy.trigger
    if enqueued.at != record.at or trigger is None or (trigger.schedule, trigger.moment) != (name, event.moment):
        yield f"event {record.seq}: job {event.job} was not enqueued by it"


def _untold(queue: Queue, name: str, fired: Counter[str]) -> list[str]:
    """The jobs of a schedule that its own stream does not tell of."""
    enqueued = [record for record in queue.events(type="enqueued") if _of(record) == name]
    return [f"job {record.subject} was not fired" for record in enqueued if record.subject not in fired]


def _of(record: Recorded) -> str | None:
    event = record.event
    assert isinstance(event, Enqueued)
    return event.trigger.schedule if event.trigger is not None else None

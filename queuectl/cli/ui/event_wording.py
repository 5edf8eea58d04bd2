"""Events in words. Nothing here is escaped: `output` escapes what it prints."""

from collections.abc import Iterator, Mapping
from typing import Any

from projections.dependencies import DEPENDENCY_KINDS
from queuectl import amounts, clock, events, units
from queuectl.cli.ui.wording import (
    codes,
    end_cause,
    environment_size,
    grants,
    host_limits,
    local_time,
    percent,
    queue_limits,
    schedule_terms,
    steps,
    tags,
    trigger,
)

_PLAIN: Mapping[type, str] = {
    events.Dead: "went to the dead letter queue",
    events.Held: "held",
    events.Unheld: "released from hold",
    events.Forced: "to start next, past pause, hold, delay and limits",
    events.Continued: "continued",
    events.Purged: "purged",
}
"""What events of jobs say that carry nothing but a reason."""

_SKIPPED = {
    "overlap": "an earlier job has not ended",
    "paused": "it was paused",
    "down": "no worker was up in time",
    "window": "no worker was up, and that is too long ago",
    "exists": "there is a job already",
}
"""Why moments are skipped, by the cause."""
_RUN = ("command", "argv")
"""The fields of which one says what is run."""


def event_text(record: events.Recorded) -> str:
    """Return what an event says, with its reason."""
    event = record.event
    reason = getattr(event, "reason", None)
    return _description(record, event) + (f" — {reason}" if reason else "")


def _description(record: events.Recorded, event: events.Event) -> str:
    return _of_job(record, event) or _of_worker(event) or _of_schedule(record, event) or _of_others(record, event)


def _of_job(record: events.Recorded, event: events.Event) -> str:
    match event:
        case events.Enqueued():
            command = event.runnable.text
            late = (clock.micros(event.run_at) - record.at) / 1_000_000
            due = f", due {local_time(clock.micros(event.run_at), record.at)}" if late > 1 else ""
            after = f", blocked: waits for {event.watching}" if event.watching is not None else ""
            told = event.trigger is not None and event.trigger.is_callback
            kind = f" as a callback ({trigger(event.trigger)})" if told else ""
            return f"enqueued in {event.queue}{kind}{due}{after}: {command}"
        case events.Claimed():
            granted = f", with {grants(event.granted)}" if event.granted else ""
            return f"claimed: attempt {event.attempt}{granted}"
        case events.Completed():
            code = f": exit {event.exit_code}" if event.exit_code else ""
            return f"attempt {event.attempt} completed{_took(event)}{code}"
        case events.Failed():
            more = f": {event.error}" if event.error else ""
            return f"attempt {event.attempt} failed: {end_cause(event)}{_took(event)}{more}"
        case events.Retried():
            return (
                f"will be retried in {units.span(event.delay)}, at {local_time(clock.micros(event.run_at), record.at)}"
            )
        case events.Requeued():
            after = f", blocked: waits for {event.watching}" if event.watching is not None else ""
            return f"requeued, with its retry budget anew{after}"
        case events.Edited():
            return f"edited: {'; '.join(_changes(event.changes, record.at))}"
        case events.CancelRequested():
            return "asked to be cancelled" + (f", by {event.signal}" if event.signal else "") + _halted(event)
        case events.Cancelled() if event.because:
            return f"cancelled: {', '.join(event.because)} ended so that it never starts"
        case events.Cancelled():
            attempt = f" in attempt {event.attempt}{_took(event)}" if event.attempt is not None else ""
            return f"cancelled{attempt}{_halted(event)}"
        case events.Cascaded():
            return "all jobs that depend on it were looked at"
        case events.WaitingFor():
            return f"waits for {event.parent}"
        case events.Unblocked():
            return "unblocked" + (f": {event.because} has ended" if event.because is not None else "")
        case events.Released():
            return f"attempt {event.attempt} given back before it started{_due_again(event, record.at)}"
        case events.Interrupted():
            by = f": its worker was stopped by {event.by}" if event.by else ""
            return f"attempt {event.attempt} interrupted{_took(event)}{by}"
        case events.Suspended():
            return "suspended" + (" by a pause" if event.cause == "pause" else "")
        case events.Noted():
            return f"note: {event.text}"
        case _:
            return _PLAIN.get(type(event), "")


def _halted(event: events.CancelRequested | events.Cancelled) -> str:
    return ": its batch was halted" if event.cause == "halt" else ""


def _due_again(event: events.Released, at: int) -> str:
    return f", due again at {local_time(clock.micros(event.not_before), at)}" if event.not_before is not None else ""


def _of_worker(event: events.Event) -> str:
    match event:
        case events.WorkerStarted():
            queues = f", for {', '.join(event.queues)}" if event.queues else ""
            alone = ", for one job alone" if event.private else ""
            limits = f", limits: {found}" if (found := host_limits(event)) else ""
            slots = units.counted(event.slots, "slot")
            return f"worker started on {event.host}, pid {event.pid}, {slots}{queues}{alone}{limits}"
        case events.Heartbeat():
            held = ", ".join(f"{held.job} ({', '.join(_held(held))})" for held in event.attempts)
            return f"still running {held}" if held else "alive"
        case events.StopRequested():
            return "asked to stop" + (" now" if event.now else "")
        case events.WorkerStopped():
            return "worker stopped"
        case events.WorkerLost():
            return "worker lost"
        case _:
            return ""


def _held(held: events.HeldAttempt) -> Iterator[str]:
    """Yield what a heartbeat says of an attempt: its number, and more where there is more to say."""
    yield str(held.attempt)
    if held.suspended:
        yield "suspended"
    if held.progress is not None:
        yield percent(held.progress, held.progress_text)


def _of_schedule(record: events.Recorded, event: events.Event) -> str:
    name = f"schedule {record.subject}"
    match event:
        case events.ScheduleAdded():
            return f"{name} added: {schedule_terms(event)}: {event.job.runnable.text}"
        case events.ScheduleEdited():
            return f"{name} edited: {schedule_terms(event)}: {event.job.runnable.text}"
        case events.ScheduleFired():
            asked = {"run": ", asked for", "backfill": ", made up for"}.get(event.cause or "", "")
            return f"{name} fired for {local_time(clock.micros(event.moment), record.at)}{asked}: job {event.job}"
        case events.ScheduleSkipped():
            first, last = (local_time(clock.micros(moment), record.at) for moment in (event.first, event.last))
            span = f"{units.counted(event.count, 'moment')}, {first} to {last}" if event.count > 1 else first
            return f"{name} skipped {span}: {_SKIPPED.get(event.cause, event.cause)}"
        case events.ScheduleRewound():
            return f"{name} goes on from {local_time(clock.micros(event.moment), record.at)}: the clock was set back"
        case events.SchedulePaused():
            return f"{name} paused" + (f", since job {event.job} died" if event.job is not None else "")
        case events.ScheduleResumed():
            return f"{name} resumed"
        case events.ScheduleRemoved():
            return f"{name} removed"
        case _:
            return ""


def _of_others(record: events.Recorded, event: events.Event) -> str:
    match event:
        case events.Archived():
            return f"archived in {event.file}, {units.counted(event.events, 'event')}, {event.state}"
        case events.Sealed():
            return f"sealed {units.counted(event.events, 'event')} up to {event.upto}: {event.hash}"
        case events.QueuePaused():
            since = f", since job {event.job} died" if event.job is not None else ""
            until = f" until {local_time(clock.micros(event.until), record.at)}" if event.until is not None else ""
            more = ", what runs is suspended" if event.suspend else ""
            return f"{_queue(record)} paused{until}{since}{more}"
        case events.QueueResumed():
            return f"{_queue(record)} resumed"
        case events.QueueLimited():
            return f"{_queue(record)} limited: {queue_limits(event)}"
        case events.ResourceSet():
            which = f" ({event.indices})" if event.indices is not None else ""
            return f"resource {record.subject}: {amounts.text(event.capacity)}{which}"
        case events.ResourceUnset():
            return f"resource {record.subject}: unset"
        case events.BatchOpened():
            return f"batch {record.subject} opened" + (f", halts {event.halt}" if event.halt is not None else "")
        case events.BatchHalted():
            ends = ", ".join(f"{getattr(event, each):,} {each}" for each in ("completed", "dead", "cancelled"))
            return f"batch {record.subject} halted by {event.rule}: of {units.counted(event.total, 'job')} {ends}"
        case events.BatchReopened():
            return f"batch {record.subject} opened again"
        case events.Cascaded():
            return f"all that waited of batch {record.subject} is cancelled"
        case events.EnvironmentKept():
            return f"environment kept: {environment_size(event)}"
        case events.ConfigSet():
            return f"{event.key} set to {event.value}" if event.value is not None else f"{event.key} unset"
        case _:
            return ""


def _queue(record: events.Recorded) -> str:
    return f"queue {record.subject}" if record.subject else "all queues"


def _changes(changes: Mapping[str, tuple[Any, Any]], at: int) -> Iterator[str]:
    """Yield what was changed: each field with its old value and its new one."""
    if "command" in changes and "argv" in changes:  # one took the place of the other
        (was, new), (old_words, words) = changes["command"], changes["argv"]
        rest = {name: values for name, values in changes.items() if name not in _RUN}
        changes = {"command": (was or old_words, new or words), **rest}
    for name, (was, new) in changes.items():
        if name == "watching":
            yield f"waits for {new}" if new is not None else "waits for no other any more"
        elif name == "run_at":
            due = [local_time(clock.micros(moment), at) for moment in (was, new)]
            yield f"due {' → '.join(due)}"
        elif name == "secrets" and was == new:
            yield f"secrets {_value(name, new)}: values given anew"
        else:
            yield f"{name} {_value(name, was)} → {_value(name, new)}"


def _value(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if name in ("secrets", *DEPENDENCY_KINDS):
        return ", ".join(value) or "none"
    if name == "needs":
        return ", ".join(f"{each}={amounts.text(much)}" for each, much in value.items()) or "none"
    if name in ("timeout", "backoff_max", "grace"):
        return units.span(value)
    if name == "memory_limit":
        return units.size_text(value)
    if name in ("ok_codes", "no_retry_codes"):
        return codes(value)
    if name == "backoff":
        return steps(value) or "none"
    if name == "env":
        import shlex

        return shlex.join(f"{variable}={text}" for variable, text in value.items()) or "none"
    if name == "tags":
        return tags(value) or "none"
    if not isinstance(value, str) and name in _RUN:
        import shlex

        return shlex.join(value)
    return str(value)


def _took(event: Any) -> str:
    return f" after {units.span(event.run_seconds)}" if event.run_seconds is not None else ""

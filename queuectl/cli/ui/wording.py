"""Jobs, attempts and events in words. Nothing here is escaped: `output` escapes what it prints."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from queuectl import clock, events, units
from queuectl.backoff import Exponential, Steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projections.attempts import Attempt
    from projections.environments import Environment
    from projections.jobs import Job
    from queuectl.admission import Facts


def local_time(at: int | None, now: int | None = None) -> str:
    """Return a moment in local time, to the second; without the date if it is the date of `now` (default: today)."""
    if at is None:
        return ""
    when = datetime.fromtimestamp(at // 1_000_000, UTC).astimezone()
    today = datetime.fromtimestamp((clock.now() if now is None else now) // 1_000_000, UTC).astimezone()
    return f"{when:%H:%M:%S}" if when.date() == today.date() else f"{when:%Y-%m-%d %H:%M:%S}"


def full_time(at: int | None) -> str:
    """Return a moment in local time with date and offset, and its relative time."""
    if at is None:
        return ""
    when = datetime.fromtimestamp(at // 1_000_000, UTC).astimezone()
    return f"{when:%Y-%m-%d %H:%M:%S %z} ({relative_time(at)})"


def relative_time(at: int, now: int | None = None) -> str:
    """Return the time from now to a moment: `3m ago`, `in 5s`."""
    seconds = (at - (clock.now() if now is None else now)) / 1_000_000
    if abs(seconds) < 1:
        return "now"
    return f"in {units.span(round(seconds))}" if seconds > 0 else f"{units.span(round(-seconds))} ago"


def state_detail(job: "Job", now: int | None = None, facts: "Facts | None" = None) -> str:
    """Return what a job is doing, waits for, or how it ended. `facts`: of the workers, where they are known."""
    now = clock.now() if now is None else now
    if job.state == "processing":
        words = "" if job.attempt == 1 else f"attempt {job.attempt} "
        words += f"for {units.span(max(now - (job.claimed_at or now), 0) / 1_000_000) or '0s'} on {job.worker}"
        return words + (", being cancelled" if job.cancel_requested else "")
    if job.state in ("pending", "failed"):
        words = f"{end_cause(job)}, " if job.state == "failed" else ""
        if job.run_at > now:
            return f"{words}{'retry' if words else 'due'} {relative_time(job.run_at, now)}"
        if facts is not None and facts.unserved(job, now):
            return f"{words}no worker serves its queue"
        return f"{words}retry due" if words else "ready"
    if job.state == "dead":
        return f"{end_cause(job)}, {_ago(job, now)}"
    return _ago(job, now)


def _ago(job: "Job", now: int) -> str:
    return relative_time(job.finished_at, now) if job.finished_at is not None else ""


def end_cause(what: Any) -> str:
    """How an attempt ended: `exit 1`, `signal 9 (KILL)`, `timeout`, `not found`."""
    if what.cause == "timeout":
        return "timed out"
    if what.cause == "spawn":
        for other in ("working directory", "interpreter", "stdin"):  # not the command itself
            if (what.error or "").startswith(f"{other} "):
                return f"{other} {'not found' if what.exit_code == 127 else 'not usable'}"
        return {126: "not executable", 127: "not found"}.get(what.exit_code, "could not start")
    if what.cause == "lost":
        return "worker lost"
    if what.cause == "output":
        return "too much output"
    if what.cause == "interrupted":
        return "interrupted"
    if what.signal is not None:
        return f"signal {signal_name(what.signal)}"
    if what.exit_code is not None:
        return f"exit {what.exit_code}"
    return what.cause or ""


def signal_name(number: int) -> str:
    """`9 (KILL)`."""
    import signal

    try:
        return f"{number} ({signal.Signals(number).name.removeprefix('SIG')})"
    except ValueError:
        return str(number)


def attempt_outcome(attempt: "Attempt") -> str:
    """How an attempt ended, `running` while it has not."""
    if attempt.outcome is None:
        return "running"
    if attempt.outcome == "failed":
        return end_cause(attempt)
    return attempt.outcome


def attempt_counts(job: "Job", attempts: "Sequence[Attempt]") -> str:
    """Return the numbers of attempts and failures of a job, and the failures that its retry budget allows."""
    failed = sum(attempt.outcome == "failed" for attempt in attempts)
    had = f"{job.attempt}, of which {failed} failed" if failed else str(job.attempt or "none yet")
    anew = f", {job.failures or 'none'} since it was sent back" if failed > job.failures else ""
    allowed = job.max_retries + 1
    return f"{had}{anew} (dead after {units.counted(allowed, 'failure')})"


def retry_policy(job: "Job") -> str:
    """Return the delays between attempts of a job."""
    spread = f", ±{100 * job.policy.jitter:g} %" if job.policy.jitter else ""
    match job.policy.delays:
        case Steps(seconds):
            return f"{steps(seconds)} after each failure{spread}"
        case Exponential(base, longest):
            due = "1s" if base == 1 else f"{units.plain(base)}^n seconds"
            return f"{due} after the n-th failure{spread}, at most {units.span(longest)}"


def steps(seconds: "Sequence[float]") -> str:
    """Return the delays of a backoff that lists them."""
    return ", then ".join(map(units.span, seconds))


def event_text(record: events.Recorded) -> str:
    """Return what an event says, with its reason."""
    event = record.event
    reason = getattr(event, "reason", None)
    return _description(record, event) + (f" — {reason}" if reason else "")


def _description(record: events.Recorded, event: events.Event) -> str:
    match event:
        case events.Enqueued():
            command = event.runnable.text
            late = (clock.micros(event.run_at) - record.at) / 1_000_000
            due = f", due {local_time(clock.micros(event.run_at), record.at)}" if late > 1 else ""
            return f"enqueued in {event.queue}{due}: {command}"
        case events.Claimed():
            return f"claimed: attempt {event.attempt}"
        case events.Completed():
            return f"attempt {event.attempt} completed{_took(event)}"
        case events.Failed():
            more = f": {event.error}" if event.error else ""
            return f"attempt {event.attempt} failed: {end_cause(event)}{_took(event)}{more}"
        case events.Retried():
            return (
                f"will be retried in {units.span(event.delay)}, at {local_time(clock.micros(event.run_at), record.at)}"
            )
        case events.Dead():
            return "went to the dead letter queue"
        case events.Requeued():
            return "requeued, with its retry budget anew"
        case events.Edited():
            return f"edited: {'; '.join(_change(name, *values) for name, values in event.changes.items())}"
        case events.CancelRequested():
            return "asked to be cancelled"
        case events.Cancelled():
            return "cancelled" + (f" in attempt {event.attempt}{_took(event)}" if event.attempt is not None else "")
        case events.Released():
            return f"attempt {event.attempt} given back before it started"
        case events.Interrupted():
            by = f": its worker was stopped by {event.by}" if event.by else ""
            return f"attempt {event.attempt} interrupted{_took(event)}{by}"
        case events.Purged():
            return "purged"
        case events.Archived():
            return f"archived in {event.file}, {units.counted(event.events, 'event')}, {event.state}"
        case events.WorkerStarted():
            queues = f", for {', '.join(event.queues)}" if event.queues else ""
            alone = ", for one job alone" if event.private else ""
            return (
                f"worker started on {event.host}, pid {event.pid}, {units.counted(event.slots, 'slot')}{queues}{alone}"
            )
        case events.Heartbeat():
            held = ", ".join(f"{held.job} ({held.attempt})" for held in event.attempts)
            return f"still running {held}" if held else "alive"
        case events.StopRequested():
            return "asked to stop" + (" now" if event.now else "")
        case events.WorkerStopped():
            return "worker stopped"
        case events.WorkerLost():
            return "worker lost"
        case events.Sealed():
            return f"sealed {units.counted(event.events, 'event')} up to {event.upto}: {event.hash}"
        case events.EnvironmentKept():
            return f"environment kept: {environment_size(event)}"
        case events.ConfigSet():
            return f"{event.key} set to {event.value}" if event.value is not None else f"{event.key} unset"


def environment_size(environment: "Environment | events.EnvironmentKept") -> str:
    """Return the number of variables in an environment, and its umask."""
    count = len(environment.variables)
    those = " in place of the worker's" if environment.whole else ""
    umask = environment.umask
    mask = f", umask {umask:04o}" if isinstance(umask, int) else f", umask {umask}" if umask is not None else ""
    return f"{units.counted(count, 'variable')}{those}{mask}"


def _change(name: str, was: Any, new: Any) -> str:
    return f"{name} {_value(name, was)} → {_value(name, new)}"


def _value(name: str, value: Any) -> str:
    if value is None:
        return "none"
    if name in ("timeout", "backoff_max"):
        return units.span(value)
    if name == "backoff":
        return steps(value) or "none"
    if name == "env":
        import shlex

        return shlex.join(f"{variable}={text}" for variable, text in value.items()) or "none"
    if name == "argv":
        import shlex

        return shlex.join(value)
    return str(value)


def _took(event: Any) -> str:
    return f" after {units.span(event.run_seconds)}" if event.run_seconds is not None else ""


def job_outcome(job: "Job") -> str:
    """Return how a job ended: `died: exit 3 after 2 attempts`."""
    tried = units.counted(job.attempt, "attempt")
    if job.state == "dead":
        return f"died: {end_cause(job)} after {tried}"
    if job.state == "cancelled":
        return "was cancelled" + (f" in attempt {job.attempt}" if job.attempt else " before it ran")
    return "completed" + (f" after {tried}" if job.attempt > 1 else "")

"""Jobs, attempts and events in words. Nothing here is escaped: `output` escapes what it prints."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from queuectl import amounts, clock, events, units
from queuectl.backoff import Exponential, Steps

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from projections.attempts import Attempt
    from projections.environments import Environment
    from projections.jobs import Job
    from projections.queues import QueueState
    from projections.workers import Worker
    from queuectl.admission import Facts, Reason
    from queuectl.events import Enqueued, ScheduleTerms, Trigger
    from queuectl.forecast import Forecast


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


def state_detail(
    job: "Job", now: int | None = None, facts: "Facts | None" = None, forecast: "Forecast | None" = None
) -> str:
    """Return what a job is doing, waits for, or how it ended.

    `facts`: of the workers, `forecast`: of what runs, where they are known.
    """
    now = clock.now() if now is None else now
    if job.state == "processing":
        words = suspension(job, now)
        if forecast is not None and (told := progress(forecast, now)):
            words += f"{told}, "
        words += "" if job.attempt == 1 else f"attempt {job.attempt} "
        words += f"for {units.span(max(now - (job.claimed_at or now), 0) / 1_000_000) or '0s'} on {job.worker}"
        return words + (", being cancelled" if job.cancel_requested else "")
    if job.state in ("pending", "blocked", "failed"):
        words = f"{end_cause(job)}, " if job.state == "failed" else ""
        return words + _situation(job, now, facts)
    if job.state == "dead":
        return f"{end_cause(job)}, {_ago(job, now)}"
    if job.state == "cancelled" and job.cause in ("dependency", "halt"):
        return f"{job.error}, {_ago(job, now)}"
    return _ago(job, now)


def progress(forecast: "Forecast", now: int | None = None, room: int = 40) -> str:
    """Return how far a job is, and about when it is done: `40 % epoch 4, ETA ~2m`; nothing where both are unknown.

    Of its text so many characters at most.
    """
    text = forecast.text
    if text is not None and len(text) > room:
        text = text[: room - 1] + "…"
    words = [percent(forecast.percent, text)] if forecast.percent is not None else []
    if forecast.eta is not None:
        left = (forecast.eta - (clock.now() if now is None else now)) / 1_000_000
        step = 600 if left > 7200 else 60 if left > 600 else 1
        words.append(f"ETA ~{units.span(max(round(left / step) * step, 1))}")
    return ", ".join(words)


def percent(done: float, text: str | None) -> str:
    """Return `40 % epoch 4`; what is not whole is rounded down to a tenth."""
    return f"{units.plain(int(done * 10) / 10)} %{f' {text}' if text else ''}"


def suspension(job: "Job", now: int) -> str:
    """Return since when a running job is suspended, to precede other words; nothing where it is not."""
    return f"suspended {relative_time(job.suspended_at, now)}, " if job.suspended_at is not None else ""


def _situation(job: "Job", now: int, facts: "Facts | None") -> str:
    """Return what a waiting job waits for, in few words."""
    from queuectl.admission import NOTHING, first

    reason = first(job, facts if facts is not None else NOTHING, now)
    retry = "retry" if job.state == "failed" else "due"
    match reason.kind if reason is not None else "":
        case "delayed" | "backoff":
            return f"{retry} {relative_time(job.run_at, now)}"
        case "postponed":
            return f"could not be started, due {relative_time(job.run_at, now)}"
        case "halted":
            return "batch halted"
        case "held":
            return "held"
        case "paused" if reason is not None:
            until = f" until {local_time(reason.when, now)}" if reason.when is not None else ""
            return f"paused{until}"
        case "dependency":
            return f"after {job.watching}"
        case "concurrency":
            return "queue at its limit"
        case "rate" if reason is not None:
            return f"rate limit, {relative_time(reason.when or now, now)}"
        case "resource" if reason is not None:
            return reason.text.partition(":")[0]
        case "reserved":
            return "reserved for a job before it"
        case "host":
            return "its workers hold back"
        case "no_worker":
            return "no worker serves its queue" + (f" with {slots} slots" if (slots := job.policy.slots) > 1 else "")
        case _:
            return "retry due" if job.state == "failed" else "ready"


def reason_sentence(reason: "Reason", now: int | None = None, jobs: int = 1) -> str:
    """Return why so many jobs wait: by whom they are held or paused and why, and when that ends, if known."""
    until = ""
    if reason.when is not None:
        words = {"rate": ": the next at", "busy": " until about"}.get(reason.kind, " until")
        if jobs > 1 and reason.kind in ("delayed", "backoff", "postponed"):
            words = ": the first at"
        until = f"{words} {local_time(reason.when, now)}"
    return _told(reason, reason.text, until)


def dependencies(policy: "Enqueued") -> str:
    """What a job depends on: `build, test; the end of lint; a failure of deploy`."""
    words = [
        *([", ".join(policy.after)] if policy.after else []),
        *([f"the end of {', '.join(policy.after_any)}"] if policy.after_any else []),
        *([f"a failure of {', '.join(policy.after_failure)}"] if policy.after_failure else []),
    ]
    return "; ".join(words)


def needs(policy: "Enqueued") -> str:
    """What a job needs while it runs: `gpu=2, mem=8G, 4 slots`."""
    words = [f"{name}={amounts.text(much)}" for name, much in policy.needs.items()]
    return ", ".join([*words, f"{policy.slots} slots"] if policy.slots > 1 else words)


def schedule_terms(terms: "ScheduleTerms") -> str:
    """Return when a schedule fires, as it was written: `30 2 * * * (Europe/Berlin), catches up none`."""
    when = f"{terms.cron} ({terms.tz})" if terms.cron is not None else f"every {units.span(terms.every or 0)}"
    more = [
        f"catches up {terms.catch_up}" if terms.catch_up != "last" else "",
        f"within {units.span(terms.window)}" if terms.window != 86400 else "",
        f"overlap {terms.overlap}" if terms.overlap != "skip" else "",
        f"jitter {units.span(terms.jitter)}" if terms.jitter else "",
        f"until {local_time(clock.micros(terms.until))}" if terms.until is not None else "",
        "pauses on failure" if terms.pause_on_failure else "",
    ]
    return ", ".join([when, *filter(None, more)])


def tags(tags: "Mapping[str, str]") -> str:
    """The tags of a job: `exp=3, urgent`."""
    return ", ".join(f"{key}={value}" if value else key for key, value in tags.items())


def priority(job: "Job") -> str:
    """The priority of a job in words."""
    return f"priority {job.priority}" if not job.past_limits else "before all others"


def trigger(trigger: "Trigger | None") -> str:
    """What enqueued a job: `schedule nightly, for 02:30:00`; empty where that is not known."""
    match trigger:
        case None:
            return ""
        case _ if trigger.schedule is not None:
            moment = local_time(clock.micros(trigger.moment)) if trigger.moment is not None else ""
            return f"schedule {trigger.schedule}, for {moment}" if moment else f"schedule {trigger.schedule}"
        case _ if trigger.job is not None:
            return f"job {trigger.job}, {trigger.event}" if trigger.event is not None else f"job {trigger.job}"
        case _:
            return "nothing was left to do"


def wait_reason(reason: "Reason") -> str:
    """Return what a job has waited for, by whom and why."""
    from queuectl.wait_history import gist

    return _told(reason, gist(reason))


def _told(reason: "Reason", words: str, until: str = "") -> str:
    """Return the words of a reason with by whom a job is held or a queue paused, until when, and why."""
    why = reason.why or ""
    match reason.kind:
        case "held" | "paused":
            return words + (f" by {reason.by}" if reason.by else "") + until + (f": {why}" if why else "")
        case "backoff" | "postponed":
            return words + until + (f" ({why})" if why else "")
        case _:
            return words + until


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
    if what.cause == "memory":
        return "out of memory"
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
    if attempt.outcome == "completed" and attempt.exit_code:
        return f"completed, exit {attempt.exit_code}"
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


def ending(policy: events.Enqueued) -> str:
    """Return how a job is ended, empty for the usual way."""
    if (policy.stop_signal, policy.grace) == ("TERM", 5.0):
        return ""
    return f"{policy.stop_signal}, after {units.span(policy.grace)} KILL"


def memory_limit(policy: events.Enqueued, attempts: "Sequence[Attempt]") -> str:
    """Return the memory limit of a job, and what kept it in its latest attempt; empty where it has none."""
    if policy.memory_limit is None:
        return ""
    last = next((attempt.limited_by for attempt in reversed(attempts) if attempt.limited_by is not None), None)
    of = {"cgroup": ", of all its processes together (cgroup)", "rlimit": ", of each of its processes (RLIMIT_AS)"}
    return units.size_text(policy.memory_limit) + (of.get(last, "") if last is not None else "")


def host_limits(worker: "Worker | events.WorkerStarted", why: str | None = None) -> str:
    """Return the limits of a worker's host: `load 4, 2 GiB free`, and `why` it holds back."""
    words = [f"load {units.plain(worker.max_load)}"] if worker.max_load is not None else []
    words += [f"{units.size_text(worker.min_free_memory)} free"] if worker.min_free_memory is not None else []
    return ", ".join(words) + (f"; holds back: {why.partition(', limit')[0]}" if why is not None else "")


def exit_codes(policy: events.Enqueued) -> str:
    """Return what the exit codes of a job mean, empty where only 0 means anything."""
    parts = [f"{codes(policy.ok_codes)} succeed" if len(policy.ok_codes) > 1 else ""]
    parts.append(f"{codes(policy.no_retry_codes)} not retried" if policy.no_retry_codes else "")
    return "; ".join(part for part in parts if part)


def codes(codes: "Sequence[int]") -> str:
    """Return exit codes as they are written: `0,3`."""
    return ",".join(map(str, codes)) or "none"


def steps(seconds: "Sequence[float]") -> str:
    """Return the delays of a backoff that lists them."""
    return ", then ".join(map(units.span, seconds))


def queue_limits(limits: "QueueState | events.QueueLimited") -> str:
    """Return the limits of a queue: `2 at a time, 10/s, pauses on failure`; `no limits`."""
    words = [f"{limits.concurrency} at a time"] if limits.concurrency is not None else []
    words += [str(limits.rate)] if limits.rate is not None else []
    words += ["pauses on failure"] if limits.pause_on_failure else []
    return ", ".join(words) or "no limits"


def grants(granted: "Mapping[str, int | tuple[int, ...]]") -> str:
    """Return what an attempt has of resources: `gpu 0,2, mem 8 GiB`."""
    words = [
        f"{name} {amounts.text(given) if isinstance(given, int) else amounts.ranges(given)}"
        for name, given in granted.items()
    ]
    return ", ".join(words)


def pause(queue: "QueueState", now: int) -> str:
    """Return since when, by whom and why a queue is paused; nothing where it is not."""
    if not queue.is_paused(now):
        return ""
    words = f"{relative_time(queue.paused_at or now, now)} by {queue.paused_by}"
    if queue.paused_job is not None:
        words += f", since job {queue.paused_job} died"
    if queue.paused_until is not None:
        words += f", until {local_time(queue.paused_until, now)}"
    return words + (f": {queue.paused_reason}" if queue.paused_reason else "")


def environment_size(environment: "Environment | events.EnvironmentKept") -> str:
    """Return the number of variables in an environment, and its umask."""
    count = len(environment.variables)
    those = " in place of the worker's" if environment.whole else ""
    umask = environment.umask
    mask = f", umask {umask:04o}" if isinstance(umask, int) else f", umask {umask}" if umask is not None else ""
    return f"{units.counted(count, 'variable')}{those}{mask}"


def job_outcome(job: "Job") -> str:
    """Return how a job ended: `died: exit 3 after 2 attempts`."""
    tried = units.counted(job.attempt, "attempt")
    if job.state == "dead":
        return f"died: {end_cause(job)} after {tried}"
    if job.state == "cancelled":
        return "was cancelled" + (f" in attempt {job.attempt}" if job.attempt else " before it ran")
    return "completed" + (f" after {tried}" if job.attempt > 1 else "")

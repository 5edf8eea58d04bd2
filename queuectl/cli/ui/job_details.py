"""Everything about one job, in the lines of `inspect` and `top`.

`room`: the columns to which lines are truncated; `sys.maxsize` for none.
"""

import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from queuectl import clock, units
from queuectl.admission import WAITING
from queuectl.cli.ui import output, stream, terminal, wording
from queuectl.cli.ui.event_wording import event_text
from queuectl.errors import NotFound, OutputGone
from queuectl.events import Enqueued
from queuectl.runnable import SHELL

if TYPE_CHECKING:
    from projections.attempts import Attempt
    from projections.jobs import Job
    from projections.notes import Note
    from queuectl.forecast import Forecast
    from queuectl.queue import Queue

_LAST_LINES = 5
"""Lines of output shown."""
_LAST_NOTES = 10
"""Notes shown."""


def job_lines(
    q: "Queue", job: "Job", attempts: Sequence["Attempt"], forecast: "Forecast", past: bool, room: int
) -> Iterator[str]:
    """Yield what there is to tell of a job, and a table of its attempts."""
    policy = job.policy
    doing = wording.state_detail(job, facts=q.facts()) if not past else ""
    state = f"{job.state}, {doing}".removesuffix(", ")
    yield f"{output.paint(output.escape(job.id), 'bold')}  {output.paint(output.escape(state), job.state)}"
    yield ""
    due = ""
    if job.state in WAITING and (job.forced or job.run_at > job.enqueued_at):
        due = wording.full_time(job.run_at) if not job.forced else "next, past pause, hold, delay and limits"
    timeout = units.span(job.timeout) if job.timeout is not None else "none"
    yield from output.field_lines((
        ("command", output.escape(job.command)),
        ("shell", output.escape(policy.shell) if policy.shell != SHELL else ""),
        ("in", output.escape(policy.cwd)),
        ("stdin", policy.stdin or ""),
        ("queue", output.escape(f"{job.queue}, {wording.priority(job)}")),
        ("enqueued", f"{wording.full_time(job.enqueued_at)} by {output.escape(job.enqueued_by)}"),
        ("triggered by", output.escape(wording.trigger(policy.trigger))),
        ("batch", output.escape(job.batch or "")),
        ("edited", output.escape(_edited(q, job))),
        ("tags", output.escape(wording.tags(policy.tags))),
        ("reason", output.escape(policy.reason or "")),
        ("after", output.escape(wording.dependencies(policy))),
        ("resources", output.escape(wording.needs(policy))),
        ("on complete", output.escape(policy.on_complete or "")),
        ("on failure", output.escape(policy.on_failure or "")),
        ("on end", output.escape(policy.on_end or "")),
        ("callbacks", ", ".join(f"{each.id} {each.state}" for each in q.callbacks(job.id)) if not past else ""),
        ("due", due),
        ("progress", output.escape(_progress(forecast, attempts, past))),
        ("suspended", _suspended(job)),
        ("finished", wording.full_time(job.finished_at)),
        ("attempts", wording.attempt_counts(job, attempts)),
        ("retries", wording.retry_policy(job) if job.max_retries else ""),
        ("timeout", f"{timeout}; if its worker dies: {policy.on_lost}"),
        ("ending", wording.ending(policy)),
        ("exit codes", wording.exit_codes(policy)),
        ("memory limit", wording.memory_limit(policy, attempts)),
        ("nice", str(policy.nice) if policy.nice else ""),
        *_environment(q, policy),
        ("secrets", ", ".join(job.secrets)),
        ("error", output.escape(job.error or "")),
    ))  # fmt: skip
    if attempts:
        yield ""
        yield from output.table_lines(
            ("#", "STARTED", "TOOK", "CPU", "MEMORY", "OUTPUT", "WORKER", "OUTCOME"),
            [_attempt(attempt, past) for attempt in attempts],
            ("#", "TOOK", "CPU", "MEMORY", "OUTPUT"),
            room,
        )


def _edited(q: "Queue", job: "Job") -> str:
    """When and by whom it was edited last, and what; empty where it was not."""
    edits = [each for each in q.events(job=job.id, type="edited") if each.version <= job.version]
    if not edits:
        return ""
    last = edits[-1]
    times = f"{len(edits)} times, last " if len(edits) > 1 else ""
    text = event_text(last).removeprefix("edited: ")
    return f"{times}{wording.full_time(last.at)} by {last.actor}: {text}"


def _progress(forecast: "Forecast", attempts: "Sequence[Attempt]", past: bool) -> str:
    """How far it is, and when it should be done by what estimate; of one that ended, how far its last attempt came."""
    if forecast.percent is None and attempts and (last := attempts[-1]).progress is not None:
        return wording.percent(last.progress, last.progress_text)
    if past:
        return wording.percent(forecast.percent, forecast.text) if forecast.percent is not None else ""
    return wording.progress(forecast, room=200) + (
        f" (an estimate by {forecast.by})" if forecast.by is not None else ""
    )


def _suspended(job: "Job") -> str:
    """Since when, and by whom, it is suspended; empty where it is not."""
    if job.suspended_at is None:
        return ""
    how = ", until the pause of its queue ends" if job.suspended_by_pause else ""
    return f"{wording.full_time(job.suspended_at)} by {output.escape(job.suspended_by or '')}{how}"


def _environment(q: "Queue", policy: Enqueued) -> Iterator[tuple[str, str]]:
    """Yield the variables that a job gets beside the worker's; those of old logs are in the JSON only."""
    if policy.environment is None:
        return
    yield "env", output.escape(shlex.join(f"{name}={value}" for name, value in policy.env.items()))
    stored = q.environment(policy.environment)
    name = f"env:{policy.environment}"
    size = f"{wording.environment_size(stored)} ({name})" if stored is not None else f"{name}, which is not here"
    yield "environment", size


def _attempt(attempt: "Attempt", past: bool) -> list[str | output.Cell]:
    took = attempt.run_seconds
    if took is None and attempt.outcome is None and not past:
        took = (clock.now() - attempt.claimed_at) / 1_000_000
    return [
        str(attempt.number) if attempt.outcome != "released" else "-",
        wording.local_time(attempt.started_at or attempt.claimed_at),
        units.span(took) if took is not None else "",
        units.span(attempt.cpu_seconds) if attempt.cpu_seconds is not None else "",
        units.size_text(attempt.max_rss) if attempt.max_rss is not None else "",
        units.size_text(attempt.output_bytes) if attempt.output_bytes is not None else "",
        attempt.worker,
        output.Cell(wording.attempt_outcome(attempt), attempt.outcome or "processing"),
    ]


def note_lines(notes: Sequence["Note"], room: int) -> Iterator[str]:
    """Yield the last notes, a line each: when, in which attempt or by whom, and what."""
    if not notes:
        return
    yield ""
    more = f", the last {_LAST_NOTES} of {len(notes)}" if len(notes) > _LAST_NOTES else ""
    yield output.paint(f"its notes{more}", "dim")
    for note in notes[-_LAST_NOTES:]:
        of = f"attempt {note.attempt}" if note.attempt is not None else note.noted_by
        said = f"{wording.local_time(note.noted_at)}  {output.escape(f'{of}: {note.text}')}"
        yield from (f"  {text}" for text in output.wrap(said, room - 2))


def output_lines(q: "Queue", job: "Job", room: int) -> Iterator[str]:
    """Yield the last lines of what a job has written."""
    try:
        for what, is_stderr in (("output", False), ("stderr", True)):
            if (written := q.open_output(job.id, stderr=is_stderr)) is not None:
                yield from _end_of(job.id, what, *stream.last_lines(written, _LAST_LINES), room)
    except OutputGone as gone:
        yield ""
        yield output.paint(output.escape(str(gone)), "dim")
    except NotFound:
        pass


def _end_of(id: str, what: str, lines: Sequence[str], more: bool, room: int) -> Iterator[str]:
    """Yield the last lines of an output of a job; `more`: there are lines before them."""
    if not lines:
        return
    yield ""
    yield output.paint(f"the end of its {what}" if more else f"its {what}", "dim")
    for text in lines:
        yield f"  {terminal.truncate(text, room - 2) if room < sys.maxsize else terminal.without_colours(text)}"
    if more:
        yield output.paint(f"  all of it: queuectl logs {shlex.quote(id)}", "dim")

"""`queuectl inspect`: everything about one job, now or as it was."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from queuectl import clock, units
from queuectl.cli import output, people, session
from queuectl.cli import parameters as p
from queuectl.documents import job_document
from queuectl.errors import Invalid, NotFound

if TYPE_CHECKING:
    from projections.attempts import Attempt
    from projections.jobs import Job
    from queuectl.history import Moment
    from queuectl.queue import Queue

_LAST_LINES = 5
"""Lines of output that the page shows."""


def inspect(
    id: p.Job,
    /,
    *,
    events: Annotated[
        bool, Parameter(name="--events", help="Its history, replayed event by event, with the state after each.")
    ] = False,
    at: p.At = None,
    version: Annotated[
        int | None, p.option("--version", "N", "As it was after its own event N.", p.count(1, 2**31))
    ] = None,
    json: Annotated[bool, Parameter(name="--json", help="Answer as JSON; with --events one object a line.")] = False,
    db: p.Database = None,
) -> None:
    """Show everything about a job: its policy, its attempts, the end of its output.

    $ queuectl inspect job1
    $ queuectl inspect 17 --events
    $ queuectl inspect job1 --at -10m --json
    """
    if at is not None and version is not None:
        raise Invalid("give --at or --version, not both")
    with session.opened(db) as q:
        id = q.resolve(id)
        if not events and at is None and version is None:
            job, attempts = q.job(id), q.attempts(id)
        else:
            moments = _until(q.history(id), at, version)
            if events:
                _history(moments, json)
                return
            job = moments[-1].job
            if job is None:
                raise NotFound(f"job {id!r} had been purged by then")
            attempts = _attempts_at(q.attempts(id), moments)
        if json:
            output.document(job_document(job, attempts))
        else:
            _page(q, job, attempts, past=at is not None or version is not None)


def _until(moments: list["Moment"], at: units.Then | None, version: int | None) -> list["Moment"]:
    """The history up to a point, or all of it. Raises NotFound where the job did not exist then."""
    kept: list[Moment] = []
    for moment in moments:
        record = moment.record
        own = record.stream.startswith("job:")
        if (
            (at is not None and at.at is not None and record.at > at.at)
            or (at is not None and at.seq is not None and record.seq > at.seq)
            or (version is not None and own and record.version > version)
        ):
            break
        kept.append(moment)
    if not kept:
        raise NotFound("the job did not exist yet at that moment")
    last = max(moment.record.version for moment in moments if moment.record.stream.startswith("job:"))
    if version is not None and version > last:
        raise NotFound(f"the job has only {last} events")
    return kept


def _attempts_at(attempts: list["Attempt"], moments: Sequence["Moment"]) -> list["Attempt"]:
    """The attempts as they were at the end of these moments: no later ones, and no outcome that had not come yet."""
    last = moments[-1].record.seq
    over = {getattr(moment.record.event, "attempt", None) for moment in moments if moment.record.type != "claimed"}
    return [
        attempt if attempt.number in over
        else msgspec.structs.replace(
            attempt, outcome=None, started_at=None, ended_at=None, cause=None, exit_code=None, signal=None,
            run_seconds=None, cpu_seconds=None, max_rss=None, output_bytes=None, output_cut=None, error=None,
        )
        for attempt in attempts if attempt.seq <= last
    ]  # fmt: skip


def _history(moments: list["Moment"], json: bool) -> None:
    if json:
        output.documents(moment.record.json(state=moment.job.state if moment.job else "purged") for moment in moments)
        return
    first = moments[0].record.at
    output.line(output.paint(f"{output.safe(moments[0].record.subject)}: from {people.full(first)}", "bold"))
    room = output.width()
    whens = [f"+{_elapsed(moment.record.at - first)}" for moment in moments]
    space = max(map(len, whens))
    for moment, when in zip(moments, whens, strict=True):
        record = moment.record
        state = moment.job.state if moment.job else "purged"
        head = f"{record.seq:>6}  {when:>{space}}  "
        what = output.wrapped(output.safe(f"{people.told(record)}  [{record.actor}]"), room - len(head) - 12)
        output.line(f"{head}{output.paint(f'{state:<10}', state)}  {what[0]}")
        for more in what[1:]:
            output.line(" " * (len(head) + 12) + more)


def _elapsed(micros: int) -> str:
    seconds = micros / 1_000_000
    return f"{seconds:.3f}s" if seconds < 100 else units.span(seconds)


def _page(q: "Queue", job: "Job", attempts: list["Attempt"], past: bool) -> None:
    spec = job.spec
    state = job.state if past else f"{job.state}, {people.situation(job)}".removesuffix(", ")
    output.line(f"{output.paint(output.safe(job.id), 'bold')}  {output.paint(output.safe(state), job.state)}")
    output.line()
    timeout = units.span(job.timeout) if job.timeout is not None else "none"
    output.fields((
        ("command", output.safe(job.command)),
        ("in", output.safe(spec.cwd)),
        ("stdin", spec.stdin or ""),
        ("queue", output.safe(f"{job.queue}, priority {job.priority}")),
        ("enqueued", f"{people.full(job.enqueued_at)} by {output.safe(job.enqueued_by)}"),
        ("reason", output.safe(spec.reason or "")),
        ("due", people.full(job.run_at) if job.state in ("pending", "failed") and job.run_at > job.enqueued_at else ""),
        ("finished", people.full(job.finished_at)),
        ("attempts", people.tries(job)),
        ("retries", people.policy(job) if job.max_retries else ""),
        ("timeout", f"{timeout}; if its worker dies: {spec.on_lost}"),
        ("secrets", ", ".join(job.secrets)),
        ("error", output.safe(job.error or "")),
    ))  # fmt: skip
    if attempts:
        output.line()
        output.table(
            ("#", "STARTED", "TOOK", "CPU", "MEMORY", "OUTPUT", "WORKER", "OUTCOME"),
            [_attempt(attempt) for attempt in attempts],
            right=("#", "TOOK", "CPU", "MEMORY", "OUTPUT"),
        )
    if not past:
        _output(q, job)


def _attempt(attempt: "Attempt") -> list[str | output.Cell]:
    took = attempt.run_seconds
    if took is None and attempt.outcome is None:
        took = (clock.now() - attempt.claimed_at) / 1_000_000
    return [
        str(attempt.number),
        people.local(attempt.started_at or attempt.claimed_at),
        units.span(took) if took is not None else "",
        units.span(attempt.cpu_seconds) if attempt.cpu_seconds is not None else "",
        units.size_text(attempt.max_rss) if attempt.max_rss is not None else "",
        units.size_text(attempt.output_bytes) if attempt.output_bytes is not None else "",
        attempt.worker,
        output.Cell(people.outcome(attempt), attempt.outcome or "processing"),
    ]


def _output(q: "Queue", job: "Job") -> None:
    from queuectl.cli.stream import last_lines

    try:
        lines, more = last_lines(q.output(job.id), _LAST_LINES)
    except (NotFound, FileNotFoundError):
        return
    if lines:
        output.line()
        output.line(output.paint("the end of its output" if more else "its output", "dim"))
        room = output.width()
        for text in lines:
            output.line(f"  {output.cut(output.safe(text), room - 2)}")
        if more:
            output.line(output.paint(f"  all of it: queuectl logs {output.safe(job.id)}", "dim"))

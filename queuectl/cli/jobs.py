"""`queuectl list`, `cancel` and `retry`: jobs by state, and changing some of them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from queuectl.cli import enqueue as asking
from queuectl.cli import output, session
from queuectl.cli import parameters as p

if TYPE_CHECKING:
    from projections.jobs import Job
    from queuectl.queue import Queue

Ids = Annotated[str, Parameter(name="ID", help="More jobs; all of them are changed, or none.")]


def list_jobs(
    *,
    state: p.State = None,
    queue: p.Queue = None,
    since: p.Since = None,
    until: p.Until = None,
    ended_since: p.EndedSince = None,
    at: p.At = None,
    limit: Annotated[int | None, p.option("--limit", "N", "At most so many.", p.count(1, 2**31))] = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """List jobs, newest first.

    $ queuectl list --state failed
    $ queuectl list --queue mail --since -1h --json | jq -r .id
    $ queuectl list --state dead --ended-since -1d
    $ queuectl list --state processing --at 2026-11-24T09:00
    """
    p.check_span(since, until)
    with session.opened(db) as q:
        bar = output.progress("Folding the log")
        found = q.jobs(
            state=state, queue=queue, since=since, until=until, ended_since=ended_since, limit=limit, then=at,
            progress=bar,
        )  # fmt: skip
        show(found, json)


def show(jobs: Iterable["Job"], json: bool) -> None:
    """Print jobs, a line each."""
    if json:
        from queuectl.documents import job_document

        output.documents(job_document(job) for job in jobs)
        return
    from queuectl.cli.people import situation

    heads = ("ID", "STATE", "QUEUE", "PRIO", "SITUATION", "COMMAND")
    rows = (
        (job.id, output.Cell(job.state, job.state), job.queue, str(job.priority), situation(job), job.command)
        for job in jobs
    )
    if not output.table(heads, rows, right=("PRIO",)) and output.terminal():
        output.note("no such jobs")


def changed(q: "Queue", ids: Iterable[str], json: bool) -> None:
    """Print what has become of jobs: id and state."""
    if json:
        from queuectl.documents import job_document

        output.documents(job_document(q.job(id)) for id in ids)
        return
    for id in ids:
        state = q.job(id).state
        output.line(f"{output.safe(id)}  {output.paint(state, state)}")


def cancel(
    id: Annotated[str, Parameter(name="ID", help="The job to cancel.")],
    /,
    *more: Ids,
    reason: p.Reason = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Cancel jobs: a waiting one at once, a running one is ended and stays `processing` until it is gone.

    $ queuectl cancel job1
    $ queuectl cancel 17 18 --reason 'wrong folder'
    """
    with session.opened(db) as q:
        q.cancel(id, *more, reason=reason)
        changed(q, dict.fromkeys((id, *more)), json)


def retry(
    id: Annotated[str, Parameter(name="ID", help="The job to run again.")],
    /,
    *more: Ids,
    changes: asking.Changed = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Run finished jobs again: the same job, with its retry budget anew; its history is kept.

    $ queuectl retry job1
    $ queuectl retry 17 --timeout none       what is given is changed first, and stays so
    $ queuectl retry 17 --secret TOKEN       its secret values are forgotten once it completed: give them anew

    An option that is not given stays as the job has it, whatever the default of a new one is.
    """
    with session.opened(db) as q:
        q.retry(id, *more, **asking.said(changes))
        changed(q, dict.fromkeys((id, *more)), json)

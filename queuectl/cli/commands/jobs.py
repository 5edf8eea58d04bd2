"""`queuectl list`, `cancel` and `retry`: jobs by state, and changing some of them."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.commands import enqueue as asking
from queuectl.cli.job_selection import All, Ids, Wanted, Yes, choose
from queuectl.cli.ui import output

if TYPE_CHECKING:
    from queuectl.listing import Listing
    from queuectl.queries import Served
    from queuectl.queue import Queue

_UNENDED = ("pending", "blocked", "processing", "failed")
_FAILED = ("dead", "cancelled")


def list_jobs(
    *,
    state: p.States = None,
    queue: p.Queue = None,
    since: p.Since = None,
    until: p.Until = None,
    ended_since: p.EndedSince = None,
    at: p.At = None,
    limit: Annotated[int | None, p.option("--limit", "N", "At most so many.", p.count(1, 2**31))] = None,
    all: Annotated[
        bool, Parameter(name="--all", help="All of them, rather than 1,000 that wait and the last 20 that ended.")
    ] = False,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """List jobs: what runs, what waits in the order in which it will run, and what has ended, the latest first.

    $ queuectl list --state failed,dead
    $ queuectl list --queue mail --since -1h --json | jq -r .id
    $ queuectl list --state dead --ended-since -1d
    $ queuectl list --state processing --at 2026-11-24T09:00

    With --json, and with --limit N, it is all of them, or N.
    """
    p.check_span(since, until)
    with opening.opened(db) as q:
        brief = not (all or json or limit is not None)
        jobs = q.jobs(
            state=state, queue=queue, since=since, until=until, ended_since=ended_since, limit=limit, brief=brief,
            then=at, progress=output.progress("Folding the log"),
        )  # fmt: skip
        if json:
            from queuectl.documents import job_document

            output.documents(job_document(job) for job in jobs)
            return
        if not _table(jobs, q.served() if at is None else None):
            some = at is not None or q.status().total
            output.note("no job matches" if some else "there are no jobs; add one with `queuectl enqueue COMMAND`")


def _table(jobs: "Listing", served: "Served | None") -> int:
    """Print jobs, a line each, and how many more there are; returns how many were printed."""
    from queuectl.cli.ui.wording import situation

    heads = ("ID", "STATE", "QUEUE", "PRIO", "SITUATION", "COMMAND")
    rows = (
        (
            job.id, output.Cell(job.state, job.state), job.queue, str(job.priority),
            situation(job, jobs.now, served is None or job.queue in served), job.command,
        )
        for job in jobs
    )  # fmt: skip
    count = output.table(heads, rows, right=("PRIO",))
    more = [(f"{jobs.waiting_more:,} more", " that wait")] if jobs.waiting_more else []
    if jobs.ended_more:
        more += [(f"{jobs.ended_more:,} more", " that ended" if more else "")]
    if more:
        output.line(output.paint(f"… {', '.join(count + which for count, which in more)} (--all)", "dim"))
    return count


def changed(q: "Queue", ids: Iterable[str], json: bool) -> None:
    """Print what has become of jobs: id and state."""
    if json:
        from queuectl.documents import job_document

        output.documents(job_document(q.job(id)) for id in ids)
        return
    for id in ids:
        job = q.job(id)
        now = "being cancelled" if job.state == "processing" and job.cancel_requested else job.state
        output.line(f"{output.safe(id)}  {output.paint(now, job.state)}")


def cancel(
    *ids: Ids,
    all: All = False,
    state: p.States = None,
    queue: p.Queue = None,
    yes: Yes = False,
    reason: p.Reason = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Cancel jobs: a waiting one at once, a running one is ended and stays `processing` until it is gone.

    $ queuectl cancel job1
    $ queuectl cancel 17 18 --reason 'wrong folder'
    $ queuectl cancel --queue mail --state pending,failed

    Of --all are those that wait or run. On a terminal it asks first, unless jobs are named.
    """
    wanted = Wanted(ids, all, queue, yes, state)
    wanted.check("cancel", (*_UNENDED, "dead"))
    with opening.opened(db) as q:
        if (chosen := choose(q, wanted, "cancel", _UNENDED)) is not None:
            changed(q, q.cancel(*chosen.ids, among=chosen.among, reason=reason), json)


def retry(
    *ids: Ids,
    all: All = False,
    state: p.States = None,
    queue: p.Queue = None,
    yes: Yes = False,
    changes: asking.Changed = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Run finished jobs again: the same job, with its retry budget anew; its history is kept.

    $ queuectl retry job1
    $ queuectl retry --all --queue mail      all that are dead or cancelled; --state completed for those
    $ queuectl retry 17 --timeout none       what is given is changed first, and stays so
    $ queuectl retry 17 --secret TOKEN       its secret values are forgotten once it completed: give them anew

    On a terminal it asks first, unless jobs are named.
    """
    wanted = Wanted(ids, all, queue, yes, state)
    wanted.check("retry", (*_FAILED, "completed"))
    with opening.opened(db) as q:
        if (chosen := choose(q, wanted, "retry", _FAILED)) is not None:
            changed(q, q.retry(*chosen.ids, among=chosen.among, **asking.said(changes)), json)

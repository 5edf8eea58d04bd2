"""`queuectl list`: jobs by state."""

from typing import TYPE_CHECKING, Annotated

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, progress

if TYPE_CHECKING:
    from queuectl.admission import Facts
    from queuectl.listing import Listing


def list_jobs(
    *,
    state: p.States = None,
    queue: p.Queue = None,
    since: p.Since = None,
    until: p.Until = None,
    ended_since: p.EndedSince = None,
    at: p.At = None,
    limit: Annotated[int | None, p.option("--limit", "N", "At most so many.", p.integer(1, 2**31))] = None,
    all: Annotated[
        bool, p.Parameter(name="--all", help="All of them, rather than 1,000 that wait and the last 20 that ended.")
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
    p.check_period(since, until)
    with opening.open_queue(db) as q:
        brief = not (all or json or limit is not None)
        jobs = q.jobs(
            state=state, queue=queue, since=since, until=until, ended_since=ended_since, limit=limit, brief=brief,
            then=at, progress=progress.bar("Folding the log"),
        )  # fmt: skip
        if json:
            from queuectl.documents import job_document

            output.documents(job_document(job) for job in jobs)
            return
        if not _table(jobs, q.facts() if at is None else None):
            some = at is not None or q.status().total
            output.message("no job matches" if some else "there are no jobs; add one with `queuectl enqueue COMMAND`")


def _table(jobs: "Listing", facts: "Facts | None") -> int:
    """Print jobs, a line each, and how many more there are; returns how many were printed."""
    from queuectl.cli.ui.wording import state_detail

    heads = ("ID", "STATE", "QUEUE", "PRIO", "SITUATION", "COMMAND")
    rows = (
        (
            job.id, output.Cell(job.state, job.state), job.queue, str(job.priority),
            state_detail(job, jobs.now, facts), job.command,
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

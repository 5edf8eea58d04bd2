"""`queuectl dlq`: the dead letter queue, where jobs go that have failed too often."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import App, Parameter

from queuectl.cli import enqueue as asking
from queuectl.cli import output, session
from queuectl.cli import parameters as p
from queuectl.cli.jobs import changed
from queuectl.errors import Invalid, Refused

if TYPE_CHECKING:
    from queuectl.queue import Queue

Ids = Annotated[str, Parameter(name="ID", help="The jobs; all of them are changed, or none.")]
All = Annotated[bool, Parameter(name="--all", help="All jobs in it (of --queue, if given).")]

app = App(
    name="dlq",
    help="""Look after jobs that have failed too often.

$ queuectl dlq list
$ queuectl dlq retry job1
$ queuectl dlq retry --all --queue mail""",
)


@app.command(name="list")
def list_dead(
    *,
    queue: p.Queue = None,
    since: p.Since = None,
    until: p.Until = None,
    ended_since: p.EndedSince = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """List the dead jobs, the latest death first.

    $ queuectl dlq list
    $ queuectl dlq list --ended-since -1d
    $ queuectl dlq list --json | jq -r .command
    """
    p.check_span(since, until)
    with session.opened(db) as q:
        jobs = q.jobs(state="dead", queue=queue, since=since, until=until, ended_since=ended_since)
        if json:
            from queuectl.documents import job_document

            output.documents(job_document(job) for job in jobs)
            return
        from queuectl.cli import people

        heads = ("ID", "QUEUE", "ATTEMPTS", "DIED", "CAUSE", "COMMAND")
        rows = (
            (job.id, job.queue, str(job.attempt), people.distance(job.finished_at or job.enqueued_at),
             output.Cell(people.ending(job), "dead"), job.command)
            for job in jobs
        )  # fmt: skip
        if not output.table(heads, rows, right=("ATTEMPTS",)) and output.terminal():
            output.note("the dead letter queue is empty")


@app.command
def retry(
    *ids: Ids,
    all: All = False,
    queue: p.Queue = None,
    changes: asking.Changed = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Run dead jobs again, each with its retry budget anew; attempt numbers go on.

    $ queuectl dlq retry job1 job2
    $ queuectl dlq retry --all --reason 'the disk is back'
    $ queuectl dlq retry job1 --timeout none          what is given is changed first, and stays so
    """
    _refuse(ids, all, queue, "retry")
    with session.opened(db) as q:
        chosen = _chosen(q, ids, queue)
        q.retry(*chosen, **asking.said(changes))
        changed(q, chosen, json)


@app.command
def purge(
    *ids: Ids,
    all: All = False,
    queue: p.Queue = None,
    reason: p.Reason = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Take dead jobs out of every list for good; their history stays in the log.

    $ queuectl dlq purge job1
    $ queuectl dlq purge --all --reason 'looked at, nothing to save'
    """
    _refuse(ids, all, queue, "purge")
    with session.opened(db) as q:
        chosen = _chosen(q, ids, queue)
        q.purge(*chosen, reason=reason)
        if json:
            output.documents({"id": id, "state": "purged"} for id in chosen)
            return
        for id in chosen:
            output.line(f"{output.safe(id)}  purged")


def _refuse(ids: tuple[str, ...], all: bool, queue: str | None, verb: str) -> None:
    if all == bool(ids):
        raise Invalid(f"dlq {verb} needs an ID, or --all" if not ids else "give IDs or --all, not both")
    if queue is not None and not all:
        raise Invalid("--queue goes with --all")


def _chosen(q: "Queue", ids: tuple[str, ...], queue: str | None) -> list[str]:
    """The dead jobs that are meant; all, where none is named. Raises Refused for one that is not dead, NotFound."""
    if not ids:
        found = q.dead(queue)
        if not found:
            output.note("the dead letter queue is empty")
        return found
    for id in ids:
        job = q.job(id)
        if job.state != "dead":
            raise Refused(f"job {id!r} is not in the dead letter queue, it is {job.state}")
    return list(dict.fromkeys(ids))

"""`queuectl dlq`: the dead letter queue, where jobs go that have failed too often."""

from typing import TYPE_CHECKING, Annotated

from queuectl.cli import job_options, opening
from queuectl.cli import parameters as p
from queuectl.cli.job_selection import All, JobSelection, SelectedJobs, Yes, ids_of, print_changed, select
from queuectl.cli.ui import output
from queuectl.errors import Refused
from queuectl.units import counted

if TYPE_CHECKING:
    from queuectl.queue import Queue

_DEAD = ("dead",)
Ids = Annotated[str, ids_of("dead")]


def list_dead(
    *,
    queue: p.Queue = None,
    since: p.Since = None,
    until: p.Until = None,
    ended_since: p.EndedSince = None,
    where: p.Where = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """List the dead jobs, the latest death first.

    $ queuectl dlq list
    $ queuectl dlq list --ended-since -1d
    $ queuectl dlq list --where 'tag:exp=3 cause:timeout'
    $ queuectl dlq list --json | jq -r .command
    """
    p.check_period(since, until)
    with opening.open_queue(db) as q:
        jobs = q.jobs(
            state="dead", queue=queue, since=since, until=until, ended_since=ended_since, where=where or ""
        )  # fmt: skip
        if json:
            from queuectl.documents import job_document

            output.documents(job_document(job) for job in jobs)
            return
        from queuectl.cli.ui import wording

        heads = ("ID", "QUEUE", "ATTEMPTS", "DIED", "CAUSE", "COMMAND")
        rows = (
            (job.id, job.queue, str(job.attempt), wording.relative_time(job.finished_at or job.enqueued_at),
             output.Cell(wording.end_cause(job), "dead"), job.command)
            for job in jobs
        )  # fmt: skip
        if not output.table(heads, rows, right=("ATTEMPTS",)) and output.is_terminal():
            output.message("the dead letter queue is empty")


def retry(
    *ids: Ids,
    all: All = False,
    queue: p.Queue = None,
    where: p.Where = None,
    yes: Yes = False,
    cascade: job_options.Cascade = False,
    ignore_dependencies: job_options.IgnoreDependencies = False,
    changes: job_options.ChangeOptions = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Run dead jobs again, each with its retry budget anew; attempt numbers go on.

    $ queuectl dlq retry job1 job2
    $ queuectl dlq retry --all --reason 'the disk is back'
    $ queuectl dlq retry job1 --timeout none          what is given is changed first, and stays so
    """
    selection = JobSelection(ids, all, queue, yes, where=where)
    selection.check("dlq retry", _DEAD)
    with opening.open_queue(db) as q:
        if (selected := _select_dead(q, selection, "retry")) is not None:
            retried = q.retry(
                *selected.ids,
                among=selected.among,
                cascade=cascade,
                ignore_dependencies=ignore_dependencies,
                **job_options.given_fields(changes),
            )
            print_changed(q, retried, json, "pending", unless="blocked")
            if left := len(set(selected.ids) - set(retried)):
                output.message(f"{counted(left, 'job')} left out: changed meanwhile, or another one has its unique key")


def purge(
    *ids: Ids,
    all: All = False,
    queue: p.Queue = None,
    where: p.Where = None,
    yes: Yes = False,
    reason: p.Reason = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Take dead jobs out of every list for good; their history stays in the log.

    $ queuectl dlq purge job1
    $ queuectl dlq purge --where '-ended:30d'          those that died more than 30 days ago
    $ queuectl dlq purge --all --reason 'looked at, nothing to save'
    """
    selection = JobSelection(ids, all, queue, yes, where=where)
    selection.check("dlq purge", _DEAD)
    with opening.open_queue(db) as q:
        selected = _select_dead(q, selection, "purge")
        purged = q.purge(*selected.ids, among=selected.among, reason=reason) if selected is not None else []
        if json:
            output.documents({"id": id, "state": "purged"} for id in purged)
            return
        for id in purged:
            output.line(f"{output.escape(id)}  purged")


def _select_dead(q: "Queue", selection: JobSelection, verb: str) -> SelectedJobs | None:
    """Select dead jobs as `select` does. Raises Refused for a named job that is not dead, NotFound."""
    for id in selection.ids:
        job = q.job(id)
        if job.state != "dead":
            raise Refused(f"job {id!r} is not in the dead letter queue, it is {job.state}")
    return select(q, selection, verb, _DEAD)

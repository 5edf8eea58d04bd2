"""`queuectl retry`: run jobs again that have ended."""

from typing import Annotated

from queuectl.cli import job_options, opening
from queuectl.cli import parameters as p
from queuectl.cli.job_selection import All, JobSelection, Yes, ids_of, print_changed, select
from queuectl.cli.ui import output
from queuectl.units import counted

_FAILED = ("dead", "cancelled")

_LEFT_OUT = "changed meanwhile, another one has its unique key, or it would never start for what it depends on"
Ids = Annotated[str, ids_of("ended")]


def retry(
    *ids: Ids,
    all: All = False,
    state: p.States = None,
    queue: p.Queue = None,
    where: p.Where = None,
    yes: Yes = False,
    batch: p.Batch = None,
    cascade: job_options.Cascade = False,
    ignore_dependencies: job_options.IgnoreDependencies = False,
    changes: job_options.ChangeOptions = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Run finished jobs again: the same job, with its retry budget anew; its history is kept.

    $ queuectl retry job1
    $ queuectl retry --all --queue mail      all that are dead or cancelled; --state completed for those
    $ queuectl retry --where 'exit:137 ended:1d'
    $ queuectl retry 17 --timeout none       what is given is changed first, and stays so
    $ queuectl retry 17 --secret TOKEN       its secret values are forgotten once it completed: give them anew
    $ queuectl retry build --cascade         with what was cancelled because it had failed
    $ queuectl retry --batch night           what died in a batch, and what was cancelled by its --halt

    Options that are not given change nothing: the defaults below are those of a new job. On a terminal it asks first,
    unless jobs are named.
    """
    selection = JobSelection(ids, all, queue, yes, state, where)
    fields = job_options.given_fields(changes)
    if batch is not None:
        selection.refuse_beside("--batch")
        with opening.open_queue(db) as q:
            retried = q.retry(batch=batch, cascade=cascade, ignore_dependencies=ignore_dependencies, **fields)
            print_changed(q, retried, json, "pending", unless="blocked")
            if not retried:
                output.message(f"batch {batch}: nothing that is dead or was cancelled by its halt can run again")
        return
    selection.check("retry", (*_FAILED, "completed"))
    with opening.open_queue(db) as q:
        if (selected := select(q, selection, "retry", _FAILED)) is not None:
            retried = q.retry(
                *selected.ids,
                among=selected.among,
                cascade=cascade,
                ignore_dependencies=ignore_dependencies,
                **fields,
            )
            print_changed(q, retried, json, "pending", unless="blocked")
            if cascade and (cancelled := q.cancelled_because(retried)):
                which = ", ".join(map(output.escape, cancelled[:5])) + ", …" * (len(cancelled) > 5)
                output.message(f"still cancelled: {which}; `queuectl retry ID` says why")
            if left := len(set(selected.ids) - set(retried)):
                output.message(f"{counted(left, 'job')} left out: {_LEFT_OUT}")

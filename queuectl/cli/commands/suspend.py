"""`queuectl suspend` and `continue`: jobs that run are stopped for a while."""

from typing import Annotated

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.job_selection import All, JobSelection, Yes, ids_of, print_changed, select

_RUNNING = ("processing",)
Running = Annotated[str, ids_of("running")]
Suspended = Annotated[str, ids_of("suspended")]


def suspend(
    *ids: Running,
    all: All = False,
    queue: p.Queue = None,
    where: p.Where = None,
    yes: Yes = False,
    reason: p.Reason = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Suspend jobs that run, until they are continued: their processes get no CPU (SIGSTOP).

    $ queuectl suspend 17 --reason 'the machine is needed'
    $ queuectl continue 17
    $ queuectl suspend --queue encode

    A suspended job keeps its slot and its memory; the clock of its timeout stands still. `queuectl cancel` ends it
    all the same. On a terminal it asks first, unless jobs are named.
    """
    selection = JobSelection(ids, all, queue, yes, where=where)
    selection.check("suspend", _RUNNING)
    with opening.open_queue(db) as q:
        if (selected := select(q, selection, "suspend", _RUNNING)) is not None:
            print_changed(q, q.suspend(*selected.ids, among=selected.among, reason=reason), json, "suspended")


def continue_(
    *ids: Suspended,
    all: All = False,
    queue: p.Queue = None,
    where: p.Where = None,
    yes: Yes = False,
    reason: p.Reason = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Let suspended jobs go on.

    $ queuectl continue 17
    $ queuectl continue --all

    What `pause --suspend` has suspended goes on with `resume`, too. On a terminal it asks first, unless jobs are named.
    """
    selection = JobSelection(ids, all, queue, yes, where=where)
    selection.check("continue", _RUNNING)
    with opening.open_queue(db) as q:
        if (selected := select(q, selection, "continue", _RUNNING)) is not None:
            print_changed(q, q.continue_(*selected.ids, among=selected.among, reason=reason), json, "goes on")

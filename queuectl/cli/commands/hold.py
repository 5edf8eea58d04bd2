"""`queuectl hold`, `release` and `start`: whether single jobs that wait may start."""

from typing import Annotated

from queuectl.admission import UNSTARTED
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.job_selection import All, JobSelection, Yes, ids_of, print_changed, select
from queuectl.errors import Invalid

_WAITING = UNSTARTED
Waiting = Annotated[str, ids_of("waiting")]
Held = Annotated[str, ids_of("held")]
Unstarted = Annotated[str, ids_of("unstarted")]


def hold(
    *ids: Waiting,
    all: All = False,
    state: p.States = None,
    queue: p.Queue = None,
    where: p.Where = None,
    yes: Yes = False,
    reason: p.Reason = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Keep jobs that wait from starting, until they are released.

    $ queuectl hold 17 18 --reason 'the data is not there yet'
    $ queuectl hold --queue mail
    $ queuectl hold --where tag:exp=3

    A held job keeps its state and its place; what runs can't be held. On a terminal it asks first, unless jobs are
    named.
    """
    selection = JobSelection(ids, all, queue, yes, state, where)
    selection.check("hold", _WAITING)
    with opening.open_queue(db) as q:
        if (selected := select(q, selection, "hold", _WAITING)) is not None:
            print_changed(q, q.hold(*selected.ids, among=selected.among, reason=reason), json, "held")


def release(
    *ids: Held,
    all: All = False,
    state: p.States = None,
    queue: p.Queue = None,
    where: p.Where = None,
    yes: Yes = False,
    reason: p.Reason = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Let held jobs start.

    $ queuectl release 17 18
    $ queuectl release --all

    On a terminal it asks first, unless jobs are named.
    """
    selection = JobSelection(ids, all, queue, yes, state, where)
    selection.check("release", _WAITING)
    with opening.open_queue(db) as q:
        if (selected := select(q, selection, "release", _WAITING)) is not None:
            print_changed(q, q.release(*selected.ids, among=selected.among, reason=reason), json)


def start(*ids: Unstarted, reason: p.Reason = None, json: p.JsonLines = False, db: p.Database = None) -> None:
    """Start jobs that wait next, once: past pause, hold, delay, concurrency and rate.

    $ queuectl start 17

    A free slot of a worker is still needed. What is started so counts against the limits of its queue.
    """
    if not ids:
        raise Invalid("start needs an ID")
    with opening.open_queue(db) as q:
        print_changed(q, q.start(*ids, reason=reason), json, "starts next")

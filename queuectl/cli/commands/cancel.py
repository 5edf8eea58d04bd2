"""`queuectl cancel`: end jobs that wait or run."""

from typing import Annotated

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.job_selection import All, JobSelection, Yes, ids_of, print_changed, select
from queuectl.option_kinds import SIGNAL

Signal = Annotated[
    str | None,
    p.option(
        "--signal",
        "SIGNAL",
        "Ask what runs to end by this signal (INT, SIGINT or 2) instead of its --stop-signal; KILL ends it at once. A "
        "further cancel may send another one.",
        SIGNAL.read,
    ),
]
_UNENDED = ("pending", "blocked", "processing", "failed")
Ids = Annotated[str, ids_of("unended")]


def cancel(
    *ids: Ids,
    all: All = False,
    state: p.States = None,
    queue: p.Queue = None,
    where: p.Where = None,
    yes: Yes = False,
    signal: Signal = None,
    reason: p.Reason = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Cancel jobs: a waiting one at once, a running one is ended and stays `processing` until it is gone.

    $ queuectl cancel job1
    $ queuectl cancel 17 18 --reason 'wrong folder'
    $ queuectl cancel 17 --signal KILL
    $ queuectl cancel --queue mail --state pending,failed
    $ queuectl cancel --where 'tag:exp=3 -by:ann*'

    What runs is sent its --stop-signal, and killed after its --grace. Of --all are those that wait or run. On a
    terminal it asks first, unless jobs are named.
    """
    selection = JobSelection(ids, all, queue, yes, state, where)
    selection.check("cancel", (*_UNENDED, "dead"))
    with opening.open_queue(db) as q:
        if (selected := select(q, selection, "cancel", _UNENDED)) is not None:
            print_changed(q, q.cancel(*selected.ids, among=selected.among, reason=reason, signal=signal), json)

"""`queuectl cancel`: end jobs that wait or run."""

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.job_selection import All, Ids, JobSelection, Yes, print_changed, select

_UNENDED = ("pending", "blocked", "processing", "failed")


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
    selection = JobSelection(ids, all, queue, yes, state)
    selection.check("cancel", (*_UNENDED, "dead"))
    with opening.open_queue(db) as q:
        if (selected := select(q, selection, "cancel", _UNENDED)) is not None:
            print_changed(q, q.cancel(*selected.ids, among=selected.among, reason=reason), json)

"""`queuectl logs`: what a command wrote."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from projections.jobs import FINAL
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, stream
from queuectl.cli.ui.hint import WaitHint
from queuectl.errors import Invalid, NotFound, OutputGone, Refused

if TYPE_CHECKING:
    from queuectl.queue import Queue


Follow = Annotated[
    bool,
    p.Parameter(
        name=["--follow", "-f"],
        help="Go on until each job has ended, through its retries (with --attempt: until that has ended).",
    ),
]


def logs(
    *ids: Annotated[
        str,
        p.Parameter(
            name="ID",
            help="The jobs: their ids, or the beginnings of those given with --id. None named: what runs now.",
        ),
    ],
    attempt: Annotated[
        int | None,
        p.option("--attempt", "N", "Of this attempt of one job. [default: the last one]", p.integer(1, 2**31)),
    ] = None,
    where: p.Where = None,
    batch: p.Batch = None,
    follow: Follow = False,
    tail: Annotated[int | None, p.option(["--tail", "-n"], "N", "Only the last N lines.", p.integer(0, 2**31))] = None,
    raw: Annotated[
        bool, p.Parameter(name="--raw", help="Of a progress bar everything that was written, not only its last state.")
    ] = False,
    db: p.Database = None,
) -> int:
    """Show what jobs wrote (stdout and stderr, as they came): those named, or those that run now.

    $ queuectl logs --follow
    $ queuectl logs job1 --tail 20
    $ queuectl logs 17 18 --follow
    $ queuectl logs --where 'state:dead tag:exp=3' --tail 5
    $ queuectl logs --batch night --follow
    $ queuectl logs 17 --attempt 1 | less

    Piped, the bytes are as they were written. On a terminal a progress bar that ran is shown as it was last, colours
    are kept, and whatever could move the cursor or do worse is escaped. --tail counts what ends in a line feed, and
    begins with the last state of a progress bar. Of several jobs each line stands behind the id of its job, once it is
    whole; --tail is of each.
    """
    if attempt is not None and len(ids) != 1:
        raise Invalid("--attempt: numbers the attempts of one job: name that one")
    with opening.open_queue(db) as q:
        selected = _selected(q, ids, where, batch, follow)
        if len(selected) > 1:
            if follow:
                stream.follow_all(q, selected, tail, WaitHint(q, selected), raw)
                return 0
            shown = _show_all(q, selected, tail, raw)
            return int(bool(ids) and not shown)
        for id in selected:
            if not follow:
                stream.show(q.output(id, attempt), tail, raw)
                continue
            job = q.job(id)
            if attempt is not None and attempt > job.attempt:
                raise NotFound(f"job {id} has no attempt {attempt}")
            if job.state in FINAL:
                _refuse_gone(q, id, attempt or job.attempt)
            stream.follow(q, id, attempt, tail, WaitHint(q, [id]), raw=raw)
    return 0


def _show_all(q: "Queue", ids: Sequence[str], tail: int | None, raw: bool) -> bool:
    """Print the output of each job, or a message if it has none; return whether all have some."""
    complete = True
    for id, printer in stream.prefixed_printers(ids, raw).items():
        try:
            stream.show(q.output(id), tail, raw, printer)
        except NotFound as error:
            complete = False
            output.message(str(error))
    return complete


def _selected(q: "Queue", ids: Sequence[str], where: str | None, batch: str | None, follow: bool) -> list[str]:
    """Return the named jobs, those of a filter and a batch, or else those that run; print a message if there are none.

    Raises Invalid, NotFound.
    """
    if where is None and batch is None:
        return list(dict.fromkeys(map(q.resolve, ids))) if ids else _running(q, follow)
    if ids:
        raise Invalid(f"give IDs or {'--where' if where is not None else '--batch'}, not both")
    if batch is not None:
        q.batch(batch)
    found = [job.id for job in q.jobs(where=where or "", batch=batch)]
    if not found:
        output.message("no job matches")
    return found


def _running(q: "Queue", follow: bool) -> list[str]:
    """Return the running jobs in order of claim, or print a message; `follow` leaves out those that would never end."""
    jobs = sorted(q.jobs(state="processing"), key=lambda job: (job.claimed_at or 0, job.seq))
    running = [job.id for job in jobs if not (follow and _own(q, job.id))]
    if not running:
        ended = "there is no job that has ended"
        for last in q.jobs(state=tuple(FINAL), limit=1):
            ended = f"the last that ended is {last.id}: `queuectl logs {shlex.quote(last.id)}`"
        output.message(f"nothing{' else' if jobs else ''} runs now; {ended}")
    return running


def _own(q: "Queue", id: str) -> bool:
    try:
        q.refuse_own(id)
    except Refused:
        return True
    return False


def _refuse_gone(q: "Queue", id: str, attempt: int) -> None:
    """Raise OutputGone if the file to follow is gone for good."""
    try:
        q.output(id, attempt)
    except OutputGone:
        raise
    except NotFound:
        pass  # it ended without output

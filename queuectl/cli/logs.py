"""`queuectl logs`: what a command wrote."""

from typing import Annotated

from cyclopts import Parameter

from queuectl.cli import parameters as p
from queuectl.cli import session, stream
from queuectl.cli.hint import Hint
from queuectl.errors import NotFound


def logs(
    id: p.Job,
    /,
    *,
    attempt: Annotated[
        int | None, p.option("--attempt", "N", "Of this attempt. [default: the last one]", p.count(1, 2**31))
    ] = None,
    follow: Annotated[
        bool,
        Parameter(
            name=["--follow", "-f"],
            help="Go on until the job has ended, through its retries (with --attempt: until that has ended).",
        ),
    ] = False,
    tail: Annotated[int | None, p.option(["--tail", "-n"], "N", "Only the last N lines.", p.count(0, 2**31))] = None,
    raw: Annotated[
        bool, Parameter(name="--raw", help="Of a progress bar everything that was written, not only its last state.")
    ] = False,
    db: p.Database = None,
) -> None:
    """Show what a job wrote (stdout and stderr, as they came).

    $ queuectl logs job1 --tail 20
    $ queuectl logs 17 --follow
    $ queuectl logs 17 --attempt 1 | less

    Piped, the bytes are as they were written. On a terminal a progress bar that ran is shown as it was last, colours
    are kept, and whatever could move the cursor or do worse is escaped. --tail counts what ends in a line feed, and
    begins with the last state of a progress bar.
    """
    with session.opened(db) as q:
        id = q.resolve(id)
        if not follow:
            stream.show(q.output(id, attempt), tail, raw)
            return
        if attempt is not None and attempt > q.job(id).attempt:
            raise NotFound(f"job {id} has no attempt {attempt}")
        stream.follow(q, id, attempt, tail, Hint(q, [id]), raw=raw)

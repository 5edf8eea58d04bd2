"""`queuectl note`: a line in the history of a job."""

from typing import Annotated

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.errors import Invalid


def note(
    *text: Annotated[str, p.Parameter(name="TEXT", help="What is noted: up to 1,000 characters.")],
    job: Annotated[
        str | None, p.option("--job", "ID", "Of this job, from outside. [default: the one in which it runs]")
    ] = None,
    db: p.Database = None,
) -> None:
    """Note something of a job: a command inside of it, or with --job anybody.

    $ queuectl note 'epoch 4: loss 0.31'
    $ queuectl note --job 17 'fails since the driver was updated'

    A note stands in the log, with its attempt, who made it and when; `inspect` shows it, and `list` finds jobs by its
    words. An attempt can make 100 of them; how far it has come is told by `queuectl progress` instead.
    """
    if not text:
        raise Invalid("note: say what is to be noted, as in: queuectl note 'epoch 4: loss 0.31'")
    with opening.open_queue(db) as q:
        q.note(" ".join(text), q.resolve(job, prefix=False) if job is not None else None)

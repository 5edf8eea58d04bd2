"""`queuectl progress`: how far the job is in which the command runs."""

import os
from typing import Annotated

from queuectl import units
from queuectl.cli import parameters as p
from queuectl.errors import Invalid


def progress(
    percent: Annotated[str, p.Parameter(name="PERCENT", help="How much is done, from 0 to 100.")],
    /,
    *text: Annotated[str, p.Parameter(name="TEXT", help="What it is at: up to 200 characters.")],
) -> None:
    """Say how far a job is, from inside of it.

    $ queuectl progress 40 epoch 4
    $ echo 40 epoch 4 >$QUEUECTL_PROGRESS

    Both do the same: the last line of that file counts. `list`, `inspect`, `wait` and `run` show it, with the time at
    which the job should be done. Nothing of it is an event: its worker takes the latest into its heartbeat, every five
    seconds, and into the end of the attempt.
    """
    from queuectl.progress import write

    path = os.environ.get("QUEUECTL_PROGRESS")
    if not path:
        raise Invalid("progress: this is not inside a job: only its own command can tell how far it is")
    try:
        done = units.number(percent.removesuffix("%"), 0, 100)
    except Invalid as error:
        raise Invalid(f"progress: {error}") from None
    write(path, done, " ".join(text))

"""Opening the queue that a command works on."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuectl.queue import Queue


def opened(db: str | None, logs: str | None = None) -> "Queue":
    """The queue in the database that the flag, the environment or .env names; with a bar while it heals.

    Raises Unusable, Invalid.
    """
    from queuectl.cli import output
    from queuectl.config import database
    from queuectl.queue import Queue, caller

    bar = output.progress("Rebuilding the views")
    return Queue(database(db), actor=f"cli:{caller()}", logs=logs, progress=bar)

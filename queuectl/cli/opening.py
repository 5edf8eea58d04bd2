"""Opening the queue that a command works on."""

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuectl.audit.verify import AuditedQueue
    from queuectl.errors import Absent
    from queuectl.queue import Queue
    from queuectl.settings import DatabaseName


def open_queue(db: str | None, logs: str | None = None, *, create: bool = False, follow: bool = False) -> "Queue":
    """Open the queue in the database that the flag, the environment or .env names.

    `create` makes a missing database, with a message if its path was given explicitly. Without `create`, a missing
    database at an explicit path is an error; at the default path an empty queue is returned, or with `follow` the
    queue once it exists. A progress bar is drawn while tables are rebuilt.

    Raises Unusable (Absent for a missing database), Invalid.
    """
    gc.disable()  # what is loaded stays to the end: to look through it for garbage takes a tenth of the start
    from queuectl import engines
    from queuectl.cli.ui import output, progress
    from queuectl.errors import Absent, shown
    from queuectl.host.user import caller
    from queuectl.queue import Queue
    from queuectl.settings import database

    named = database(db)
    engines.load(named.path)
    gc.freeze()
    gc.enable()
    bar = progress.bar("Rebuilding the views")
    actor = f"cli:{caller()}"
    try:
        q = Queue(named.path, create=create, actor=actor, logs=logs, progress=bar)
    except Absent as error:
        _refuse_explicit(named, error)
        from queuectl.cli.missing_queue import empty_queue, wait_for_queue

        return wait_for_queue(named.path, actor, logs) if follow else empty_queue(named.path, actor)
    if q.made and named.source is not None:
        output.message(f"made a new queue at {shown(q.url)}")
    return q


def open_with(db: str | None, opener: "Callable[[str], AuditedQueue]") -> "AuditedQueue | Queue":
    """Open the same database by `opener`, which takes its path, or an empty queue as `open_queue` does."""
    from queuectl.errors import Absent
    from queuectl.settings import database

    named = database(db)
    try:
        return opener(named.path)
    except Absent as error:
        _refuse_explicit(named, error)
        from queuectl.cli.missing_queue import empty_queue

        return empty_queue(named.path, "cli")


def _refuse_explicit(named: "DatabaseName", error: "Absent") -> None:
    """Raise Absent if the path of the missing database was given explicitly."""
    if named.source is not None:
        raise type(error)(f"{error}, named by {named.source}; `queuectl enqueue` would make a new one") from None

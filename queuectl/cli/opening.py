"""Opening the queue that a command works on."""

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from queuectl.audit.verify import Accused
    from queuectl.errors import Absent
    from queuectl.queue import Queue
    from queuectl.settings import Named


def open_queue(db: str | None, logs: str | None = None, *, create: bool = False, follow: bool = False) -> "Queue":
    """The queue in the database that the flag, the environment or .env names; with a bar while it heals.

    Where there is none, `create` makes it, and says so at a path that somebody named. Otherwise a named one that is not
    there is an error, and the user's own that is not there yet an empty queue; `follow` waits until that is made.

    Raises Unusable (Absent where the named one is not there), Invalid.
    """
    from queuectl.cli.ui import output
    from queuectl.errors import Absent, shown
    from queuectl.queue import Queue, caller
    from queuectl.settings import database

    named = database(db)
    bar = output.progress("Rebuilding the views")
    actor = f"cli:{caller()}"
    try:
        q = Queue(named.path, create=create, actor=actor, logs=logs, progress=bar)
    except Absent as error:
        refuse_named(named, error)
        from queuectl.cli.absent_queue import appeared, empty

        return appeared(named.path, actor, logs) if follow else empty(named.path, actor)
    if q.made and named.source is not None:
        output.message(f"made a new queue at {shown(q.url)}")
    return q


def open_with(db: str | None, look: "Callable[[str], Accused]") -> "Accused | Queue":
    """The same for a command that opens the queue in a way of its own, by `look`, and never makes it."""
    from queuectl.errors import Absent
    from queuectl.settings import database

    named = database(db)
    try:
        return look(named.path)
    except Absent as error:
        refuse_named(named, error)
        from queuectl.cli.absent_queue import empty

        return empty(named.path, "cli")


def refuse_named(named: "Named", error: "Absent") -> None:
    """Raise Absent where somebody has named the database that is not there."""
    if named.source is not None:
        raise type(error)(f"{error}, named by {named.source}; `queuectl enqueue` would make a new one") from None

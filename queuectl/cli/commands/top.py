"""`queuectl top`: a queue on a screen that goes on being drawn."""

import os
import sys
from typing import TYPE_CHECKING

from queuectl import filters
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.errors import Invalid

if TYPE_CHECKING:
    from queuectl.queue import Queue


def top(*, where: p.Where = None, db: p.Database = None) -> None:
    """Watch a queue on the whole terminal: what runs and what it wrote last, what waits and why, what died.

    $ queuectl top
    $ queuectl top --where 'queue:gpu tag:exp=3'

    q, or Ctrl-C, ends it. Of jobs that have ended it shows those that died, and others where --where names their state.
    """
    terms = filters.parse(where or "")
    _refuse_without_terminal()
    with opening.open_queue(db, follow=True) as first:
        access, actor, logs = first.engine.access, first.actor, first.logs

    def connect() -> "Queue":
        from queuectl.queue import Queue

        return Queue(access, create=False, actor=actor, logs=logs)

    from queuectl.cli.top import live_view

    live_view.show(connect, terms, "q quits")


def _refuse_without_terminal() -> None:
    """Raise Invalid where no screen can be drawn."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Invalid("top needs a terminal: `queuectl status` and `queuectl list` answer without one")
    if os.environ.get("TERM") in (None, "", "dumb"):
        raise Invalid("top needs a terminal that can be drawn on (TERM is dumb): see `queuectl status`")

"""`queuectl top`: a queue on a screen that goes on being drawn."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

from queuectl import filters
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.errors import Invalid

if TYPE_CHECKING:
    from queuectl.queue import Queue


HINT = "q quits; with keys and a mouse: pip install 'queuectl-eventlog[tui]'"
"""The last line of the screen where Textual is not installed."""


def top(
    *,
    where: p.Where = None,
    read_only: Annotated[
        bool, p.Parameter(name="--read-only", help="Only look: without the keys that change anything.")
    ] = False,
    db: p.Database = None,
) -> int:
    """Watch a queue on the whole terminal: what runs and what it wrote last, what waits and why, what died.

    $ queuectl top
    $ queuectl top --where 'queue:gpu tag:exp=3'
    $ queuectl top --read-only

    The keys are in the last line, and all of them behind `?`: to follow the output of a job, to retry, cancel, hold,
    suspend, start or edit it, to pause its queue, to filter. q ends it. That takes the extra `tui` (pip install
    'queuectl-eventlog[tui]'); without it the screen can only be looked at. Of jobs that have ended it shows those that
    died, and others where the filter names their state.
    """
    terms = filters.parse(where or "")
    _refuse_without_terminal()
    with opening.open_queue(db, follow=True) as first:
        access, actor, logs = first.engine.access, first.actor, first.logs

    def connect() -> "Queue":
        from queuectl.queue import Queue

        return Queue(access, create=False, actor=actor, logs=logs)

    try:
        from queuectl.cli.top import app
    except ImportError as error:
        if (error.name or "").partition(".")[0] != "textual":
            raise
        from queuectl.cli.top import live_view

        live_view.show(connect, terms, HINT)
        return 0
    return app.run(connect, where or "", read_only=read_only)


def _refuse_without_terminal() -> None:
    """Raise Invalid where no screen can be drawn."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise Invalid("top needs a terminal: `queuectl status` and `queuectl list` answer without one")
    if os.environ.get("TERM") in (None, "", "dumb"):
        raise Invalid("top needs a terminal that can be drawn on (TERM is dumb): see `queuectl status`")

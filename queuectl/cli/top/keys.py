"""The keys of the screen: what each does, in which pane, and in which words the footer and the help say so."""

from collections.abc import Sequence

import msgspec
from textual.binding import Binding

from queuectl.cli.ui import output


class Key(msgspec.Struct, frozen=True):
    """A key."""

    key: str
    """As Textual names it."""
    action: str
    words: str
    """In the footer."""
    help: str
    panes: tuple[str, ...] = ()
    """In which it does anything; empty: everywhere."""
    changes: bool = False
    """Whether it changes anything: such keys are not there where nothing is to be changed."""
    shown: str | None = None
    """The key as it is written; None: as it is named."""


JOBS = ("running", "waiting", "ended")

KEYS = (
    Key("enter", "details", "Details", "all about the job, as `inspect` has it, and its history", JOBS),
    Key("l", "log", "Log", "the output of the job as it grows", JOBS),
    Key("r", "retry", "Retry", "run a job again that has ended", ("ended",), changes=True),
    Key("c", "cancel", "Cancel", "cancel the job", ("running", "waiting"), changes=True),
    Key("h", "hold", "Hold", "hold a job that waits, or let it go", ("waiting",), changes=True),
    Key("s", "start", "Start", "start a job that waits next, past pause and limits", ("waiting",), changes=True),
    Key("u", "suspend", "Suspend", "suspend a job that runs, or let it go on", ("running",), changes=True),
    Key("e", "edit", "Edit", "change what was asked of the job, in $VISUAL or $EDITOR", JOBS, changes=True),
    Key("p", "pause", "Pause", "pause or resume the queue under the cursor, or of the job", changes=True),
    Key("P", "pause_all", "", "pause all queues, or resume them", changes=True),
    Key("slash", "filter", "Filter", "show only the jobs that a filter finds, as `list` takes it", shown="/"),
    Key("z", "zoom", "", "show this pane alone, or all of them again"),
    Key("question_mark", "help", "Help", "this page", shown="?"),
    Key("q", "quit", "Quit", "end; nothing that runs is touched"),
)

MOVES = (
    ("Tab, Shift+Tab", "the next pane, the one before"),
    ("↑ ↓, j k, PgUp PgDn", "another job"),
    ("Home End, g G", "the first, the last"),
    ("Mouse", "a click chooses, two show details, the wheel scrolls"),
)

BINDINGS = [
    Binding(each.key, each.action, each.words, show=bool(each.words), key_display=each.shown, tooltip=each.help)
    for each in KEYS
]
OF_ACTION = {each.action: each for each in KEYS}


def help_lines(*, read_only: bool) -> Sequence[str]:
    """Return the page that explains the keys."""
    rows = [
        (each.shown or (each.key if len(each.key) == 1 else each.key.capitalize()), each.help)
        for each in KEYS
        if not (read_only and each.changes)
    ]
    return [output.paint("Keys", "bold"), "", *output.field_lines((*rows, *MOVES))]

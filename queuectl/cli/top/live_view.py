"""The screen without Textual: drawn over and over on the terminal, to be looked at only."""

import os
import sys
import termios
import tty
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from queuectl.cli.top.heights import shared
from queuectl.cli.top.last_lines import LastLines
from queuectl.cli.top.panes import PaneContent, panes, summary
from queuectl.cli.top.watch import QueueWatch
from queuectl.cli.ui import output
from queuectl.cli.ui.live_screen import LiveScreen
from queuectl.overview import Overview

if TYPE_CHECKING:
    from queuectl.filters import Term
    from queuectl.queue import Queue

_ROOMY = 28
"""Lines from which on there is a blank one above each pane."""
_QUITS = b"qQ\x03\x04"


def show(connect: "Callable[[], Queue]", terms: "Sequence[Term]", hint: str) -> None:
    """Draw a queue until q is pressed, or Ctrl-C. `hint`: the last line."""
    screen = LiveScreen()
    written: dict[str, str] = {}
    with _keys() as keyboard, closing(QueueWatch(connect, terms)) as watch, closing(LastLines()) as lines:
        while True:
            watch.look()
            columns, rows = screen.size
            if (seen := watch.seen) is not None:
                if watch.queue is not None:
                    jobs = [each.job for each in seen.running[:rows]] + seen.ended[:rows]
                    written = lines.read(watch.queue, jobs)
                screen.draw([*drawn(seen, written, columns, rows - 2), _last_line(watch.trouble, hint)])
            else:
                screen.draw([_last_line(watch.trouble, hint)])
            if watch.wait(keyboard) and set(os.read(keyboard, 1024)) & {*_QUITS}:
                return


def _last_line(trouble: str, hint: str) -> str:
    return output.paint(output.escape(trouble), "dead") if trouble else output.paint(hint, "dim")


def drawn(seen: Overview, written: dict[str, str], columns: int, rows: int) -> list[str]:
    """Return the lines of a screen of this size."""
    contents = [each for each in panes(seen, written, columns, rows) if each.rows]
    blank = [""] * (rows >= _ROOMY)
    fixed = sum(2 + len(blank) + len(each.notes) for each in contents)
    sizes = shared([len(each.rows) for each in contents], rows - 1 - fixed)
    lines = [output.escape(summary(seen))]
    for content, size in zip(contents, sizes, strict=True):
        lines += [*blank, *_pane_lines(content, size, columns)]
    return [*lines[:rows], *[""] * (rows - len(lines))]


def _pane_lines(content: PaneContent, size: int, columns: int) -> list[str]:
    notes = [output.paint(f"  {output.escape(note)}", "dim") for note in content.notes]
    table = output.table_lines(content.heads, [row.cells for row in content.rows[:size]], content.right, columns)
    return [output.paint(content.title, "bold"), *notes, *table]


@contextmanager
def _keys() -> Generator[int]:
    """Have the terminal give each key at once, without showing it."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setcbreak(fd)
    try:
        yield fd
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)

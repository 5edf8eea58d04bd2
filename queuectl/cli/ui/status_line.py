"""The line on stderr that is drawn over and over in one place, on a terminal only; all else that is printed clears it.

It is drawn with plain characters: importing rich costs more than most of the work that it tells of.
"""

import os
import sys

from queuectl import clock

QUIET = 0.5
"""Seconds after output on the same terminal for which nothing is drawn below it: it would flicker."""


class _Terminal:
    """What is known of the terminal's last line."""

    shown = False
    """Whether the line is there."""
    taken = False
    """Whether output that has not ended its line stands there: a progress bar of a job, perhaps."""
    free_at = 0.0
    """From when on (monotonic seconds) the line may be drawn."""


def is_possible() -> bool:
    """Whether the line can be drawn: stderr is a terminal."""
    return sys.stderr.isatty()


def width() -> int:
    """Columns that the line may have: one less than the terminal, whose cursor must stay in it."""
    try:
        columns = os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        columns = 0
    return (columns or 80) - 1


def draw(text: str) -> None:
    """Draw the line, in the place of what it was before; `text` has no more columns than there are."""
    if _Terminal.taken or clock.monotonic() < _Terminal.free_at:
        return
    sys.stderr.write(f"\r\x1b[K{text}")
    sys.stderr.flush()
    _Terminal.shown = True


def clear() -> None:
    """Remove the line, if it is there, before something else is printed."""
    if _Terminal.shown:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()
        _Terminal.shown = False


def printed(*, mid_line: bool) -> None:
    """Note that output was printed on the terminal, and whether it has left its last line unfinished."""
    _Terminal.taken = mid_line
    _Terminal.free_at = clock.monotonic() + QUIET

"""A screen that is drawn anew, over what it showed: it is not erased before, so that nothing flickers.

It is the terminal's ordinary screen: what was drawn last stays when the command ends, however it does.
"""

import os
import sys
from collections.abc import Iterable

from queuectl.cli.ui.terminal import truncate

_HOME, _ERASE_ALL, _ERASE_LINE, _ERASE_BELOW = "\x1b[H", "\x1b[2J", "\x1b[K", "\x1b[J"


class LiveScreen:
    """The terminal behind stdout."""

    def __init__(self) -> None:
        self._drawn: tuple[int, int] | None = None
        """The size at which it was drawn."""

    @property
    def size(self) -> tuple[int, int]:
        """Its columns and its lines."""
        try:
            columns, lines = os.get_terminal_size(sys.stdout.fileno())
        except OSError:
            columns = lines = 0
        return columns or 80, lines or 24

    def draw(self, lines: Iterable[str]) -> None:
        """Show these lines, each truncated to the width, as many as there is room for."""
        size = columns, rows = self.size
        body = "".join(f"{truncate(line, columns)}{_ERASE_LINE}\n" for line in [*lines][: rows - 1])
        start = _HOME if self._drawn == size else _ERASE_ALL + _HOME
        sys.stdout.write(start + body + _ERASE_BELOW)
        sys.stdout.flush()
        self._drawn = size

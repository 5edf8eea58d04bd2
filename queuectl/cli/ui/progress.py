"""The progress bar on stderr, drawn with plain characters: importing rich costs more than most of the work measured."""

import sys
from collections.abc import Callable
from typing import ClassVar

from queuectl import clock


def bar(what: str, delay: float = 1.0) -> Callable[[int, int], None]:
    """Return a function `(done, total)` that draws a bar on stderr, from `delay` seconds on.

    Total 0 means unknown. Without a terminal the function does nothing. The bar is cleared when done reaches total, and
    by `clear`.
    """
    if not sys.stderr.isatty():
        return lambda done, total: None
    return _ProgressBar(what, delay)


def clear() -> None:
    """Remove the bar that is on the terminal, if any, before something else is printed."""
    if _ProgressBar.shown is not None:
        _ProgressBar.shown.clear()


class _ProgressBar:
    shown: ClassVar["_ProgressBar | None"] = None
    """The bar that is on the terminal now."""

    def __init__(self, what: str, delay: float) -> None:
        self.what = what
        self.next_draw = clock.monotonic() + delay

    def clear(self) -> None:
        """Remove this bar from the terminal."""
        if _ProgressBar.shown is self:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            _ProgressBar.shown = None

    def __call__(self, done: int, total: int) -> None:
        now = clock.monotonic()
        if 0 < total <= done:
            self.clear()
        elif now >= self.next_draw:
            self.next_draw = now + 0.1
            _ProgressBar.shown = self
            blocks = f" {'█' * (24 * done // total):░<24} {100 * done // total:3d} %" if total > 0 else ""
            of = f" of {total:,}" if total > 0 else ""
            sys.stderr.write(f"\r\x1b[K{self.what}{blocks}  {done:,}{of}")
            sys.stderr.flush()

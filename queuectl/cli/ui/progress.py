"""The progress bar on stderr."""

from collections.abc import Callable

from queuectl import clock
from queuectl.cli.ui import status_line


def bar(what: str, delay: float = 1.0) -> Callable[[int, int], None]:
    """Return a function `(done, total)` that draws a bar on stderr, from `delay` seconds on.

    Total 0 means unknown. Without a terminal the function does nothing. The bar is cleared when done reaches total, and
    when something is printed.
    """
    if not status_line.is_possible():
        return lambda done, total: None
    return _ProgressBar(what, delay)


class _ProgressBar:
    def __init__(self, what: str, delay: float) -> None:
        self.what = what
        self.next_draw = clock.monotonic() + delay

    def __call__(self, done: int, total: int) -> None:
        now = clock.monotonic()
        if 0 < total <= done:
            status_line.clear()
        elif now >= self.next_draw:
            self.next_draw = now + 0.1
            status_line.draw(f"{self.what}{counted(done, total)}")


def counted(done: int, total: int) -> str:
    """Return `(done, total)` as a bar with numbers, to follow a title; without the bar where the total is unknown."""
    if total <= 0:
        return f"  {done:,}"
    return f" {'█' * (24 * done // total):░<24} {100 * done // total:3d} %  {done:,} of {total:,}"

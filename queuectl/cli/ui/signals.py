"""Signals that ask a command to end, for one that has something to put in order before it does."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class SignalInterrupt(KeyboardInterrupt):
    """Raised at SIGTERM and SIGHUP as KeyboardInterrupt is at SIGINT."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        """The signal's; 128 more is the exit code."""


@contextmanager
def interruptible() -> Generator[None]:
    """Raise SignalInterrupt at SIGTERM and SIGHUP in this context, unless they were ignored from the start (nohup)."""
    old = {
        number: signal.signal(number, _raise)
        for number in (signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) == signal.SIG_DFL
    }
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)


def _raise(number: int, frame: FrameType | None) -> None:
    raise SignalInterrupt(number)

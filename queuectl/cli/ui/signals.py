"""SIGTERM and SIGHUP as exceptions, for commands that clean up before they end."""

import signal
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType


class SignalInterrupt(KeyboardInterrupt):
    """Raised at SIGTERM and SIGHUP as KeyboardInterrupt is at SIGINT."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number
        """The signal number; the exit code is 128 more."""


@contextmanager
def interruptible() -> Generator[None]:
    """Raise SignalInterrupt at SIGTERM and SIGHUP in this context, unless they are ignored (nohup)."""
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


@contextmanager
def held_back() -> Generator[None]:
    """Raise at the end of this context what a first SIGINT, SIGTERM or SIGHUP would have raised in it; a next at once.

    What is done here is then known to be done, or not, before the signal counts.
    """
    old = {
        number: handler
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if callable(handler := signal.getsignal(number))
    }
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        came.append(number)
        if len(came) > 1:
            old[signal.Signals(number)](number, frame)

    for number in old:
        signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in old.items():
            signal.signal(number, handler)
    for number in came[:1]:
        old[signal.Signals(number)](number, None)


def _raise(number: int, frame: FrameType | None) -> None:
    raise SignalInterrupt(number)

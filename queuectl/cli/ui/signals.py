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


def _raise(number: int, frame: FrameType | None) -> None:
    raise SignalInterrupt(number)

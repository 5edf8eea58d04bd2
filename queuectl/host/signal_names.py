"""Signals by name: `INT`, `USR1`, `RTMIN+3`. Unlike some numbers, names are the same on every kind of processor."""

import re
import signal
from functools import cache

_VALID = frozenset(map(int, signal.valid_signals()))


@cache
def number(name: str) -> int:
    """The number of a signal by its name, in any case, with or without `SIG`, or by its number in digits.

    Raises ValueError for what names none that a program can be sent.
    """
    word = name.strip().upper().removeprefix("SIG")
    if re.fullmatch(r"\d{1,3}", word, re.ASCII):
        found = int(word)
    elif counted := re.fullmatch(r"RT(MIN\+|MAX-)(\d{1,3})", word, re.ASCII):
        found = signal.SIGRTMIN + int(counted[2]) if counted[1] == "MIN+" else signal.SIGRTMAX - int(counted[2])
        if not signal.SIGRTMIN <= found <= signal.SIGRTMAX:
            raise ValueError(f"{name!r} is beyond the real-time signals")
    else:
        try:
            found = int(signal.Signals[f"SIG{word}"])
        except KeyError:
            raise ValueError(f"{name!r} is no signal") from None
    if found not in _VALID:
        raise ValueError(f"{name!r} is no signal")
    return found


def name(number: int) -> str:
    """The name of a valid signal, without `SIG`."""
    if signal.SIGRTMIN < number <= signal.SIGRTMAX:
        return f"RTMIN+{number - signal.SIGRTMIN}"
    return signal.Signals(number).name.removeprefix("SIG")


NAMES = tuple(name(each) for each in sorted(_VALID) if each <= signal.SIGRTMIN)
"""Those with a name of their own, by number."""

"""Hunts and endings that are waited for, as a test may."""

import signal
from collections.abc import Iterable

from queuectl import clock
from queuectl.host.pidfd import PidfdSet, Still, wait
from queuectl.workers.recovery.termination import Hunt, Left


def hunt(path: str, tag: str, deadline: float, *, grace: float = 5.0) -> Left:
    """End everything of one attempt, waiting until `deadline` (monotonic seconds). Returns what is left."""
    hunting = Hunt(path, tag, grace=grace)
    try:
        while not hunting.tick(now := clock.monotonic()):
            if now >= deadline:
                return hunting.left
            pause = max(0.0, min(hunting.next_tick, deadline) - now)
            wait([hunting.fileno()] if hunting.fileno() >= 0 else [], pause)
        return Left()
    finally:
        hunting.close()


def end(these: Iterable[int], grace: float, still: Still, *, patience: float = 2.0) -> list[int]:
    """TERM these processes, KILL them after `grace` seconds, and return those that live `patience` seconds later."""
    ending = PidfdSet()
    try:
        for pid in these:
            ending.add(pid, still)
        for seconds, number in ((grace, signal.SIGKILL), (patience, None)):
            until = clock.monotonic() + seconds
            while ending.living() and (rest := until - clock.monotonic()) > 0:
                wait([ending.fileno()], rest)
            if number is not None:
                ending.signal(number)
        return ending.living()
    finally:
        ending.close()

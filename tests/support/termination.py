"""Terminations that are waited for, as a test may."""

import signal
from collections.abc import Iterable

from queuectl import clock
from queuectl.host.pidfd import PidfdSet, Still, wait
from queuectl.workers.recovery.termination import Survivors, Termination


def terminate(path: str, tag: str, deadline: float, *, grace: float = 5.0) -> Survivors:
    """End everything of one attempt, waiting until `deadline` (monotonic seconds). Returns what is left."""
    termination = Termination(path, tag, grace=grace)
    try:
        while not termination.tick(now := clock.monotonic()):
            if now >= deadline:
                return termination.left
            pause = max(0.0, min(termination.next_tick, deadline) - now)
            wait([termination.fileno()] if termination.fileno() >= 0 else [], pause)
        return Survivors()
    finally:
        termination.close()


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

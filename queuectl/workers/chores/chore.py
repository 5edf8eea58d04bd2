"""The protocol of a chore, and what a chore may ask of the worker that runs it.

The worker's loop sleeps until the earliest `due` of its chores and runs those that are due. To add a chore, write a
class with these two members and name it in `WorkerLoop.__init__`.
"""

from collections.abc import Iterable
from typing import Protocol

NEVER = float("inf")
"""The `due` of a chore that has nothing to do."""


class Chore(Protocol):
    """Work that recurs beside the commands."""

    @property
    def due(self) -> float:
        """When to run next, in monotonic seconds; `NEVER` while there is nothing to do."""
        ...

    def run(self, now: float) -> None:
        """Do what is due, without blocking the loop for more than a few milliseconds. `now` is monotonic seconds.

        Raises Outdated where a newer queuectl has been at the database; other trouble is reported by `ChoreHost.warn`.
        """
        ...


def run_due(chores: Iterable[Chore], now: float) -> None:
    """Run those that are due, in this order."""
    for chore in chores:
        if chore.due <= now:
            chore.run(now)


class ChoreHost(Protocol):
    """The worker, as its chores see it."""

    def warn(self, message: str) -> None:
        """Write trouble to the journal, and to stderr where it differs from the last."""

    def pause(self, message: str, now: float) -> None:
        """As `warn`, where the database could not be written; the next turn waits for a second from `now`."""

    def postpone_turns(self, until: float) -> None:
        """Write nothing before `until`, in monotonic seconds."""

    def request_turn(self) -> None:
        """Look for what others want of this worker as soon as may be, though no doorbell rings."""

    def stop(self, reason: str) -> None:
        """Claim no more, and end once what runs has ended. The first reason counts."""

    def abandon(self, reason: str) -> None:
        """As `stop`, and end what runs: the stop signal and the grace period of each, KILL."""

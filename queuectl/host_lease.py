"""How long a worker may go unheard before other hosts run what it ran, and how it makes way before that (R48).

Only where workers of several hosts share a database. All ages are seconds since the worker was last confirmed: since it
sent the last turn that was acknowledged and that other workers can see. It counts them by CLOCK_BOOTTIME, which goes on
while the machine is suspended.
"""

import enum

import msgspec

from queuectl.errors import Invalid
from queuectl.units import duration, span

SHORTEST = 30.0
"""Seconds that a lease has at least: below that a short fault of the network would end what runs."""
LONGEST = 86400.0
"""Seconds that it has at most."""

STARTS = 0.5
"""The share of the lease after which an unconfirmed worker starts nothing more."""
TERM = 15.0
"""Seconds before the end of the lease at which its commands get their stop signal."""
KILL = 10.0
"""Seconds before the end of the lease at which what is left of them is killed."""
PARENT = 8.0
"""Seconds before the end of the lease at which the parent kills both, where the worker has not done it."""
DRIFT = 1.02
"""How much faster the clock of another host may run."""
MARGIN = 10.0
"""Seconds that others wait beyond that: they look only every few seconds."""


CLOCK_OFF = 60.0
"""Seconds from which on the clock of a host that differs from the database's is worth a warning."""


class Stage(enum.IntEnum):
    """What a worker does that has not been confirmed for a while."""

    WORKS = 0
    STARTS_NOTHING = 1
    TERMINATES = 2
    """What runs gets its stop signal."""
    KILLS = 3


class HostLease(msgspec.Struct, frozen=True):
    """The lease of a worker, in seconds, and the ages at which something follows from it."""

    seconds: float

    @property
    def kills_at(self) -> float:
        """The age at which the worker kills what is left."""
        return self.seconds - KILL

    @property
    def parent_ends_at(self) -> float:
        """The age at which its parent kills the worker and what it runs."""
        return self.seconds - PARENT

    @property
    def taken_over_at(self) -> float:
        """The age, by the clock of an observer, from which on other hosts run what the worker held."""
        return DRIFT * self.seconds + MARGIN

    @property
    def idle_heartbeat(self) -> float:
        """Seconds between two heartbeats of a worker that holds nothing: it is to be known to be there, no more."""
        return self.seconds / 3

    @property
    def idle_silence(self) -> float:
        """Seconds of silence that mean nothing where a worker holds nothing."""
        return self.seconds / 2

    def stage(self, age: float) -> Stage:
        """What a worker does that was last confirmed `age` seconds ago."""
        if age >= self.kills_at:
            return Stage.KILLS
        if age >= self.seconds - TERM:
            return Stage.TERMINATES
        return Stage.STARTS_NOTHING if age > STARTS * self.seconds else Stage.WORKS


def parse(text: str) -> float:
    """The seconds of a lease as it is written. Raises Invalid."""
    if SHORTEST <= (seconds := duration(text)) <= LONGEST:
        return seconds
    raise Invalid(f"{text!r} is not a duration from {span(SHORTEST)} to {span(LONGEST)}")


def told_clock(ahead: float) -> str:
    """How the clock of a host differs from the database's: `is 2h ahead of the database's`."""
    return f"is {span(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} the database's"

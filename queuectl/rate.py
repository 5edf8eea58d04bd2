"""How often jobs of a queue may start (R36): the generic cell rate algorithm, in integers and without state of its own.

The state is one moment, the theoretical arrival time: when the next start would be due if all starts were evenly
spaced. A queue may be ahead of it by its burst. (ITU-T I.371, annex A, "virtual scheduling".)
"""

import msgspec

from queuectl.clock import SECOND

UNITS = {1.0: "s", 60.0: "m", 3600.0: "h", 86400.0: "d"}
"""The spans that a rate is usually of, by their seconds."""


class Rate(msgspec.Struct, frozen=True, gc=False):
    """So many starts in so many seconds, evenly spaced but for a burst. Moments are µs UTC."""

    starts: int
    seconds: float
    burst: int = 1
    """How many may start at once after a time without starts."""

    @property
    def interval(self) -> int:
        """Microseconds from one start to the next, at least 1."""
        return max(1, round(self.seconds * SECOND / self.starts))

    def opens(self, arrival: int | None, now: int) -> int:
        """From when on the next job may start; `arrival`: the theoretical arrival time, None before the first start."""
        return self._bounded(arrival, now) - (self.burst - 1) * self.interval if arrival is not None else now

    def started(self, arrival: int | None, now: int) -> int:
        """The theoretical arrival time after a start at `now`."""
        return max(now, self._bounded(arrival, now) if arrival is not None else now) + self.interval

    def added(self, arrival: int, before: int | None) -> int:
        """By how much (µs) a start has moved the theoretical arrival time to `arrival`; `before`: what it was then.

        An interval, but for a start that was forced while the queue had run further ahead than it may.
        """
        return min(self.interval, max(0, arrival - before)) if before is not None else self.interval

    def _bounded(self, arrival: int, now: int) -> int:
        """A clock that was set back must not keep a queue shut: no arrival is further ahead than a whole burst."""
        return min(arrival, now + self.burst * self.interval)

    def __str__(self) -> str:
        """As it is written: `10/s`, `10/m (burst 5)`."""
        return f"{self.text}{f' (burst {self.burst})' if self.burst > 1 else ''}"

    @property
    def text(self) -> str:
        """As it is written, without its burst: `10/s`, `3/m`, `1/90s`."""
        return f"{self.starts}/{UNITS.get(self.seconds) or f'{self.seconds:g}s'}"

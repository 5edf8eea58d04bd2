"""When a failed job is tried again: pure and bounded (R2).

`failures` counts the failures of the retry budget, from 1. `draw` is a random number in [0, 1) given by the caller, so
that the delay stands in the event and not in a replay. Durations are seconds. `jitter` (0 to 1) is the fraction of a
delay by which it is randomly longer or shorter, evenly spread.
"""

import math

import msgspec


class Exponential(msgspec.Struct, frozen=True, gc=False):
    """Delays of `base ** failures`, at most `longest`."""

    base: float
    longest: float
    jitter: float = 0.0

    def delay(self, failures: int, draw: float = 0.5) -> float:
        """Seconds to wait after a failure. The power is bounded before it is taken: `2.0 ** 1100` would overflow."""
        if self.base <= 1.0:
            plain = min(1.0, self.longest)
        elif failures * math.log(self.base) >= math.log(max(self.longest, 1.0)):
            plain = self.longest
        else:
            plain = min(self.base**failures, self.longest)
        return round(min(_spread(plain, self.jitter, draw), self.longest), 6)


class Steps(msgspec.Struct, frozen=True, gc=False):
    """Delays that are listed, one for each failure; the last one is repeated. A single one is a fixed delay."""

    seconds: tuple[float, ...]
    jitter: float = 0.0

    def delay(self, failures: int, draw: float = 0.5) -> float:
        """Seconds to wait after a failure."""
        return round(_spread(self.seconds[min(failures, len(self.seconds)) - 1], self.jitter, draw), 6)


Backoff = Exponential | Steps


def _spread(seconds: float, jitter: float, draw: float) -> float:
    return seconds * (1.0 + jitter * (2.0 * draw - 1.0))

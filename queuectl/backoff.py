"""When a failed job is tried again: exponential backoff, pure and bounded."""

import math


def delay(failures: int, base: float, cap: float, jitter: float = 0.0, draw: float = 0.5) -> float:
    """Seconds to wait after the `failures`-th failure of the retry budget: `base ** failures`, at most `cap`.

    `jitter` (0 to 1) spreads it evenly over that fraction to both sides; `draw` is a random number in [0, 1) which the
    caller gives, so that the outcome stands in the event and not in a replay. The power is bounded before it is taken:
    `2.0 ** 1100` would be an OverflowError in the middle of a commit.
    """
    if base <= 1.0:
        plain = min(1.0, cap)
    elif failures * math.log(base) >= math.log(max(cap, 1.0)):
        plain = cap
    else:
        plain = min(base**failures, cap)
    spread = plain * (1.0 + jitter * (2.0 * draw - 1.0))
    return round(min(spread, cap), 6)

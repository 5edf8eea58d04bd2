"""The limits of queues as people write them, and their bounds (R2)."""

import re

from queuectl import units
from queuectl.errors import Invalid
from queuectl.rate import Rate

MOST = 1_000_000
"""The highest concurrency, and the most starts of a rate and of its burst."""


def check_concurrency(jobs: int) -> int:
    """How many jobs of a queue may be processing. Raises Invalid for none, and for more than a million."""
    if not 1 <= jobs <= MOST:
        raise Invalid(f"concurrency: {jobs} is not a number from 1 to {MOST:,}; to start none, pause the queue")
    return jobs


def check_burst(jobs: int) -> int:
    """How many jobs may start at once. Raises Invalid for none, and for more than a million."""
    if not 1 <= jobs <= MOST:
        raise Invalid(f"burst: {jobs} is not a number from 1 to {MOST:,}")
    return jobs


def rate_from(text: str) -> Rate:
    """The rate of `10/s`, `3/m`, `100/h`, `1/90s`, `5/2m30s`. Raises Invalid."""
    match = re.fullmatch(r"\s*(\d{1,7})\s*/\s*(.+?)\s*", text, re.ASCII)
    if match is None:
        raise Invalid(f"rate: {text!r} is not a rate; write 10/s, 3/m, 100/h or 1/90s")
    starts, span = int(match[1]), match[2]
    try:
        seconds = units.duration(span if span[0].isdigit() else f"1{span}")
    except Invalid:
        raise Invalid(f"rate: {text!r} is not a rate; write 10/s, 3/m, 100/h or 1/90s") from None
    if not 1 <= starts <= MOST or not 0.001 <= seconds <= 366 * 86400:
        raise Invalid(f"rate: {text!r} is out of bounds: from 1 to {MOST:,} starts in 1ms to 366d")
    return Rate(starts, seconds)

"""The limits of queues as people write them, and their bounds (R2)."""

import re

from queuectl import units
from queuectl.errors import Invalid
from queuectl.events import QueueLimited, Rate

MOST = 1_000_000
"""The highest concurrency, and the most starts of a rate and of its burst."""
LONGEST_SPAN = 366 * 86400
"""Seconds in which a rate counts its starts, at most."""


def check_limits(limits: QueueLimited) -> None:
    """Look whether a queue may have these limits. Raises Invalid."""
    if limits.concurrency is not None and not 1 <= limits.concurrency <= MOST:
        raise Invalid(
            f"concurrency: {limits.concurrency} is not a number from 1 to {MOST:,}; to start none, pause the queue"
        )
    if limits.rate is not None:
        check_rate(limits.rate)


def check_rate(rate: Rate, text: str | None = None) -> Rate:
    """The same rate, if a queue may have it. `text`: as it was written. Raises Invalid."""
    if not 1 <= rate.starts <= MOST or not 0.001 <= rate.seconds <= LONGEST_SPAN:
        raise Invalid(f"rate: {text or rate.text!r} is out of bounds: from 1 to {MOST:,} starts in 1ms to 366d")
    if not 1 <= rate.burst <= MOST:
        raise Invalid(f"burst: {rate.burst} is not a number from 1 to {MOST:,}")
    return rate


def rate_from(text: str) -> Rate:
    """The rate of `10/s`, `3/m`, `100/h`, `1/90s`, `5/2m30s`. Raises Invalid."""
    match = re.fullmatch(r"\s*(\d{1,7})\s*/\s*(.+?)\s*", text, re.ASCII)
    if match is None:
        raise Invalid(f"rate: {text!r} is not a rate; write 10/s, 3/m, 100/h or 1/90s")
    span = match[2]
    try:
        seconds = units.duration(span if span[0].isdigit() else f"1{span}")
    except Invalid:
        raise Invalid(f"rate: {text!r} is not a rate; write 10/s, 3/m, 100/h or 1/90s") from None
    return check_rate(Rate(int(match[1]), seconds), text)

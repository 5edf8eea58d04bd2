"""The one place that reads time. It deals in integers: microseconds UTC for moments, seconds for monotonic time.

`now()` follows the wall clock (and freezegun); `monotonic()` never jumps and is not frozen in tests, because durations,
timeouts and staleness hang on it.
"""

import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAIVE_EPOCH = EPOCH.replace(tzinfo=None)
MICROSECOND = timedelta(microseconds=1)
SECOND = 1_000_000
"""Microseconds in a second."""


def now() -> int:
    """The wall clock: microseconds since 1970 UTC. It may jump, and is never used for durations."""
    return time.time_ns() // 1000


def monotonic() -> float:
    """Seconds on a clock that never jumps (CLOCK_MONOTONIC); only differences mean anything."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def boottime() -> float:
    """As `monotonic`, by a clock that goes on while the machine is suspended (CLOCK_BOOTTIME)."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def file_time() -> int:
    """The time that the kernel would stamp a file with now, at least: nanoseconds since 1970, by its last tick."""
    return time.clock_gettime_ns(5)  # CLOCK_REALTIME_COARSE of linux/time.h, which Python does not name


@lru_cache(maxsize=1024)
def text(moment: int) -> str:
    """A moment in microseconds UTC as RFC 3339, always with six decimals: `2026-11-24T09:00:00.123456Z`."""
    return (NAIVE_EPOCH + timedelta(microseconds=moment)).isoformat(timespec="microseconds") + "Z"


@lru_cache(maxsize=1024)
def micros(moment: str) -> int:
    """An RFC 3339 text as microseconds UTC. Raises ValueError where it is none or has no offset."""
    parsed = datetime.fromisoformat(moment)
    if parsed.tzinfo is None:
        raise ValueError(f"{moment!r} has no offset from UTC")
    return (parsed - EPOCH) // MICROSECOND


def second_text(moment: int) -> str:
    """A moment in microseconds UTC as RFC 3339 to the second: `2026-11-24T09:00:00Z`."""
    return (NAIVE_EPOCH + timedelta(microseconds=moment)).isoformat(timespec="seconds") + "Z"

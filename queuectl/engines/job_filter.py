"""Which jobs a list is asked for."""

import msgspec


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are asked for; every None lets all pass. Moments are microseconds UTC."""

    states: tuple[str, ...] | None = None
    queue: str | None = None
    since: int | None = None
    """Enqueued at this moment or later."""
    until: int | None = None
    """Enqueued at this moment or earlier."""
    ended_since: int | None = None
    """Ended (completed, dead or cancelled, and not retried since) at this moment or later."""

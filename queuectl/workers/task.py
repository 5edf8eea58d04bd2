"""What a worker process is for, as its parent hands it over."""

import msgspec


class Task(msgspec.Struct, frozen=True, tag="worker"):
    """What one worker process is for; its parent hands it over as JSON."""

    url: str
    worker: str
    slots: int = 1
    queues: list[str] = []
    drain: bool = False
    seconds: float | None = None
    only: str | None = None
    logs: str | None = None
    database: tuple[int, int] | None = None
    """Device and inode of the database it is for; None: of whatever is at the URL."""
    orders: int | None = None
    """The descriptor from which orders are read; its end is an order to stop as well."""

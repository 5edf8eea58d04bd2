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
    only: list[str] = []
    """The jobs that it is for, and no others; it ends with the last of them. Empty: any."""
    helps: bool = False
    """It does what `wait` waits for within a job, until that ends it."""
    logs: str | None = None
    database: tuple[int, int] | None = None
    """Device and inode of the database it is for; None: of whatever is at the URL."""
    orders: int | None = None
    """The descriptor from which orders are read; its end is an order to stop as well."""

    @property
    def beside(self) -> bool:
        """Whether it works beside a command that waits for it, and its parent keeps quiet."""
        return bool(self.only) or self.helps

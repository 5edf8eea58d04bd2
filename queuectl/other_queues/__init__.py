"""What other programs have on record becomes jobs of the queue: read, checked, and never trusted."""

from typing import NamedTuple

from queuectl.job_fields import Spec


class Found(NamedTuple):
    """The jobs that a record of another program asks for."""

    jobs: list[Spec]
    """Checked, in its order."""
    origins: list[str]
    """Where each of them stands there, as messages name it."""
    left_out: int
    """How many others there are, that have ended."""
    concurrency: dict[str, int]
    """How many jobs of a queue may run at once, by its name, where the record says so."""

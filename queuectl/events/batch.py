"""The events of the stream of a batch, `batch:NAME`. That a job belongs to it stands in the job's `enqueued`."""

from typing import ClassVar

from queuectl.events.payload import Payload

BATCH = "batch:"
"""What the name of a batch stands behind where it is named in the place of a job: all jobs of the batch are meant."""


class BatchOpened(Payload, frozen=True, kw_only=True):
    """The first jobs of the batch were added, in the same transaction."""

    type: ClassVar[str] = "batch_opened"
    halt: str | None = None
    """The rule by which it is halted, as `soon,fail=3` (see `queuectl.halt`); None: there is none."""


class BatchHalted(Payload, frozen=True, kw_only=True):
    """Its rule was met: what waits is cancelled, and nothing is added to it any more."""

    type: ClassVar[str] = "batch_halted"
    rule: str
    """The rule, as `soon,fail=3`."""
    completed: int
    """How many of its jobs were completed, dead, cancelled, and there at all, as they were then."""
    dead: int
    cancelled: int
    total: int
    cascade: bool = False
    """Whether jobs are left to be cancelled later: a `cascaded` follows."""


class BatchReopened(Payload, frozen=True, kw_only=True):
    """Jobs of the halted batch are to run again: it is as if it had not been halted."""

    type: ClassVar[str] = "batch_reopened"
    reason: str | None = None

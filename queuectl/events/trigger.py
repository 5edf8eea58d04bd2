"""What enqueued a job, where that was not a person."""

import msgspec

CALLBACK_PRIORITY = 1 << 31
"""The priority of callbacks: one above the highest that a job can be given."""


class Trigger(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """What enqueued a job, where that was not a person: a schedule, the end of a job, a job, or that all was done."""

    schedule: str | None = None
    """The name of the schedule that fired."""
    moment: str | None = None
    """The moment for which it fired."""
    job: str | None = None
    """The id of the job that ended, or of the one inside which it was enqueued."""
    event: str | None = None
    """The type of the event that is this end; `empty`: nothing was left to do. None: the job has not ended, or it is a
    schedule."""

    @property
    def source(self) -> str:
        """As the table of jobs and filters name it: `schedule:NAME`, `job:ID` or `empty`."""
        if self.schedule is not None:
            return f"schedule:{self.schedule}"
        return f"job:{self.job}" if self.job is not None else self.event or ""

    @property
    def is_callback(self) -> bool:
        """Whether the job is a callback: the end of another one added it, or that nothing was left to do."""
        return self.event is not None

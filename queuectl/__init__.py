"""QueueCTL: a background job queue for shell commands with a memory.

    from queuectl import Queue

    with Queue("jobs.db") as queue:
        id = queue.enqueue("make backup", max_retries=5)

What is named here is loaded on first use (PEP 562), so that `import queuectl` costs nothing and `projections` can
import `queuectl.events` without a circle.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from projections.attempts import Attempt
    from projections.jobs import Job
    from projections.workers import Worker
    from queuectl.errors import (
        Absent,
        Conflict,
        Deadline,
        Exists,
        Fenced,
        Invalid,
        NotFound,
        QueueError,
        Refused,
        Unusable,
    )
    from queuectl.events import Recorded
    from queuectl.history import Moment
    from queuectl.job_fields import Spec
    from queuectl.queries import Status
    from queuectl.queue import Queue
    from queuectl.templates import each

__version__ = "0.1.0.dev0"

_HOMES = {
    "queuectl.queue": ("Queue",),
    "queuectl.queries": ("Status",),
    "queuectl.job_fields": ("Spec",),
    "queuectl.templates": ("each",),
    "queuectl.history": ("Moment",),
    "queuectl.events": ("Recorded",),
    "projections.jobs": ("Job",),
    "projections.attempts": ("Attempt",),
    "projections.workers": ("Worker",),
    "queuectl.errors": (
        "Absent", "Conflict", "Deadline", "Exists", "Fenced", "Invalid", "NotFound", "QueueError", "Refused",
        "Unusable",
    ),
}  # fmt: skip
_WHERE = {name: home for home, names in _HOMES.items() for name in names}

__all__ = [
    "Absent", "Attempt", "Conflict", "Deadline", "Exists", "Fenced", "Invalid", "Job", "Moment", "NotFound", "Queue",
    "QueueError", "Recorded", "Refused", "Spec", "Status", "Unusable", "Worker", "each",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'queuectl' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_WHERE[name]), name)

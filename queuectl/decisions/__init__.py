"""Decisions: pure functions from a subject and a request to events, or to a refusal.

They do no I/O and read neither a clock nor a random generator: `now` (microseconds UTC, the transaction's raw clock)
and `draw` (in [0, 1)) are arguments. Every list of events returned here can be folded by `projections.evolve`. Apart
from tombstones, nothing else may be appended to the stream of a job.

`job` has what begins or changes a job, `finish` what ends attempts and jobs, `queue`, `resource` and
`batch` what becomes of those.
"""

from queuectl.decisions.batch import halt, join, reopen
from queuectl.decisions.callbacks import CALLBACK_OPTIONS, DEEPEST, callback, callbacks, end_to_tell, on_empty
from queuectl.decisions.dependencies import WENT_WRONG, Standing, refuse_cascading, refuse_never, standing, unblock
from queuectl.decisions.finish import Cancel, Ending, Ends, JobEnd, Refusal, Release, Report, finish
from queuectl.decisions.job import (
    claim,
    continue_,
    edit,
    end_of_pause,
    enqueue,
    force,
    hold,
    in_force,
    note,
    purge,
    refuse_uneditable,
    release,
    requeue,
    suspend,
)
from queuectl.decisions.lease import Lease, lease
from queuectl.decisions.outcome import Outcome, Stop, explained, is_from_outside, judged
from queuectl.decisions.queue import LimitChanges, limit, pause, resume
from queuectl.decisions.resource import set_resource, unset_resource

__all__ = [
    "CALLBACK_OPTIONS",
    "DEEPEST",
    "WENT_WRONG",
    "Cancel",
    "Ending",
    "Ends",
    "JobEnd",
    "Lease",
    "LimitChanges",
    "Outcome",
    "Refusal",
    "Release",
    "Report",
    "Standing",
    "Stop",
    "callback",
    "callbacks",
    "claim",
    "continue_",
    "edit",
    "end_of_pause",
    "end_to_tell",
    "enqueue",
    "explained",
    "finish",
    "force",
    "halt",
    "hold",
    "in_force",
    "is_from_outside",
    "join",
    "judged",
    "lease",
    "limit",
    "note",
    "on_empty",
    "pause",
    "purge",
    "refuse_cascading",
    "refuse_never",
    "refuse_uneditable",
    "release",
    "reopen",
    "requeue",
    "resume",
    "set_resource",
    "standing",
    "suspend",
    "unblock",
    "unset_resource",
]  # fmt: skip

"""The time limit of a worker: `worker start --for`."""

from queuectl.clock import monotonic
from queuectl.workers.chores.chore import NEVER, ChoreHost


class TimeLimit:
    """Stops the worker once its time is up."""

    def __init__(self, worker: ChoreHost, seconds: float | None) -> None:
        """`seconds` None: never."""
        self.due = NEVER if seconds is None else monotonic() + seconds
        self._worker = worker

    def run(self, now: float) -> None:
        """See `Chore`."""
        self.due = NEVER
        self._worker.stop("time is up")

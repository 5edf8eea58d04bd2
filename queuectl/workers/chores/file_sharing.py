"""What a worker does for other hosts: keeps the ends of outputs, brings inputs here, answers readers of outputs."""

from collections.abc import Iterable

from queuectl import inputs
from queuectl.clock import monotonic
from queuectl.decisions import Lease
from queuectl.errors import QueueError
from queuectl.outputs import keep_ends, piece_of
from queuectl.queue import Queue
from queuectl.workers.chores.chore import NEVER, ChoreHost
from queuectl.workers.pending_reports import PendingReports
from queuectl.workers.turn import Turn

LOOK = 0.02
"""Seconds between two looks for the next question of a reader, while there is one."""


class FileSharing:
    """Answers readers of other hosts; does nothing where all is on one host."""

    def __init__(self, worker: ChoreHost, queue: Queue, identity: str, pending: PendingReports) -> None:
        self.due = NEVER
        self._pending = pending
        self._worker = worker
        self._queue = queue
        self._identity = identity

    def keep_ends(self, leases: Iterable[Lease]) -> None:
        """Keep the ends of what these attempts have written, for other hosts. Raises Unusable."""
        keep_ends(self._queue.engine, self._identity, ((lease.job, lease.version) for lease in leases))

    def follow(self, turn: Turn, now: float) -> None:
        """Bring here what the claimed jobs read, where other hosts were given it; gives those back where that fails.

        Where the turn has looked what others want, look soon whether a reader asks: that rings a doorbell.
        """
        if turn.jobs is not None and self._queue.engine.shared_files is not None:
            self.due = min(self.due, now)
        for claim in list(turn.claims):
            try:
                if (name := claim.job.policy.stdin) is not None:
                    inputs.bring(name, self._queue.engine)
            except QueueError as error:
                turn.claims.remove(claim)
                self._pending.release(claim.lease, f"can't be started: its input: {error}", now, repeats=True)

    def run(self, now: float) -> None:
        """See `Chore`."""
        files = self._queue.engine.shared_files
        assert files is not None, "it is due"
        try:
            asked = files.requests(self._identity)
            for request, is_answered in asked:
                if not is_answered and "/" not in request.job:
                    path = self._queue.home.output_of(self._identity, request.job, request.lease)
                    files.answer(request, piece_of(path, request))
        except (QueueError, OSError) as error:
            self._worker.warn(f"can't answer a reader of an output: {error}")
            self.due = monotonic() + 1.0
            return
        self.due = monotonic() + LOOK if asked else NEVER

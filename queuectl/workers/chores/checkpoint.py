"""Checkpoints: what has piled up behind the commits is written back into the database, in the worker's own time."""

from queuectl.clock import monotonic
from queuectl.engines.base import Engine
from queuectl.errors import QueueError
from queuectl.workers.chores.chore import NEVER, ChoreHost

IDLE = 1.0
"""Seconds without work after which all of it is written back."""


class Checkpoint:
    """After a turn writes back what is too much; once the worker is idle, everything, once for each time of work."""

    def __init__(self, worker: ChoreHost, engine: Engine) -> None:
        self._worker = worker
        self._engine = engine
        self._after_turn = False
        self._is_dirty = True
        self._idle_since: float | None = None

    @property
    def due(self) -> float:
        """See `Chore`."""
        if self._after_turn:
            return 0.0
        return self._idle_since + IDLE if self._is_dirty and self._idle_since is not None else NEVER

    def run(self, now: float) -> None:
        """See `Chore`."""
        try:
            if self._after_turn:
                self._after_turn = False
                self._engine.checkpoint()
            else:
                self._is_dirty = False
                self._engine.truncate_wal()
        except QueueError as error:
            self._worker.pause(str(error), now)

    def turn_taken(self) -> None:
        """A turn was tried; its commands have been started by the time this chore runs."""
        self._after_turn = True

    def written(self) -> None:
        """Something was written, so that the next idle moment has work."""
        self._is_dirty = True

    def busy(self) -> None:
        """The worker has something to run."""
        self._idle_since = None

    def idle(self, now: float) -> None:
        """The worker has nothing to run."""
        if self._idle_since is None:
            self._idle_since = now

    def finish(self) -> None:
        """Write everything back, so that the database file alone is the whole queue where none else is at work."""
        self._after_turn = False
        self.run(monotonic())

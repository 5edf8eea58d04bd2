"""The user's own queue where it has not been made yet: it is as good as empty, and asking makes nothing (R44)."""

import os
import tempfile
import time

from queuectl.cli.ui import output
from queuectl.engines import resolve
from queuectl.errors import shown
from queuectl.queue import Queue

_PAUSE = 0.2
"""Seconds between two looks for it."""


class _Empty(Queue):
    """An empty queue in a temporary folder, which goes with it."""

    def __init__(self, path: str, actor: str) -> None:
        """`path` is where the real one would be."""
        self._real = resolve(path)
        self._folder = tempfile.TemporaryDirectory(prefix="queuectl-", ignore_cleanup_errors=True)
        try:
            super().__init__(os.path.join(self._folder.name, "queue.db"), actor=actor)
        except BaseException:
            self._folder.cleanup()
            raise

    @property
    def url(self) -> str:
        return self._real

    def close(self) -> None:
        super().close()
        self._folder.cleanup()


def empty(path: str, actor: str) -> Queue:
    """An empty queue in the stead of the one that is not there."""
    return _Empty(path, actor)


def appeared(path: str, actor: str, logs: str | None) -> Queue:
    """The queue, as soon as somebody has made it."""
    from queuectl.errors import Absent

    output.message(f"there is no queue yet at {shown(resolve(path))}: waiting for it")
    while True:
        time.sleep(_PAUSE)
        try:
            return Queue(path, create=False, actor=actor, logs=logs)
        except Absent:
            continue

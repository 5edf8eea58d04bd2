"""The queue at the default path before it exists: an empty stand-in, so that reading creates nothing (R44)."""

import os
import tempfile
import time

from queuectl.cli.ui import output
from queuectl.engines import resolve
from queuectl.errors import shown
from queuectl.queue import Queue

_PAUSE = 0.2
"""Seconds between two attempts to open it."""


class _EmptyQueue(Queue):
    """An empty queue in a temporary folder, which `close` removes."""

    def __init__(self, path: str, actor: str) -> None:
        """`path`: where the real queue would be; `url` names it."""
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


def empty_queue(path: str, actor: str) -> Queue:
    """Return an empty queue in place of the missing one."""
    return _EmptyQueue(path, actor)


def wait_for_queue(path: str, actor: str, logs: str | None) -> Queue:
    """Wait until the queue exists, and return it opened."""
    from queuectl.errors import Absent

    output.message(f"there is no queue yet at {shown(resolve(path))}: waiting for it")
    while True:
        time.sleep(_PAUSE)
        try:
            return Queue(path, create=False, actor=actor, logs=logs)
        except Absent:
            continue

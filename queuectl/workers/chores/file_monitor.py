"""A worker minds its files (R41): whether what it has open is still what stands at their paths.

Files of living programs are removed all the same, by cleaners of /tmp, by backup tools, by hand, and folders are
renamed or put back from a copy. Each second the paths are looked at, by `os.stat` alone (R6). What is missing, or
another file, is believed when it was seen twice, 5 s apart: a rename that is taken back must not end a command of eight
hours. Until then nothing is claimed. What the worker can make again it makes again; where its queue is not there any
more, it ends.
"""

import os
from collections.abc import Callable

from queuectl.clock import monotonic
from queuectl.engines.base import Listener
from queuectl.errors import QueueError, Unusable, shown
from queuectl.queue import Queue
from queuectl.workers.recovery import worker_lock
from queuectl.workers.recovery.attempt_table import AttemptTable
from queuectl.workers.recovery.worker_lock import WorkerLock

LOOK = 1.0
"""Seconds between two looks."""
SURE = 5.0
"""Seconds after which a second look believes what the first one saw."""
PATIENCE = 60.0
"""Seconds that a queue may be missing before its workers end."""

Inode = tuple[int, int] | None
"""Device and inode; None where there is no file."""
ANOTHER = (0, 0)
"""In place of them, where it is another database."""


class QueueGone(Unusable):
    """The queue is not there any more: another one is in its place, or none."""


def inode(path: str) -> Inode:
    """What stands at a path. Raises OSError where that can't be told."""
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


class WatchedFile:
    """A path, and what was opened there."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.opened = self.found = self.current()
        self.since: float | None = None
        """Since when something else was seen there, in monotonic seconds; None where all is well."""

    def current(self) -> Inode:
        """What stands there just now. Raises OSError where that can't be told."""
        return inode(self.path)

    def look(self, now: float) -> None:
        """Look once more. An error other than that there is nothing tells nothing."""
        try:
            self.found = self.current()
        except OSError:
            return
        if self.found == self.opened:
            self.since = None
        elif self.since is None:
            self.since = now

    def is_lost(self, now: float, missing: float = SURE) -> bool:
        """Whether it is believed: another file for `SURE` seconds, or none for `missing` ones."""
        return self.since is not None and now - self.since >= (SURE if self.found is not None else missing)


class WatchedDatabase(WatchedFile):
    """The database: another one, too, where a copy was written into the file that is open."""

    def __init__(self, queue: Queue) -> None:
        self._engine = queue.engine
        super().__init__(queue.engine.files[0])

    def current(self) -> Inode:
        """`ANOTHER` also where the inode is the same."""
        found = super().current()
        return found if found is None or self._engine.is_current(side_files=False) else ANOTHER


class QueueFiles:
    """Where a queue is, as far as files tell: its database and its folder, as they were opened."""

    def __init__(self, queue: Queue) -> None:
        self.database, self.folder = WatchedDatabase(queue), WatchedFile(queue.home.folder)

    def is_same_database(self) -> bool:
        """Whether the database is in its place just now. The folder can be made again, the log can't."""
        try:
            return self.database.current() == self.database.opened
        except OSError:
            return False

    def is_same_folder(self) -> bool:
        """Whether the folder is in its place just now."""
        try:
            return self.folder.current() == self.folder.opened
        except OSError:
            return False

    def lost(self, now: float) -> str | None:
        """What is believed to be another one, or gone for good; None where all is well, or may still become so."""
        for kept in (self.database, self.folder):
            if kept.is_lost(now, PATIENCE):
                missing = f"has been missing for {PATIENCE:.0f} s"
                what = "is another one than this worker has opened" if kept.found else missing
                return f"{shown(kept.path)}: {what}"
        return None


class FileMonitor:
    """The files of one worker: to be looked at by calling `tick` at `next_tick`."""

    def __init__(
        self, queue: Queue, held: WorkerLock, table: AttemptTable, bell: Listener, hang_up: Callable[[], Listener]
    ) -> None:
        """They are all there now; `hang_up` makes another doorbell for the worker when its own is gone."""
        self.next_tick = monotonic() + LOOK
        self.displaced: str | None = None
        """Why this worker has to end what it runs and write nothing more; None where it has not."""
        self.declared_lost = False
        """Whether somebody else has this worker's lock, which is for him who recovers it."""
        self._queue, self._held, self._table, self._hang_up = queue, held, table, hang_up
        self._home = QueueFiles(queue)
        self._side_files = [WatchedFile(path) for path in queue.engine.files[1:]]
        self._lock, self._bell = WatchedFile(held.path), WatchedFile(bell.path)

    @property
    def is_doubtful(self) -> bool:
        """Whether anything is not as it was opened: then nothing is claimed."""
        ours = (self._home.database, self._home.folder, *self._side_files, self._lock, self._bell)
        return self.displaced is not None or self.declared_lost or any(kept.since is not None for kept in ours)

    @property
    def is_adrift(self) -> bool:
        """Whether what is written might go nowhere: the database is not in its place, or its WAL is not."""
        return self.displaced is not None or any(
            kept.since is not None for kept in (self._home.database, *self._side_files)
        )

    def tick(self, now: float) -> list[str]:
        """Look, and mend what can be; returns what is worth telling. `now` is monotonic seconds."""
        self.next_tick = now + LOOK
        home = (self._home.database, self._home.folder)
        for kept in (*home, *self._side_files, self._lock, self._bell):
            kept.look(now)
        if self.displaced is not None or any(kept.since is not None for kept in home):
            self.displaced = self.displaced or self._home.lost(now)
            return []  # all else lies in there
        told: list[str] = []
        if any(kept.is_lost(now) for kept in self._side_files):
            told += self._reopen(now)
        if self._lock.is_lost(now) and not self.declared_lost:
            told += self._lock_again()
        if self._bell.is_lost(now):
            self._bell = WatchedFile(self._hang_up().path)
            told.append("its doorbell was removed: it has made another")
        return told

    def _reopen(self, now: float) -> list[str]:
        names = " and ".join(shown(os.path.basename(kept.path)) for kept in self._side_files if kept.since is not None)
        try:
            self._queue.engine.reopen()
        except QueueError as error:
            if any(kept.since is not None and now - kept.since >= PATIENCE for kept in self._side_files):
                self.displaced = str(error)
            return [str(error)]
        self._side_files = [WatchedFile(kept.path) for kept in self._side_files]
        return [f"{names} had been removed: the database was opened anew"]

    def _lock_again(self) -> list[str]:
        try:
            if not worker_lock.retake(self._held, self._table.move):
                self.declared_lost = True
                return ["its lock is held by who recovers it: it claims nothing more"]
        except OSError as error:
            return [f"its lock file was removed, and can't be made again: {error.strerror}"]
        self._lock = WatchedFile(self._held.path)
        return ["its lock file was removed: it has made another"]

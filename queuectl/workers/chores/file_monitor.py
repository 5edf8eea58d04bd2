"""Monitoring of a worker's files (R41): whether what it has open is still what stands at their paths.

Files of living programs are removed all the same, by cleaners of /tmp, by backup tools, by hand, and folders are
renamed or put back from a copy. Each second the paths are looked at, by `os.stat` alone (R6). What is missing, or
another file, is believed when it was seen twice, 5 s apart: a rename that is taken back must not end a command of eight
hours. Until then nothing is claimed. What the worker can make again it makes again; where its queue is not there any
more, it ends.
"""

import os

from queuectl.clock import monotonic
from queuectl.engines.base import Engine
from queuectl.errors import QueueError, Unusable, shown
from queuectl.queue import Queue
from queuectl.workers.chores.chore import ChoreHost
from queuectl.workers.doorbells import Doorbells
from queuectl.workers.recovery import worker_lock
from queuectl.workers.recovery.attempt_table import AttemptTable
from queuectl.workers.recovery.worker_lock import WorkerLock

LOOK = 1.0
"""Seconds between two looks."""
SURE = 5.0
"""Seconds after which a second look believes what the first one saw."""
PATIENCE = 60.0
"""Seconds that a queue may be missing before its workers end."""
HOLD = 0.05
"""Seconds after a look before a worker writes again, where that look finds the files in their places."""

Inode = tuple[int, int] | None
"""Device and inode; None where there is no file."""
ANOTHER = (0, 0)
"""In place of them, where it is another database."""


class DeclaredLost(QueueError):
    """Others have taken this worker for dead; another one is to be started in its place."""


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

    def __init__(self, engine: Engine, path: str) -> None:
        self._engine = engine
        super().__init__(path)

    def current(self) -> Inode:
        """`ANOTHER` also where the inode is the same."""
        found = super().current()
        return found if found is None or self._engine.is_current(side_files=False) else ANOTHER


class QueueFiles:
    """Where a queue is, as far as files tell: its folder, and its database if that is a file, as they were opened."""

    def __init__(self, queue: Queue) -> None:
        self.database = WatchedDatabase(queue.engine, queue.engine.files[0]) if queue.engine.files else None
        self.folder = WatchedFile(queue.home.folder)

    @property
    def watched(self) -> list[WatchedFile]:
        """What is looked at."""
        return [self.folder] if self.database is None else [self.database, self.folder]

    @property
    def is_database_missing(self) -> bool:
        """Whether something else was seen in the place of the database last."""
        return self.database is not None and self.database.since is not None

    def look_at_database(self, now: float) -> None:
        """Look at the database once more."""
        if self.database is not None:
            self.database.look(now)

    def is_same_database(self) -> bool:
        """Whether the database is in its place just now. The folder can be made again, the log can't."""
        try:
            return self.database is None or self.database.current() == self.database.opened
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
        for each in self.watched:
            if each.is_lost(now, PATIENCE):
                missing = f"has been missing for {PATIENCE:.0f} s"
                what = "is another one than this worker has opened" if each.found else missing
                return f"{shown(each.path)}: {what}"
        return None


class FileMonitor:
    """Looks at the files of one worker each second, and makes anew what can be."""

    def __init__(self, host: ChoreHost, queue: Queue, held: WorkerLock, table: AttemptTable, bells: Doorbells) -> None:
        """All files are there now. `table` lies in the file of the lock that is `held`."""
        self.due = monotonic() + LOOK
        self.gone: str | None = None
        """Why this worker has to end what it runs and write nothing more; None while it need not."""
        self.declared_lost = False
        """Whether another process holds this worker's lock, and recovers what it has run."""
        self.claims_suspended = False
        """Whether anything is not as it was opened: then nothing is claimed."""
        self.writes_suspended = False
        """Whether what is written might go nowhere: the database is not in its place, or its WAL is not."""
        self._host, self._queue, self._held, self._table, self._bells = host, queue, held, table, bells
        self._home = QueueFiles(queue)
        self._side_files = [WatchedFile(path) for path in queue.engine.files[1:]]
        self._lock, self._bell = WatchedFile(held.path), _watched(bells)

    def run(self, now: float) -> None:
        """See `Chore`: look, mend what can be, and have the worker act on the rest."""
        self.due = now + LOOK
        was_lost, was_gone = self.declared_lost, self.gone is not None
        for message in self._check(now):
            self._host.warn(message)
        is_missing = self._home.is_database_missing or any(each.since is not None for each in self._side_files)
        others = (self._home.folder, self._lock, *self._bell)
        self.writes_suspended = self.gone is not None or is_missing
        self.claims_suspended = (
            self.writes_suspended or self.declared_lost or any(each.since is not None for each in others)
        )
        if self.writes_suspended:
            self._host.postpone_turns(self.due + HOLD)
        if self.claims_suspended:
            self._host.request_turn()  # others may be unable to ring
        if self.declared_lost and not was_lost:
            self._host.stop("declared lost")
        if self.gone is not None and not was_gone:
            self._host.abandon("its queue is gone")

    def _check(self, now: float) -> list[str]:
        """Look, and mend what can be; returns what is worth a warning."""
        home = self._home.watched
        for each in (*home, *self._side_files, self._lock, *self._bell):
            each.look(now)
        if self.gone is not None or any(each.since is not None for each in home):
            self.gone = self.gone or self._home.lost(now)
            return []  # all else lies in there
        warnings: list[str] = []
        if any(each.is_lost(now) for each in self._side_files):
            warnings += self._reopen(now)
        if self._lock.is_lost(now) and not self.declared_lost:
            warnings += self._lock_again()
        if any(each.is_lost(now) for each in self._bell):
            self._bells.renew()
            self._bell = _watched(self._bells)
            warnings.append("its doorbell was removed: it has made another")
        return warnings

    def _reopen(self, now: float) -> list[str]:
        names = " and ".join(shown(os.path.basename(each.path)) for each in self._side_files if each.since is not None)
        try:
            self._queue.engine.reopen()
        except QueueError as error:
            if any(each.since is not None and now - each.since >= PATIENCE for each in self._side_files):
                self.gone = str(error)
            return [str(error)]
        self._side_files = [WatchedFile(each.path) for each in self._side_files]
        return [f"{names} had been removed: the database was opened anew"]

    def _lock_again(self) -> list[str]:
        try:
            if not worker_lock.retake(self._held, self._table.move):
                self.declared_lost = True
                return ["its lock is held by a process that recovers it: it claims nothing more"]
        except OSError as error:
            return [f"its lock file was removed, and can't be made again: {error.strerror}"]
        self._lock = WatchedFile(self._held.path)
        return ["its lock file was removed: it has made another"]


def _watched(bells: Doorbells) -> list[WatchedFile]:
    """The file of the worker's doorbell, where it has one."""
    path = bells.work.path
    return [WatchedFile(path)] if path is not None else []

"""The files behind an open database: whether what stands at their paths is still what was opened.

SQLite keeps the files that it has opened, also when they are removed, renamed or replaced. What is committed then lands
in files that no process will ever open again, or, where the WAL index is another one, is overwritten by those
who opened the new one. So before anything is read, and before a commit is acknowledged, the paths are looked at, by
`os.stat` alone (R6). A copy that is written into the database's own file leaves the inode as it is: when the file has
changed, its mark is looked for, which a checkpoint leaves alone.
"""

import os
from contextlib import suppress

import apsw

from queuectl.engines.sqlite import database
from queuectl.engines.sqlite.location import Location
from queuectl.errors import Replaced, Unusable, shown
from queuectl.host.flock import locked
from queuectl.host.folder_watch import FolderWatch

Identity = tuple[int, int] | None
"""Device and inode; None where there is no file."""


class OpenFiles:
    """The database, its WAL and the index of that, as one connection has opened them."""

    def __init__(self, location: Location) -> None:
        self._paths = location.files
        self._folder = FolderWatch(os.path.dirname(self._paths[0]))
        self._database = _identity(self._paths[0])
        self._changed = _changed(self._paths[0])  # when, in nanoseconds, by the last look at its mark
        self._opened: tuple[Identity, ...] | None = None
        self.mark: str | None = None
        """The mark of the database; None where it has none yet."""

    def settle(self, mark: str | None) -> None:
        """They are open now, and the mark was read. Raises Replaced where the database is another one already."""
        self.mark = mark
        self._opened = (self._database, *map(_identity, self._paths[1:]))
        if None in self._opened:
            raise Replaced(f"{shown(self._paths[0])}: its files were removed while it was opened: try again")
        self.check()

    def check(self) -> None:
        """Raise Replaced where one of the three is gone, or another one (4 µs)."""
        if self._opened is not None and not self.are_in_place:
            raise Replaced(self._message())

    @property
    def are_in_place(self) -> bool:
        """Whether all is where it was opened."""
        try:
            found = os.stat(self._paths[0])
            if (found.st_dev, found.st_ino) != self._database:
                return False
            if self._folder.changed():
                if tuple(map(_identity, self._paths)) != self._opened:
                    return False
                self._folder.looked()
        except (FileNotFoundError, NotADirectoryError):
            return False
        return found.st_mtime_ns == self._changed or not self.overwritten

    @property
    def is_same_database(self) -> bool:
        """Whether the database alone is where it was opened."""
        return _identity(self._paths[0]) == self._database and not self.overwritten

    @property
    def overwritten(self) -> bool:
        """Whether another database was written into the file that is open, or the file was emptied."""
        changed = _changed(self._paths[0])
        if self.mark is None or changed in (None, self._changed):
            return False
        another = os.stat(self._paths[0]).st_size < database.HEADER or database.holds_another(self._paths[0], self.mark)
        if another is False:
            self._changed = changed
        return bool(another)

    @property
    def others_made_new(self) -> bool:
        """Whether another process has made another WAL, or another index of it, where one was removed."""
        opened = self._opened or (None, None, None)
        return any(_identity(path) not in (None, mine) for path, mine in zip(self._paths[1:], opened[1:], strict=True))

    def check_database(self) -> None:
        """Raise Replaced where the database is gone or another one; the other two come and go while it is closed."""
        if _identity(self._paths[0]) != self._database:
            raise Replaced(self._message())

    @property
    def replaced(self) -> Replaced:
        """The error for a database that is not the one which was open before."""
        return Replaced(f"{shown(self._paths[0])}: was replaced while the queue was open: open the queue anew")

    def write_back_removed_wal(self, db: apsw.Connection) -> None:
        """Where the WAL alone was removed, write all of it back into the database, by the holder of the gate.

        What was acknowledged is then where the next one to open the database finds it. Not where another process has
        begun another WAL: what it has read is not what this one says.
        """
        wal = self._paths[1]
        with suppress(OSError):
            if not self.is_same_database or os.stat(wal).st_size:
                return
        with suppress(apsw.Error):
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _message(self) -> str:
        known = self._opened or (self._database,)
        for path, identity in zip(self._paths, known, strict=False):
            found = _identity(path)
            if found != identity:
                what = "removed or renamed" if found is None else "replaced"
                return f"{shown(path)}: was {what} while the queue was open: put it back, or open the queue anew"
        if self.overwritten:
            what = "was written over with another database while the queue was open"
            return f"{shown(self._paths[0])}: {what}: put back what was there, or open the queue anew"
        return f"{shown(self._paths[0])}: was removed for a moment while the queue was open: try again"


def refuse_files_in_use(location: Location) -> None:
    """Raise Unusable where a file of the database is missing that a worker, still up, has open.

    To make another one would make a queue that this worker does not see, or write over what it has written.
    """
    missing = next((path for path in location.files if _identity(path) is None), None)
    if missing is None:
        return
    try:
        names = os.listdir(location.home.workers)
    except OSError:
        return
    for name in names:
        if name[0] != "." and locked(f"{location.home.workers}/{name}"):
            what = f"{shown(missing)}: is missing, but worker {shown(name)} is up and has it open"
            if missing == location.database:
                raise Unusable(
                    f"{what}: put it back, or wait until the worker has ended, a minute after it was removed"
                )
            raise Unusable(f"{what}: try again in 10 s, when the worker has noticed and made it anew")


def _changed(path: str) -> int | None:
    """When the file was written last, in nanoseconds; None where there is none."""
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return None


def _identity(path: str) -> Identity:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino

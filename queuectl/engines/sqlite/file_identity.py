"""The files behind an open database: whether what stands at their paths is still what was opened.

SQLite keeps the files that it has opened, also when they are removed, renamed or replaced. What is committed then lands
in files that nobody will ever open again, or, where the index of the log ahead is another one, is overwritten by those
who opened the new one. So before anything is read, and before a commit is acknowledged, the paths are looked at, by
`os.stat` alone (R6).
"""

import os
from contextlib import suppress

import apsw

from queuectl.engines.sqlite.location import Location
from queuectl.errors import Replaced, Unusable, shown
from queuectl.host.flock import locked

Identity = tuple[int, int] | None
"""Device and inode; None where there is no file."""


class Files:
    """The database, its log ahead and the index of that, as one connection has opened them."""

    def __init__(self, location: Location) -> None:
        self._paths = location.files
        self._database = _identity(self._paths[0])
        self._opened: tuple[Identity, ...] | None = None

    def settle(self) -> None:
        """They are open now: something has been read. Raises Replaced where the database is another one already."""
        self._opened = (self._database, *map(_identity, self._paths[1:]))
        self.check()
        if None in self._opened:
            raise Replaced(f"{shown(self._paths[0])}: its files were removed while it was opened: try again")

    def check(self) -> None:
        """Raise Replaced where one of the three is gone, or another one (10 µs)."""
        if self._opened is not None and not self.present:
            raise Replaced(self._told())

    @property
    def present(self) -> bool:
        """Whether all is where it was opened."""
        return tuple(map(_identity, self._paths)) == self._opened

    @property
    def begun_anew(self) -> bool:
        """Whether somebody else has made another log ahead, or another index of it, where one was removed."""
        opened = self._opened or (None, None, None)
        return any(_identity(path) not in (None, mine) for path, mine in zip(self._paths[1:], opened[1:], strict=True))

    def check_database(self) -> None:
        """Raise Replaced where the database is gone or another one; the other two come and go while it is closed."""
        if _identity(self._paths[0]) != self._database:
            raise Replaced(self._told())

    @property
    def replaced(self) -> Replaced:
        """The error for a database that is not the one which was open before."""
        return Replaced(f"{shown(self._paths[0])}: was replaced while the queue was open: open the queue anew")

    def rescue(self, db: apsw.Connection) -> None:
        """Where the log ahead alone was removed, write all of it back into the database, by who holds the gate.

        What was acknowledged is then where the next one to open the database finds it. Not where somebody has begun
        another log ahead: what he has read is not what this one says.
        """
        log_ahead = self._paths[1]
        with suppress(OSError):
            if _identity(self._paths[0]) != self._database or os.stat(log_ahead).st_size:
                return
        with suppress(apsw.Error):
            db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)

    def _told(self) -> str:
        known = self._opened or (self._database,)
        for path, identity in zip(self._paths, known, strict=False):
            found = _identity(path)
            if found != identity:
                what = "removed or renamed" if found is None else "replaced"
                return f"{shown(path)}: was {what} while the queue was open: put it back, or open the queue anew"
        return f"{shown(self._paths[0])}: was removed for a moment while the queue was open: try again"


def refuse_orphans(location: Location) -> None:
    """Raise Unusable where a file of the database is missing that a worker, still up, has open.

    Whoever made another one would have a queue that this worker does not see, or would write over what it has written.
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


def _identity(path: str) -> Identity:
    try:
        found = os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_dev, found.st_ino

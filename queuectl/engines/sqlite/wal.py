"""the WAL (`-wal`), written back into the database by ourselves: SQLite would do it within a commit."""

import apsw

from queuectl.engines.sqlite.database import BUSY
from queuectl.engines.sqlite.gate import Gate
from queuectl.errors import Busy

LARGE = 1000
"""Pages of the WAL (4 MB) from which on they are written back into the database."""

TRUNCATE_WAIT = 50
"""Milliseconds to wait for others when it is to be emptied."""


class Wal:
    """That of one connection, which tells after every commit how many pages it has."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._pages = 0
        self._checkpoint_at = LARGE
        db.set_wal_hook(self._on_commit)

    @property
    def is_large(self) -> bool:
        """Whether it is time to write back."""
        return self._pages >= self._checkpoint_at

    def checkpoint(self, gate: Gate) -> None:
        """Write back most of it while others go on writing, and the rest while none does: then it begins anew."""
        self.write_back()
        try:
            with gate.hold(0.05):
                done = self.write_back()
        except Busy:
            done = False
        # Where a reader is in the way, there is nothing to gain from trying at every commit.
        self._checkpoint_at = LARGE if done else self._pages + LARGE // 4

    def truncate(self) -> None:
        """Write all of it back and cut the file off, unless a process is at work: it is tried when idle again."""
        self._db.set_busy_timeout(TRUNCATE_WAIT)
        try:
            self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
        except apsw.BusyError:
            pass
        finally:
            self._db.set_busy_timeout(BUSY)

    def _on_commit(self, db: apsw.Connection, name: str, pages: int) -> int:
        self._pages = pages
        return apsw.SQLITE_OK

    def write_back(self) -> bool:
        """Write back what no reader needs; whether that was all."""
        try:
            frames, done = self._db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
        except apsw.BusyError:
            return False  # another process is at it
        return frames == done

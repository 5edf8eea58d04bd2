"""BEGIN IMMEDIATE to COMMIT, with a look at the files before anything is written and before it is acknowledged."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import apsw

from queuectl import clock
from queuectl.engines.sqlite.database import BUSY
from queuectl.engines.sqlite.file_identity import OpenFiles
from queuectl.engines.sqlite.gate import MEANWHILE
from queuectl.engines.sqlite.shm import WalIndex
from queuectl.errors import Replaced


class WriteTransaction:
    """The write transactions of one connection, one after the other, each by the holder of the gate."""

    def __init__(self, db: apsw.Connection, files: OpenFiles, index: WalIndex) -> None:
        self._db = db
        self._files = files
        self._index = index

    @contextmanager
    def block(self) -> Generator[None]:
        """A transaction for a `with` block, undone where it raises. Raises as `begin` and `commit` do."""
        try:
            self.begin()
            yield
            self.commit()
        except BaseException as error:
            self.roll_back(error)
            raise

    def begin(self, meanwhile: Callable[[], None] | None = None) -> None:
        """Take SQLite's own lock; `meanwhile` is called now and then while another program has it.

        Raises Replaced where the files are not those that were opened.
        """
        if meanwhile is None:
            self._db.execute("begin immediate")
        else:
            self._begin_busy(meanwhile)
        self._files.check()
        self._index.allocate(1)

    def commit(self) -> None:
        """Make it durable. Raises Replaced where it went into files that are gone."""
        self._db.execute("commit")
        self._files.check()

    def roll_back(self, error: BaseException) -> None:
        """Undo what is not committed, after this error."""
        if self._db.in_transaction:
            self._db.execute("rollback")
        if isinstance(error, Replaced):
            self._files.write_back_removed_wal(self._db)

    def _begin_busy(self, meanwhile: Callable[[], None]) -> None:
        until = clock.monotonic() + BUSY / 1000

        def busy(_: int) -> bool:
            meanwhile()
            time.sleep(MEANWHILE)
            return clock.monotonic() < until

        self._db.set_busy_handler(busy)
        try:
            self._db.execute("begin immediate")
        finally:
            self._db.set_busy_timeout(BUSY)

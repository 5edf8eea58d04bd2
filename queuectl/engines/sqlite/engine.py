"""The default engine: log and projections in one SQLite file, for any number of processes of one machine.

Writers queue up at a gate before SQLite's own lock, so that none starves (R5); what they have appended they tell by
ringing the doorbells of those who listen. No connection is open across a fork (R7): it is closed before it, and parent
and child open anew when they need one; where it was in use, the child never touches what it inherited.
"""

import os
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

import apsw

from projections import replay
from projections.replay import Progress
from queuectl.engines.base import PAST, Engine, Holders, Listener, Storage
from queuectl.engines.contents import Contents
from queuectl.engines.high_water import HighWaterMark
from queuectl.engines.log_transaction import Known
from queuectl.engines.projection_registry import Registry
from queuectl.engines.sqlite import copy, database, doorbell, file_mark, forking
from queuectl.engines.sqlite.database import Translated
from queuectl.engines.sqlite.doorbell import Bells
from queuectl.engines.sqlite.file_identity import OpenFiles, refuse_files_in_use
from queuectl.engines.sqlite.gate import Gate
from queuectl.engines.sqlite.health import holders, storage
from queuectl.engines.sqlite.high_water import SqliteHighWater
from queuectl.engines.sqlite.location import Location, prepare
from queuectl.engines.sqlite.past import PastView, any_archived
from queuectl.engines.sqlite.rerun import SqliteRerun
from queuectl.engines.sqlite.shm import WalIndex
from queuectl.engines.sqlite.store import SqliteStore
from queuectl.engines.sqlite.tables import SqliteTables, folded_upto, scratch
from queuectl.engines.sqlite.transaction import SqliteTransaction
from queuectl.engines.sqlite.view import SqliteView
from queuectl.engines.sqlite.wal import Wal
from queuectl.engines.sqlite.write_transaction import WriteTransaction
from queuectl.engines.view import Rerun, Transaction, View
from queuectl.errors import Busy, Invalid, QueueError, Replaced, Unusable, shown
from queuectl.events import WAKING, Unreadable
from queuectl.host import processes
from queuectl.host.flock import FileLock, try_lock

Made = TypeVar("Made")


class SqliteEngine(Engine):
    """See `queuectl.engines.base.Engine` for what it promises."""

    many_hosts = False

    def __init__(
        self, location: Location, *, create: bool = True, progress: Progress | None = None,
        patience: float | None = 30.0, healing: bool = True,
    ) -> None:  # fmt: skip
        """Open, make where it does not exist (`create`), and heal what is missing or late (`healing`)."""
        self.location = location
        self.url = self.access = location.database
        self.home = location.home
        self._progress = progress
        self._healing = healing
        self._synchronous = "full"
        self._files: OpenFiles | None = None
        self._mark: str | None = None
        self._bells = Bells(location.bells)
        self._worker: str | None = None
        self.made = self._open(patience, create=create)
        forking.register(self)

    @property
    def files(self) -> tuple[str, ...]:
        return self.location.files

    def uses(self, pid: int) -> bool | None:
        return processes.has_open(pid, self.location.database)

    def alone(self, name: str) -> FileLock | None:
        return try_lock(f"{self.home.folder}/{name}")

    def storage(self) -> Storage:
        return storage(self.location)

    def holders(self) -> Holders:
        return holders(self.location)

    def close_before_fork(self) -> None:
        """Before a fork: close the connection, where it is not in use.

        What SQLite knows of a file's locks would be inherited, the locks would not: the child's connections, new ones
        too, would be without any, and when another program closes the file as the last one it removes the WAL
        with what the child goes on to write into it.
        """
        if not self._closed_for_fork and not self._db.in_transaction:
            self._db.close()
            self._closed_for_fork = True

    def abandon_after_fork(self) -> None:
        """In a forked child: never close an inherited connection, not by the garbage collector or at exit either."""
        import ctypes

        if not self._closed_for_fork:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._db))

    def _open(self, patience: float | None, *, create: bool = False, again: bool = False) -> bool:
        """Open it, and return whether it was made just now: only the first time, and with `create`, it may be."""
        if self._files is not None:  # after a fork: it must be the one that was open before it
            self._files.check_database()
        with Translated(self.location.database):
            # First of all: beside another program's file nothing is made.
            made = database.is_made(self.location.database)
        if not again:  # else a worker's own, of which a file is missing that it makes anew
            refuse_files_in_use(self.location)
        fresh = prepare(self.location, create=create)
        self._gate = Gate(self.location.gate)
        self._gate.worker = self._worker
        self._high_water = SqliteHighWater(self.location)
        note = self._high_water.read()  # before the head is: others go on writing
        files = OpenFiles(self.location)
        self._wal_index = WalIndex(self.location)
        self._wal_index.check_room()

        def admit(db: apsw.Connection) -> None:
            mark = database.mark(db)
            if mark is None and db.pragma("application_id") != database.APPLICATION_ID:
                return  # it is empty: new, or emptied
            if self._mark is not None and mark != self._mark:  # while it was closed, its inode may have been given away
                raise files.replaced
            self._high_water.check_mark(mark, note)

        self._db = database.connect(self.location, self._gate, patience, made=made, admit=admit)
        self._files, self._pid, self._closed_for_fork = files, os.getpid(), False
        try:
            self._begin(patience, note)
        except BaseException:
            self.close_before_fork()
            raise
        return fresh

    def _begin(self, patience: float | None, note: HighWaterMark) -> None:
        """Look whether the log is whole, and make the tables so."""
        self._registry, self._known = Registry(SqliteTables(self._db), SqliteView(self._db)), Known()
        self._write = WriteTransaction(self._db, self._open_files, self._wal_index)
        self._writing = self._closed = False
        self._wal = Wal(self._db)
        with Translated(self.location.database):
            with self._reading() as view:
                self._mark = file_mark.read(self._db)
                if self._healing:
                    self._high_water.check_head(view.head()[0], note)
                self._open_files.settle(self._mark)
                self._wal_index.allocate(0)
                whole = not self._healing or self._registry.is_current()
            if not whole:
                with self._gate.hold(patience), self._write.block():
                    head = SqliteView(self._db).head()[0]
                    self._registry.active(head, self._progress, thorough=True)
            self.set_durability(self._synchronous)

    @property
    def _open_files(self) -> OpenFiles:
        assert self._files is not None
        return self._files

    def _reopen_after_fork(self) -> None:
        """After a fork: a connection of our own."""
        if self._closed_for_fork or self._pid != os.getpid():
            self._open(None)

    @contextmanager
    def snapshot(self, *, long: bool = False) -> Generator[View]:
        self._reopen_after_fork()
        self._check_files()
        with Translated(self.location.database), self._reading() as view:
            yield view

    @contextmanager
    def _reading(self) -> Generator[View]:
        self._db.execute("begin")
        try:
            yield SqliteView(self._db)
        finally:
            if self._db.in_transaction:
                self._db.execute("commit")

    def _check_files(self) -> None:
        """Raise Replaced where the files are not at their paths any more."""
        try:
            self._open_files.check()
        except Replaced:
            with suppress(Unusable), self._gate.hold(0.5):
                self._open_files.write_back_removed_wal(self._db)
            raise

    @contextmanager
    def transaction(
        self, patience: float | None = 30.0, meanwhile: Callable[[], None] | None = None
    ) -> Generator[Transaction]:
        self._reopen_after_fork()
        if self._writing:
            raise RuntimeError("a transaction of this queue is open already; finish it first")
        with Translated(self.url), self._gate.hold(patience, meanwhile):
            self._writing = True
            try:
                self._write.begin(meanwhile)
                tx = SqliteTransaction(self._db, self._registry, self._known)
                mark = self._mark or file_mark.read(self._db)
                self._high_water.check(mark, tx.seq)
                yield tx
                tx.finish()
                if tx.types and mark is None:
                    mark = file_mark.renew(self._db)
                self._write.commit()
                tx.committed()
                self._mark = self._open_files.mark = mark
                if tx.types and self._synchronous == "full":  # else a power cut may take what was acknowledged
                    self._high_water.record(tx.seq, mark)
            except BaseException as error:
                self._write.roll_back(error)
                raise
            finally:
                self._writing = False
        if self._gate.worker is None:
            self.checkpoint()
        if tx.types:
            kinds = ("log", "work") if tx.wakes or tx.types & WAKING else ("log",)
            self._bells.ring(kinds)

    def listen(self, kind: str) -> Listener:
        return doorbell.listen(self.location.bells, kind)

    def replay(self, names: Sequence[str] = (), progress: Progress | None = None) -> int:
        self._reopen_after_fork()
        with Translated(self.location.database), self._gate.hold(None), self._write.block():
            view = SqliteView(self._db)
            head = view.head()[0]
            broken = self._registry.replay(names, head, progress)
            folded = view.size(head)
        _raise_broken(broken)
        return folded

    def check(self, progress: Progress | None = None) -> list[str]:
        self._reopen_after_fork()
        self._check_files()
        with Translated(self.location.database):
            return self._retry_if_archived(lambda: self._differences(progress))

    def _differences(self, progress: Progress | None) -> list[str]:
        view = SqliteView(self._db)
        projections = self._registry.standing()
        database = scratch(projections)
        store = SqliteStore(database)
        found: list[str] = []
        try:
            upto = view.head()[0]
            self._registry.fold_anew(projections, upto, store, progress)
            # Whatever came meanwhile is folded within the snapshot in which the tables are compared.
            with self._db:
                head = view.head()[0]
                replay.fold(projections, self._registry.pages(upto, head), view.history, store)
                live = SqliteStore(self._db)
                found += (line for p in projections for line in replay.differences(p, live, store))
            return found
        finally:
            database.close()

    @contextmanager
    def past(self, seq: int, names: Collection[str] = PAST, progress: Progress | None = None) -> Generator[View]:
        self._reopen_after_fork()
        self._check_files()
        with Translated(self.location.database):
            view = self._retry_if_archived(lambda: self._past(seq, names, progress))
            try:
                yield view
            finally:
                view.close()

    @contextmanager
    def rerun(
        self, after: int, upto: int, names: Collection[str], progress: Progress | None = None
    ) -> Generator[Rerun]:
        self._reopen_after_fork()
        self._check_files()
        with Translated(self.location.database):
            folding, live = self._registry.builtin(names), SqliteView(self._db)
            folded = self._retry_if_archived(lambda: folded_upto(live, after, folding, progress, indexed=True))
            try:
                yield SqliteRerun(folded, folding, live, self.location.database, (after, upto), progress)
            finally:
                folded.close()

    def _past(self, seq: int, names: Collection[str], progress: Progress | None) -> PastView:
        live = SqliteView(self._db)
        folded = folded_upto(live, seq, self._registry.builtin(names), progress)
        try:
            return PastView(folded, live, self.location.database, seq)
        except BaseException:
            folded.close()
            raise

    def _retry_if_archived(self, make: Callable[[], Made]) -> Made:
        """What is made of the log, page by page. Where events were archived meanwhile, under its hands, it is made once
        more within a snapshot: the WAL grows for as long as that takes (R8), but nothing can go."""
        view = SqliteView(self._db)
        end = view.head()[0]
        try:
            made = make()
            if not any_archived(view, end):
                return made
        except Unreadable:
            if not any_archived(view, end):
                raise
        with self.snapshot():
            return make()

    def load(self, contents: Contents, progress: Progress | None = None) -> int:
        self._reopen_after_fork()
        with Translated(self.location.database), self._gate.hold(None):
            with self._write.block():
                head = copy.take_in(self._db, contents)
                try:
                    broken = self._registry.replay((), head, progress)
                except (Unreadable, apsw.ConstraintError) as error:
                    raise Invalid(f"these events can't have happened: {error}") from error
            self._high_water.record(head, self._mark)
        self._bells.ring(("log", "work"))
        _raise_broken(broken)
        return head

    def copy(self, path: str, *, secrets: bool) -> None:
        self._reopen_after_fork()
        self._check_files()
        with Translated(path):
            copy.copy(self._db, path, secrets=secrets)

    def acknowledged(self) -> int:
        return self._high_water.read().seq

    def set_durability(self, level: str) -> None:
        self._reopen_after_fork()
        self._synchronous = level
        with Translated(self.location.database):
            self._db.pragma("synchronous", database.SYNCHRONOUS[level])

    def checkpoint(self) -> None:
        if self._wal.is_large:
            self._check_files()
            with Translated(self.location.database):
                self._wal.checkpoint(self._gate)

    def set_worker(self, worker: str) -> None:
        self._gate.worker = self._worker = worker

    def is_current(self, *, side_files: bool = True) -> bool:
        return (
            not self._closed_for_fork and self._open_files.are_in_place
            if side_files
            else self._open_files.is_same_database
        )

    def reopen(self) -> None:
        with Translated(self.location.database), self._gate.hold(30.0):
            if self._open_files.overwritten:  # what is in the WAL is not for this one
                raise self._open_files.replaced
            if not self._closed_for_fork and not self._open_files.others_made_new and not self._wal.write_back():
                raise Busy(f"{shown(self.location.database)}: somebody reads it: wait for that to end")
            self._db.close()
        self._gate.close()
        self._high_water.close()
        self._closed_for_fork = True  # where it fails, it is tried again when it is needed
        self._open(30.0, again=True)

    def truncate_wal(self) -> None:
        self._reopen_after_fork()
        self._check_files()
        with Translated(self.location.database):
            self._wal.truncate()

    def close(self) -> None:
        if self._pid == os.getpid() and not self._closed:
            self._closed = True
            forking.unregister(self)
            if not self._closed_for_fork:
                database.disconnect(self._db, self.location, present=self._open_files.are_in_place)
            self._gate.close()
            self._high_water.close()


def _raise_broken(broken: Mapping[str, str]) -> None:
    if broken:
        raise QueueError("; ".join(f"projection {name!r} raised {why}" for name, why in broken.items()))

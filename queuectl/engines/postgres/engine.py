"""The engine for many machines: log and projections in one schema of a PostgreSQL database.

Every write transaction takes one lock first, so that the log has the order that it has in SQLite. What it wrote is in
the log before it is on disk, so that the next writer need not wait for that; the barrier after the commit waits until
it is, and until a synchronous standby has it, before anything is acknowledged (P5).
"""

from collections.abc import Callable, Collection, Generator, Sequence
from contextlib import contextmanager
from typing import TypeVar
from weakref import WeakSet

import psycopg

from projections.replay import Progress
from queuectl.clock import SECOND, boottime
from queuectl.engines.base import PAST, Engine, Holders, Listener, Storage, Symptom
from queuectl.engines.contents import Contents
from queuectl.engines.high_water import HighWaterMark
from queuectl.engines.log_transaction import Known
from queuectl.engines.postgres import schema
from queuectl.engines.postgres.commit import commit, commit_block
from queuectl.engines.postgres.connection import connect, local_settings
from queuectl.engines.postgres.durable import durable_in_time
from queuectl.engines.postgres.errors import PostgresErrors, is_lost
from queuectl.engines.postgres.home import PostgresHighWater, access, open_home
from queuectl.engines.postgres.listener import PostgresListener, notify
from queuectl.engines.postgres.location import PostgresLocation
from queuectl.engines.postgres.patient_connection import MEANWHILE
from queuectl.engines.postgres.registry import PostgresRegistry
from queuectl.engines.postgres.session import Session
from queuectl.engines.postgres.shared_files import PostgresSharedFiles
from queuectl.engines.postgres.transaction import PostgresTransaction
from queuectl.engines.postgres.view import PostgresView
from queuectl.engines.postgres.write_lock import NOW, Head, WriteLock
from queuectl.engines.view import Rerun, Transaction, View
from queuectl.errors import Invalid, QueueError, Refused, Unusable
from queuectl.events import WAKING, Unreadable
from queuectl.host.flock import FileLock, try_lock

Begun = TypeVar("Begun")


class PostgresEngine(Engine):
    """See `queuectl.engines.base.Engine` for what it promises."""

    many_hosts = True

    def __init__(
        self, location: PostgresLocation, *, create: bool = True, progress: Progress | None = None,
        patience: float | None = 30.0, healing: bool = True,
    ) -> None:  # fmt: skip
        """Connect, make the schema where there is none (`create`), and heal what is missing or late (`healing`)."""
        self.location = location
        self.url = location.url
        self._progress = progress
        self._durable = True
        self._writing = False
        self._clock = (0, 0.0)
        """What the server's clock said, and this host's boottime then."""
        self._seen = 0
        """The last event that is known to be durable."""
        self._listeners = WeakSet[PostgresListener]()
        with PostgresErrors(self.url):
            self._session, facts = connect(location)
            try:
                opened = schema.open_schema(self._session, location, create=create)
                self._about, self.made = opened.about, opened.made
                self.home = open_home(facts, self._about)
                self.access = access(location, self.home)
                self._high_water = PostgresHighWater(self.home, self.url)
                self.shared_files = PostgresSharedFiles(self._run, location.name, self._about.key)
                self._use(self._session, facts.version)
                self._begin(opened, patience, healing)
            except BaseException:
                self._session.close()
                raise

    def _use(self, session: Session, version: int) -> None:
        """Go on with this session."""
        self._session = session
        self.sessions += 1
        local = local_settings(self.location, version) if session.pooled else ""
        self._local = local
        self._lock = WriteLock(self.url, self._about.key, local)
        self._registry, self._known = PostgresRegistry(session, PostgresView(session)), Known()

    def _begin(self, opened: schema.Opened, patience: float | None, healing: bool) -> None:
        """Look whether the log is whole, and make the tables so."""
        if not healing:
            return
        note = self._high_water.read()
        self._high_water.check_mark(self._about.mark, note)
        whole = self._registry.is_whole(opened.folding, opened.tables)
        if not whole or opened.head < note.seq:  # it may have been written since
            with self._reading() as view:
                [[is_replica]] = self._session.execute("select pg_is_in_recovery()")
                if not is_replica:  # it may be late, and loses nothing by that as long as it is not promoted
                    self._high_water.check_head(view.head()[0], note)
                whole = whole or self._registry.is_current()
        if not whole:
            with self._block(patience) as view:
                self._registry.active(view.head()[0], self._progress, thorough=True)

    def _check_event(self, session: Session, note: HighWaterMark) -> None:
        """Raise Unusable where the last event that was acknowledged to this host has given way to another."""
        name = self.location.name
        [rows] = session.script(
            f"select at from {name}.events where seq = {note.seq} union all"
            f" select at from {name}.leaves where seq = {note.seq}"
        )
        self._high_water.check_event(int(rows[0][0]) if rows else None, note)

    def _open(self) -> Session:
        """The session; a new one after a fork, or where the connection was lost."""
        if not self._session.is_usable:
            self._session.close()
            note = self._high_water.read()
            session, facts = connect(self.location)
            try:
                if schema.open_schema(session, self.location, create=False).about != self._about:
                    raise Unusable(f"{self.url}: is another queue than before: check the server, and start anew")
                self._check_event(session, note)
            except BaseException:
                session.close()
                raise
            self._use(session, facts.version)
        for listener in self._listeners:
            if listener.is_lost:
                listener.connect()
                listener.ring()
        return self._session

    def now(self) -> int:
        moment, asked = self._clock
        return moment + round((boottime() - asked) * SECOND)

    @property
    def files(self) -> tuple[str, ...]:
        return ()

    def uses(self, pid: int) -> bool | None:
        return None

    def alone(self, name: str) -> FileLock | None:
        """Of this host: two hosts that do the same find out by the version of the stream that they append to."""
        return try_lock(f"{self.home.folder}/{name}")

    def storage(self) -> Storage:
        with self.snapshot() as view:
            assert isinstance(view, PostgresView)
            return Storage(view.size_on_disk())

    def health(self) -> list[Symptom]:
        from queuectl.engines.postgres.server_health import server_health

        with PostgresErrors(self.url):
            return [*server_health(self._open(), self.location, self._about.key)]

    def holders(self) -> Holders:
        """None of this host: the server ends a session that holds the lock and does nothing."""
        return Holders((), ())

    @contextmanager
    def snapshot(self, *, long: bool = False) -> Generator[View]:
        with PostgresErrors(self.url), self._reading(long=long) as view:
            yield view
            head = view.head()[0]
            if head > self._seen and self._durable and not view.is_replica:
                with durable_in_time(self._session, self.url):
                    self._session.end_reading(durable=True)
                self._seen = head

    def _begun(self, begin: Callable[[Session], Begun]) -> tuple[Session, Begun]:
        """Begin a transaction; in a new session where the connection turns out to have been lost since it was used."""
        session = self._open()
        try:
            return session, begin(session)
        except psycopg.OperationalError as error:
            if not is_lost(error):
                raise
            session.close()
        session = self._open()
        return session, begin(session)

    def _run(self, function: Callable[[Session], Begun]) -> Begun:
        """The result of a function that asks the server outside of the log's transactions. It may be called twice."""
        with PostgresErrors(self.url):
            return self._begun(function)[1]

    def _taken(self, session: Session, patience: float | None, meanwhile: Callable[[], None] | None) -> Head:
        with session.doing(meanwhile):
            head = self._lock.take(session, patience)
        self._clock = (head.now, boottime())
        return head

    @contextmanager
    def _reading(self, *, long: bool = False) -> Generator[PostgresView]:
        patience = "set local idle_in_transaction_session_timeout = 0;" if long else ""
        session, [*_, [[seq, at, now, is_replica]]] = self._begun(
            lambda session: session.script(
                "begin isolation level repeatable read read only;"
                f"{self._local} {patience} select seq, at, {NOW},"
                f" pg_is_in_recovery() from {self.location.name}.log"
            )
        )
        self._clock = (int(now), boottime())
        try:
            yield PostgresView(session, (int(seq), int(at)), is_replica=is_replica == "t")
        finally:
            session.end_reading()

    @contextmanager
    def _block(self, patience: float | None = None) -> Generator[PostgresView]:
        """A write transaction for a block, in which no event is appended, undone where it raises."""
        session, head = self._begun(lambda session: self._taken(session, patience, None))
        try:
            session.queue("set local idle_in_transaction_session_timeout = 0")
            yield PostgresView(session, (head.seq, head.at))
            commit_block(session)
        except BaseException:
            session.roll_back()
            raise

    @contextmanager
    def transaction(
        self, patience: float | None = 30.0, meanwhile: Callable[[], None] | None = None
    ) -> Generator[Transaction]:
        if self._writing:
            raise RuntimeError("a transaction of this queue is open already; finish it first")
        with PostgresErrors(self.url):
            self._writing = True
            try:
                session, head = self._begun(lambda session: self._taken(session, patience, meanwhile))
                self._high_water.check(self._about.mark, head.seq)
                tx = PostgresTransaction(session, self._registry, self._known, head)
                yield tx
                tx.finish()
                for kind in _rung(tx):
                    session.queue(notify(self._about.key, kind))
                commit(
                    session,
                    tx.first,
                    self._open,
                    self._lock,
                    meanwhile,
                    self.url,
                    durable=self._durable,
                    endless=patience is None,
                )
                tx.committed()
            except BaseException:
                self._known.contents = -1
                self._session.roll_back()
                raise
            finally:
                self._writing = False
        if tx.types:
            self._seen = tx.seq
            if self._durable:
                self._high_water.record(tx.seq, self._about.mark, tx.at)

    def listen(self, kind: str) -> Listener:
        with PostgresErrors(self.url):
            listener = PostgresListener(self.location, self._about.key, kind)
        self._listeners.add(listener)
        return listener

    def replay(self, names: Sequence[str] = (), progress: Progress | None = None) -> int:
        with PostgresErrors(self.url), self._block() as view:
            head = view.head()[0]
            broken = self._registry.replay(names, head, progress)
            folded = view.size(head)
        if broken:
            raise QueueError("; ".join(f"projection {name!r} raised {why}" for name, why in broken.items()))
        return folded

    # What is folded anew is in a private SQLite database. Few commands load that.

    def check(self, progress: Progress | None = None) -> list[str]:
        from projections.replay import differences
        from queuectl.engines.sqlite.store import SqliteStore
        from queuectl.engines.sqlite.tables import scratch

        with PostgresErrors(self.url), self._reading(long=True) as view:
            projections = self._registry.standing()
            database = scratch(projections)
            try:
                store = SqliteStore(database)
                self._registry.fold_anew(projections, view.head()[0], store, progress)
                return [line for each in projections for line in differences(each, view.store, store)]
            finally:
                database.close()

    @contextmanager
    def past(self, seq: int, names: Collection[str] = PAST, progress: Progress | None = None) -> Generator[View]:
        from queuectl.engines.private_copy import private_copy
        from queuectl.engines.sqlite.past import PastView
        from queuectl.engines.sqlite.view import SqliteView

        with PostgresErrors(self.url), self._reading(long=True) as view:
            folded = private_copy(view, seq, seq, self._registry.builtin(names), progress)
        past = PastView(folded, SqliteView(folded), None, seq)
        try:
            yield past
        finally:
            past.close()

    @contextmanager
    def rerun(
        self, after: int, upto: int, names: Collection[str], progress: Progress | None = None
    ) -> Generator[Rerun]:
        from queuectl.engines.private_copy import private_copy
        from queuectl.engines.sqlite.rerun import SqliteRerun
        from queuectl.engines.sqlite.view import SqliteView

        folding = self._registry.builtin(names)
        with PostgresErrors(self.url), self._reading(long=True) as view:
            folded = private_copy(view, after, upto, folding, progress, indexed=True)
        try:
            yield SqliteRerun(folded, folding, SqliteView(folded), None, (after, upto), progress)
        finally:
            folded.close()

    def load(self, contents: Contents, progress: Progress | None = None) -> int:
        with PostgresErrors(self.url):
            with self._block() as view:
                if view.head()[0]:
                    raise Refused("there is a log here already: name a new database with --db")
                head = view.take_in(contents)
                try:
                    broken = self._registry.replay((), head, progress)
                except (Unreadable, psycopg.IntegrityError) as error:
                    raise Invalid(f"these events can't have happened: {error}") from error
                for kind in ("log", "work"):
                    self._session.queue(notify(self._about.key, kind))
            self._known.contents = -1
            self._high_water.record(head, self._about.mark)
        if broken:
            raise QueueError("; ".join(f"projection {name!r} raised {why}" for name, why in broken.items()))
        return head

    def copy(self, path: str, *, secrets: bool) -> None:
        from queuectl.engines.contents import contents
        from queuectl.engines.sqlite.copy import filling, take_in

        with filling(path) as db, self.snapshot(long=True) as view:
            take_in(db, contents(view, secrets=secrets))

    def acknowledged(self) -> int:
        return self._high_water.read().seq

    def set_durability(self, level: str) -> None:
        self._durable = level == "full"

    def set_worker(self, worker: str) -> None:
        pass

    def while_waiting(self, meanwhile: Callable[[], None] | None) -> None:
        MEANWHILE.set(meanwhile)

    def checkpoint(self) -> None:
        pass

    def is_current(self, *, side_files: bool = True) -> bool:
        return True

    def reopen(self) -> None:
        self._session.close()
        with PostgresErrors(self.url):
            self._open()

    def truncate_wal(self) -> None:
        pass

    def close(self) -> None:
        self._session.close()
        self._high_water.close()


def _rung(tx: PostgresTransaction) -> tuple[str, ...]:
    """The kinds of listeners that are to be woken."""
    if not tx.types:
        return ()
    return ("log", "work") if tx.wakes or tx.types & WAKING else ("log",)

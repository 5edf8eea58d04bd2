"""Where each projection stands, and how one that is missing, late, older or broken is brought up to the head (R4).

Looked at when a database is opened and in every write transaction. Newer code rebuilds what older code made; older code
stops. A user's projection is known by its import path, kept in the database by `replay`; where it can't be imported
(another installation) it is left behind, and the next process that can import it catches it up before it folds on.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from importlib import import_module
from typing import Any, Protocol

import msgspec

from projections import Builtin, Change, Projection, Store, builtin, replay
from projections.replay import Progress
from projections.store import marks
from queuectl.errors import Invalid, NotFound, Outdated
from queuectl.events import Recorded, Unreadable

PAGE = 1000
"""Events folded at a time: so few that what is made of them stays in the processor's cache."""

RESERVED = ("events", "leaves", "projection_state", "secrets", "file_mark", "about", "log")
"""Tables that are no projection's, in any engine."""


class Tables(Protocol):
    """The tables of the projections in one database."""

    @property
    def store(self) -> Store:
        """Access to them."""
        ...

    @property
    def own_faults(self) -> tuple[type[Exception], ...]:
        """What is raised where the database itself is at fault, whatever was asked of it."""
        ...

    def exist(self, names: Sequence[str]) -> bool:
        """Whether all of these are there."""
        ...

    def make(self, script: str) -> None:
        """Run the statements of a projection's schema."""
        ...

    def drop(self, names: Collection[str]) -> None:
        """Drop those of these that are there."""
        ...

    def drop_indexes(self, names: Sequence[str]) -> list[str]:
        """Drop the indexes of these that no key needs, and return the statements that make them again."""
        ...

    def savepoint(self) -> AbstractContextManager[Any]:
        """What is done in this block is undone where it raises, and nothing else."""
        ...


class Log(Protocol):
    """The log of the same database."""

    def head(self) -> tuple[int, int]:
        """(seq, at) of the last event."""
        ...

    def events(self, *, after: int, upto: int, limit: int) -> list[Recorded]:
        """A page of the log."""
        ...

    def history(self, streams: Collection[str], before: int) -> Iterable[Recorded]:
        """The events of these streams before seq `before`, each stream's in order."""
        ...

    def by_stream(self, upto: int) -> Iterator[Recorded]:
        """The events up to `upto`, stream after stream as these began; none of one without a beginning."""
        ...

    def size(self, upto: int) -> int:
        """How many events there are up to this one."""
        ...


class ProjectionPosition(msgspec.Struct, frozen=True):
    """A row of `projection_state`."""

    name: str
    version: int
    seq: int
    """The last event that it has folded."""
    tables: str
    source: str | None
    broken: str | None


class Registry:
    """The projections of one database: ours, and those that users have registered in it."""

    def __init__(self, tables: Tables, log: Log) -> None:
        self._tables = tables
        self._store = tables.store
        self._log = log
        self._builtin = {projection.name: projection for projection in builtin()}
        self._user: dict[str, Projection | None] = {}
        self.only_ours = False
        """Whether there are no others, and all are folded into; as of `active`."""

    def rows(self) -> dict[str, ProjectionPosition]:
        """Where each stands, by name."""
        sql = "select name, version, seq, tables, source, broken from projection_state"
        return {row[0]: ProjectionPosition(*row) for row in self._store.execute(sql)}

    def is_current(self) -> bool:
        """Whether our own projections need nothing (asked once, when the database is opened)."""
        rows, head = self.rows(), self._log.head()[0]
        stand = all(
            (row := rows.get(name)) is not None and row.version == projection.version and row.seq == head
            for name, projection in self._builtin.items()
        )
        return stand and self._tables.exist([table for ours in self._builtin.values() for table in ours.tables])

    def active(self, head: int, progress: Progress | None = None, *, thorough: bool = False) -> list[Projection]:
        """The projections to fold into, each at the head. Within a write transaction only.

        `thorough` also looks whether the tables are there. Raises Unusable where newer code has been here.
        """
        rows = self.rows()
        folding: list[Projection] = []
        stale: list[Projection] = []
        for name, projection in self._builtin.items():
            row = rows.get(name)
            if row is not None and row.version > projection.version:
                raise Outdated(f"the database was upgraded by a newer queuectl (projection {name!r}): restart this one")
            missing = thorough and not self._tables.exist(projection.tables)
            if row is None or row.version < projection.version or missing:
                stale.append(projection)
            elif row.seq < head:
                self._catch_up(projection, row.seq, head)
            folding.append(projection)
        if stale:
            self._rebuild(stale, head, progress)
        for row in rows.values():
            if row.source is None or row.broken is not None:
                continue
            projection = self._imported(row.name, row.source)
            if projection is None or projection.version != row.version:
                continue  # not the code that filled it: left behind until `replay`
            catch_up = partial(self._catch_up, projection, row.seq, head)
            if row.seq < head and not self.in_savepoint(projection, catch_up):
                continue
            folding.append(projection)
        self.only_ours = not stale and len(rows) == len(self._builtin)
        return folding

    def fold(self, folding: Sequence[Projection], changes: Sequence[Change]) -> None:
        """Fold into ours, then into users' own, each of those in a savepoint."""
        types = {change.record.type for change in changes}
        for projection in folding:
            ours = self._builtin.get(projection.name)
            if ours is not None:
                if ours.reads is None or not ours.reads.isdisjoint(types):
                    ours.fold(changes, self._store)
            else:
                self.in_savepoint(projection, partial(projection.fold, changes, self._store))

    def in_savepoint(self, projection: Projection, work: Callable[[], Any]) -> bool:
        """Do a user's projection's work in a savepoint; where it raises, undo it and set the projection aside."""
        try:
            with self._tables.savepoint():
                work()
        except (Unreadable, *self._tables.own_faults):
            raise  # the log's or the database's fault, not the projection's
        except Exception as error:  # noqa: BLE001 - whatever it is, it must not keep ours from being written
            self._store.execute(
                "update projection_state set broken = ? where name = ?",
                (f"{type(error).__name__}: {error}", projection.name),
            )
            return False
        return True

    def advance(self, folding: Sequence[Projection], head: int) -> None:
        """Note that these have folded everything up to `head`."""
        if self.only_ours and len(folding) == len(self._builtin):
            self._store.execute("update projection_state set seq = ?", (head,))
            return
        self._store.execute(
            f"update projection_state set seq = ? where name in ({marks(folding)}) and broken is null",
            (head, *(projection.name for projection in folding)),
        )

    def replay(self, names: Sequence[str], head: int, progress: Progress | None = None) -> dict[str, str]:
        """Register what is installed, drop the tables of all (or the named) projections and fold them anew.

        Returns what went wrong with users' own, by name. Raises NotFound for an unknown name, Invalid for an installed
        one that can't be used at all.
        """
        sources = installed()
        known = dict.fromkeys((*self._builtin, *sources))
        for name in names:
            if name not in known:
                raise NotFound(f"no projection {name!r}; there are {', '.join(known)}")
        chosen = set(names or known)
        reserved = {*RESERVED, *(table for ours in self._builtin.values() for table in ours.tables)}
        theirs = {
            name: self._load_installed(name, source, reserved)
            for name, source in sources.items()
            if name in chosen or name in self._builtin
        }
        before = self.rows()
        ours = [projection for name, projection in self._builtin.items() if name in chosen]
        if ours:
            self._rebuild(ours, head, progress)
        for name, projection in theirs.items():
            self._user[name] = projection
            self._record(projection, 0, sources[name])
            self.in_savepoint(projection, partial(self._rebuild, [projection], head, progress, sources[name], before))
        return {row.name: row.broken for row in self.rows().values() if row.broken is not None and row.name in chosen}

    def _load_installed(self, name: str, source: str, reserved: set[str]) -> Projection:
        """An installed projection, whose tables are then `reserved` as well."""
        try:
            projection = load(source)
            tables = {table.lower() for table in projection.tables}  # as SQL compares names
        except Exception as error:
            what = f"{type(error).__name__}: {error}"
            raise Invalid(f"the projection {name!r} ({source}) can't be loaded: {what}") from error
        if name in self._builtin or projection.name != name or tables & reserved:
            raise Invalid(
                f"the projection {name!r} ({source}) must have its entry point's name, and tables that nobody else has"
            )
        reserved |= tables
        return projection

    def builtin(self, names: Collection[str]) -> list[Builtin]:
        """Our projections of these names, in the order in which they are folded."""
        return [projection for name, projection in self._builtin.items() if name in names]

    def standing(self) -> list[Projection]:
        """The projections that stand at the head: ours, and those of users' own that can be imported here."""
        head = self._log.head()[0]
        theirs = [
            self._imported(row.name, row.source)
            for row in self.rows().values()
            if row.source is not None and row.broken is None and row.seq == head
        ]
        return [*self._builtin.values(), *(projection for projection in theirs if projection is not None)]

    def fold_anew(
        self, projections: Sequence[Projection], upto: int, store: Store, progress: Progress | None = None
    ) -> None:
        """Fold the log up to an event into empty tables: ours stream by stream, users' own in the order of the log.

        Raises Unreadable where the log is damaged.
        """
        ours = [projection for projection in self._builtin.values() if projection in projections]
        theirs = [projection for projection in projections if projection not in ours]
        if ours:
            folded = replay.fold_streams(ours, self._log.by_stream(upto), store, progress, upto)
            if lost := self._log.size(upto) - folded:
                raise Unreadable(f"{lost} events belong to streams of which the first event is missing")
        if theirs:
            replay.fold(theirs, self.pages(0, upto), self._log.history, store, progress, upto)

    def pages(self, after: int, head: int) -> Iterator[list[Recorded]]:
        """The log from after `after` to `head`, in pages; no cursor is left open between two."""
        while after < head and (page := self._log.events(after=after, upto=head, limit=PAGE)):
            yield page
            after = page[-1].seq

    def _catch_up(self, projection: Projection, seq: int, head: int) -> None:
        replay.fold([projection], self.pages(seq, head), self._log.history, self._store)
        self.advance([projection], head)

    def _rebuild(
        self,
        projections: Sequence[Projection],
        head: int,
        progress: Progress | None,
        source: str | None = None,
        before: Mapping[str, ProjectionPosition] | None = None,
    ) -> None:
        rows = self.rows() if before is None else before
        for projection in projections:
            old = rows.get(projection.name)
            self._tables.drop({*projection.tables, *(old.tables.split() if old is not None else ())})
            self._tables.make(projection.schema)
        # Making an index once, when the table is full, costs less than keeping it up. A user's fold may need its own.
        ours = [table for each in projections if each.name in self._builtin for table in each.tables]
        indexes = self._tables.drop_indexes(ours)
        self.fold_anew(projections, head, self._store, progress)
        for index in indexes:
            self._tables.make(index)
        for projection in projections:
            self._record(projection, head, source)

    def _record(self, projection: Projection, seq: int, source: str | None) -> None:
        self._store.execute(
            """
            insert into projection_state (name, version, seq, tables, source, broken) values (?, ?, ?, ?, ?, null)
            on conflict (name) do update set
                version = excluded.version, seq = excluded.seq, tables = excluded.tables, source = excluded.source,
                broken = null
            """,
            (projection.name, projection.version, seq, " ".join(projection.tables), source),
        )

    def _imported(self, name: str, source: str) -> Projection | None:
        """A user's projection, or None where it can't be imported here: then it is left behind, not lost."""
        if name not in self._user:
            try:
                self._user[name] = load(source)
            except Exception:  # noqa: BLE001 - a module may fail to import in any way
                self._user[name] = None
        return self._user[name]


def installed() -> dict[str, str]:
    """The import path of every projection that an installed package offers, by name."""
    from importlib.metadata import entry_points

    from projections import GROUP

    return {entry.name: entry.value for entry in entry_points(group=GROUP)}


def load(source: str) -> Projection:
    """The projection at an import path: `package.module` or `package.module:name` (a class is made an instance)."""
    module, _, attribute = source.partition(":")
    found: Any = import_module(module)
    for part in filter(None, attribute.split(".")):
        found = getattr(found, part)
    return found() if isinstance(found, type) else found

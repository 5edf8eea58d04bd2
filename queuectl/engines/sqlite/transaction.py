"""Writing to SQLite: what is decided becomes rows of the log and of every projection, within one transaction."""

from collections.abc import Iterable, Mapping, Sequence

import apsw
from msgspec.structs import astuple

from projections import Change, evolve
from projections.jobs import Job
from queuectl import clock
from queuectl.engines.sqlite.copy import INSERT
from queuectl.engines.sqlite.projection_registry import Registry
from queuectl.engines.sqlite.view import SqliteView
from queuectl.engines.view import Leaf, Transaction, Write
from queuectl.errors import Conflict, Refused
from queuectl.events import Recorded, encode


class SqliteTransaction(SqliteView, Transaction):
    """The write transaction: see `queuectl.engines.base.Transaction`."""

    def __init__(self, db: apsw.Connection, registry: Registry) -> None:
        super().__init__(db)
        self._registry = registry
        self.seq, last = self.head()
        self._folding = registry.active(self.seq)
        self.now = clock.now()
        self.at = max(self.now, last + 1)
        self.types: set[str] = set()
        self._conflict: Conflict | None = None

    def append(self, writes: Iterable[Write], actor: str) -> list[Change]:
        changes: list[Change] = []
        seq, at = self.seq, self.at
        for write in writes:
            before = write.before
            version = write.version if before is None else before.version
            for event in write.events:
                seq += 1
                version += 1
                data = encode(event).decode()
                record = Recorded(seq, write.stream, version, event.type, event.v, at, actor, data)
                after = evolve(before, record, event)
                changes.append(Change(record, event, before, after))
                before = after
        if not changes:
            return changes
        self.types.update(change.record.type for change in changes)
        try:
            self._db.executemany(INSERT, (astuple(change.record) for change in changes))
        except apsw.ConstraintError as error:
            # Some of the rows are in: a caller that catches this must not commit them.
            self._conflict = Conflict(f"{error}: load it again and decide again")
            raise self._conflict from error
        self._registry.fold(self._folding, changes)
        self.seq = seq
        return changes

    def finish(self) -> None:
        """Note how far the projections are, last thing before the commit. Raises the Conflict that a caller caught."""
        if self._conflict is not None:
            raise self._conflict
        if self.types:
            self._registry.advance(self._folding, self.seq)

    def ready(self, queues: Sequence[str], limit: int) -> list[Job]:
        return self._ready(queues, limit, self.now)

    def numbers(self, count: int) -> range:
        last = self._db.execute("select last from numbers where name = 'job'").get or 0
        return range(last + 1, last + 1 + count)

    def keep_secrets(self, job: str, values: Mapping[str, str]) -> None:
        self._db.executemany(
            """
            insert into secrets (job, name, value) values (?, ?, ?)
            on conflict (job, name) do update set value = excluded.value
            """,
            [(job, name, value) for name, value in values.items()],
        )

    def secrets(self, job: str) -> dict[str, str]:
        return dict(self._db.execute("select name, value from secrets where job = ?", (job,)))

    def forget_secrets(self, jobs: Iterable[str]) -> None:
        self._db.executemany("delete from secrets where job = ?", [(job,) for job in jobs])

    def keep_leaves(self, leaves: Iterable[Leaf]) -> None:
        self._db.executemany("insert into leaves (seq, at, hash) values (?, ?, ?)", map(astuple, leaves))

    def remove(self, streams: Iterable[str]) -> None:
        folding = {projection.name for projection in self._folding}
        for row in self._registry.rows().values():
            if row.broken is not None or row.name not in folding:
                why = row.broken or "its code is not installed here"
                raise Refused(f"the projection {row.name!r} would miss it ({why}): mend that, then `queuectl replay`")
        self._db.executemany(
            """
            delete from events
            where stream = ?1 and version < (select max(version) from events where stream = ?1 and type = 'archived')
            """,
            [(stream,) for stream in streams],
        )

"""Writing to PostgreSQL: one transaction of two round trips, ordered by one lock for all writers of a schema."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from projections import Change
from projections.new_jobs import Alike
from queuectl.engines.log_transaction import Known, LogTransaction
from queuectl.engines.postgres.log_rows import insert_events, insert_leaves, refuse_archived
from queuectl.engines.postgres.registry import PostgresRegistry
from queuectl.engines.postgres.session import BULK, Session
from queuectl.engines.postgres.view import PostgresView
from queuectl.engines.postgres.write_lock import Head
from queuectl.engines.view import Leaf, Write
from queuectl.events import Recorded


class PostgresTransaction(PostgresView, LogTransaction):
    """The write transaction: see `queuectl.engines.base.Transaction`.

    A stream that has moved on is found when the rows are sent: at the next question, or in the commit.
    """

    def __init__(self, session: Session, registry: PostgresRegistry, known: Known, head: Head) -> None:
        PostgresView.__init__(self, session)
        self.first: Recorded | None = None
        """The first event that was appended."""
        # A newer version makes the tables anew without an event: then the head does not name ours any more.
        if known.contents != head.seq or not registry.are_ours(head.folding):
            known.seq, known.at = head.seq, head.at
            known.folding = registry.active_at(head.seq, head.folding)
            known.has_config, known.number, known.empty = False, None, set()
        self._head = head
        LogTransaction.__init__(self, registry, known, head.now)

    def head(self) -> tuple[int, int]:
        return (self.seq, self.at) if self.types else (self._head.seq, self._head.at)

    def numbers(self, count: int) -> range:
        self._take_time(count)
        return super().numbers(count)

    def append(self, writes: Iterable[Write], actor: str) -> list[Change]:
        given = [*writes]
        self._take_time(len(given))
        return super().append(given, actor)

    def enqueue(self, groups: Sequence[Alike], actor: str) -> None:
        self._take_time(sum(len(group.jobs) for group in groups))
        super().enqueue(groups, actor)

    def _take_time(self, events: int) -> None:
        if events >= BULK:
            self._session.take_time()

    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        if self.first is None:
            self.first = Recorded(*rows[0])
        refuse_archived(self._session, rows)
        insert_events(self._session, rows)

    def _contents(self) -> int:
        return self.seq

    def finish(self) -> None:
        super().finish()
        if self.types:
            self._session.queue("update log set seq = ?, at = ?", (self.seq, self.at))

    def keep_secrets(self, job: str, values: Mapping[str, str]) -> None:
        self._session.queue_many(
            """
            insert into secrets (job, name, value) values (?, ?, ?)
            on conflict (job, name) do update set value = excluded.value
            """,
            [(job, name, value) for name, value in values.items()],
        )

    def secrets(self, job: str) -> dict[str, str]:
        rows = self._session.execute("select name, value from secrets where job = ?", (job,))
        return dict(rows)

    def forget_secrets(self, jobs: Iterable[str]) -> None:
        if ids := [*jobs]:
            self._session.queue("delete from secrets where job = any(?::text[])", (ids,))

    def keep_leaves(self, leaves: Iterable[Leaf]) -> None:
        insert_leaves(self._session, leaves)

    def remove(self, streams: Iterable[str]) -> None:
        self._refuse_removal()
        self._session.queue(
            """
            delete from events
            using (select stream, max(version) as version from events
                   where stream = any(?::text[]) and type = 'archived' group by stream) as tombstone
            where events.stream = tombstone.stream and events.version < tombstone.version
            """,
            ([*streams],),
        )

"""What `doctor` asks of a PostgreSQL database: whether it is sound, and the log in it whole."""

from projections.replay import Progress
from queuectl.engines.postgres.session import Session
from queuectl.engines.view import ProjectionStatus, View


class PostgresHealth(View):
    """The part of a view that looks at the database rather than at what it says."""

    _session: Session

    def damage(self, progress: Progress | None = None) -> list[str]:
        """Rows of the log that can't be read are found as they are read: PostgreSQL has no other check of its own that
        needs no superuser."""
        total = 0
        after = 0
        while rows := self._store.execute(
            "select seq, length(data::text) from events where seq > ? order by seq limit 10000", (after,)
        ):
            after = rows[-1][0]
            total += len(rows)
            if progress is not None:
                progress(total, 0)
        if progress is not None:
            progress(total, 0)
        return []

    def schema_differences(self) -> list[str]:
        wanted = {
            "events_of_stream", "events_archived", "events_tombstones",
            "events_no_update", "events_no_delete", "leaves_no_change",
        }  # fmt: skip
        found = {
            name
            for (name,) in self._store.execute(
                """
                select c.relname from pg_class c where c.relnamespace = current_schema()::regnamespace
                union all
                select t.tgname from pg_trigger t join pg_class c on c.oid = t.tgrelid
                where c.relnamespace = current_schema()::regnamespace and t.tgenabled in ('O', 'A')
                """
            )
        }
        return sorted(wanted - found)

    def highest_seq(self) -> int:
        return self._store.execute("select seq from log")[0][0]

    def streams(self, *, after: str = "", upto: int, limit: int = 1000) -> list[tuple[str, int, int]]:
        rows = self._store.execute(
            """
            select stream,
                (count(*) + sum(case type when 'archived' then (data ->> 'events')::bigint else 0 end))::bigint,
                max(version)
            from events where stream > ? and seq <= ?
            group by stream order by stream limit ?
            """,
            (after, upto, limit),
        )
        return [(stream, events, version) for stream, events, version in rows]

    def projection_statuses(self) -> list[ProjectionStatus]:
        [(head, folding)] = self._store.execute("select seq, folding from log")
        rows = self._store.execute("select name, version, seq, source, broken from projection_state order by name")
        at_head = set(folding.split())
        return [
            ProjectionStatus(name, head if f"{name}:{version}" in at_head else seq, source, broken, version)
            for name, version, seq, source, broken in rows
        ]

    def free_space(self) -> int:
        return 0

    def schema_version(self) -> int:
        return self._store.execute("select schema_version from about")[0][0]

    def wal_backlog(self) -> int:
        return 0

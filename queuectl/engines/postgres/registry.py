"""Where each projection stands, in PostgreSQL: those at the head are named in the one row of the head itself.

So a transaction writes one row, which it writes anyway, in the place of one for each projection.
"""

from collections.abc import Sequence

from projections import Projection
from queuectl.engines.postgres.session import Session
from queuectl.engines.postgres.tables import PostgresTables
from queuectl.engines.projection_registry import Log, ProjectionPosition, Registry


class PostgresRegistry(Registry):
    """The projections of one schema."""

    def __init__(self, session: Session, log: Log) -> None:
        super().__init__(PostgresTables(session), log)
        self._ours = " ".join(sorted(f"{name}:{each.version}" for name, each in self._builtin.items()))

    def is_whole(self, folding: str, tables: frozenset[str]) -> bool:
        """Whether our own projections need nothing, by what `log.folding` says and the tables that there are.

        False where that does not tell: then `is_current` does.
        """
        return self.are_ours(folding) and all(
            table in tables for ours in self._builtin.values() for table in ours.tables
        )

    def are_ours(self, folding: str) -> bool:
        """Whether `log.folding` names the projections of this version, and no others."""
        return folding == self._ours

    def active_at(self, head: int, folding: str) -> list[Projection]:
        """The projections to fold into, each at the head, of which `log.folding` says who is there."""
        if self.are_ours(folding):
            self.only_ours = True
            return [*self._builtin.values()]
        return self.active(head)

    def rows(self) -> dict[str, ProjectionPosition]:
        [(head, folding)] = self._store.execute("select seq, folding from log")
        at_head = set(folding.split())
        return {
            row.name: row
            if f"{row.name}:{row.version}" not in at_head
            else ProjectionPosition(row.name, row.version, head, row.tables, row.source, row.broken)
            for row in super().rows().values()
        }

    def advance(self, folding: Sequence[Projection], head: int) -> None:
        names = " ".join(sorted(f"{each.name}:{each.version}" for each in folding))
        if names == self._ours and self.only_ours:
            self._store.execute("update log set folding = ? where folding <> ?", (names, names))
            return
        self._write_down()
        super().advance(folding, head)

    def _record(self, projection: Projection, seq: int, source: str | None) -> None:
        self._write_down()  # an older version that found itself named there would go on folding into other tables
        super()._record(projection, seq, source)

    def _write_down(self) -> None:
        """Write into the rows what the head says of each: they may be left behind from now on."""
        self._store.execute(
            """
            update projection_state set seq = log.seq from log
            where position(' ' || name || ':' || version || ' ' in ' ' || log.folding || ' ') > 0
            """
        )
        self._store.execute("update log set folding = '' where folding <> ''")

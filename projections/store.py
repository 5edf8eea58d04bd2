"""The tables as projections see them: what a fold may write, and how a question is asked."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol

from projections.table import Row, Table


class Rows(Iterator[tuple[Any, ...]], Protocol):
    """The rows of a statement, read no further than they are asked for."""

    def close(self) -> None:
        """Read no more of them."""
        ...


class Store(Protocol):
    """Access to tables: verbs for many rows, and SQL that SQLite and PostgreSQL share, with `?` for values."""

    def insert(self, table: Table[Row], structs: Collection[Row]) -> None:
        """Insert a row for each struct."""
        ...

    def update(self, table: Table[Row], structs: Collection[Row]) -> None:
        """Update the row that has the key of each struct. Key and unique columns stay."""
        ...

    def upsert(self, table: Table[Row], structs: Collection[Row]) -> None:
        """Insert a row for each struct; where its key is there, update that row as the table's `merge` says."""
        ...

    def delete(self, table: Table[Any], column: str, values: Collection[Any]) -> None:
        """Delete the rows that have one of these values in a column."""
        ...

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and return all its rows."""
        ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement once for each row of values."""
        ...

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        """Run one statement and yield its rows one by one. Nothing may be written meanwhile."""
        ...

"""The tables as projections see them: how a fold writes them (`Store`), and what a question is asked of."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any, Protocol

from projections.table import Row, Table
from queuectl.events import Recorded


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


class Questions(ABC):
    """Questions of one subject, each a method with its SQL. The views of all engines have them.

    The SQL is such that SQLite and PostgreSQL share it; an engine that knows better overrides the method.
    """

    _store: Store

    @abstractmethod
    def last(self, stream: str) -> Recorded | None:
        """The last event of a stream; None where it has none."""

    @abstractmethod
    def seq_at(self, at: int) -> int:
        """The last event that had happened at that moment (µs UTC), archived ones too; 0 where none had."""


def marks(values: Collection[Any]) -> str:
    """The parameters for a list of values."""
    return ", ".join("?" * len(values))

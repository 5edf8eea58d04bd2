"""Reading and writing the tables of projections in SQLite."""

from collections.abc import Collection, Iterable, Sequence
from functools import cache
from typing import Any

import apsw

from projections.store import Rows
from projections.table import Row, Table, identifier


class SqliteStore:
    """The tables of one connection (see `projections.Store`)."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def insert(self, table: Table[Row], structs: Collection[Row]) -> None:
        if structs:
            self._db.executemany(_insert(table), map(table.row, structs))

    def update(self, table: Table[Row], structs: Collection[Row]) -> None:
        if structs:
            self._db.executemany(_update(table), map(table.row, structs))

    def upsert(self, table: Table[Row], structs: Collection[Row]) -> None:
        if structs:
            self._db.executemany(_upsert(table), map(table.row, structs))

    def delete(self, table: Table[Any], column: str, values: Collection[Any]) -> None:
        if values:
            self._db.executemany(f"delete from {table.name} where {column} = ?", [(value,) for value in values])

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return list(self._db.execute(sql, values))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._db.executemany(sql, rows)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        return self._db.execute(sql, values)


@cache
def _insert(table: Table[Any]) -> str:
    columns = ",".join(map(identifier, table.columns))
    return f"insert into {table.name} ({columns}) values ({','.join('?' * len(table.columns))})"


@cache
def _update(table: Table[Any]) -> str:
    """Numbered parameters: a row has the values of all columns, those that stay too."""
    numbers = {column: f"{identifier(column)}=?{place}" for place, column in enumerate(table.columns, 1)}
    changes, keys = ([numbers[column] for column in columns] for columns in (table.merge, table.key))
    return f"update {table.name} set {','.join(changes)} where {' and '.join(keys)}"


@cache
def _upsert(table: Table[Any]) -> str:
    changes = ", ".join(f"{identifier(column)} = {value}" for column, value in table.merge.items())
    return f"{_insert(table)} on conflict ({', '.join(table.key)}) do update set {changes}"

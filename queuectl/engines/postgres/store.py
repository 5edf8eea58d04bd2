"""Reading and writing the tables of projections in PostgreSQL: many rows by one statement, which is not waited for."""

import re
from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from functools import cache, lru_cache
from operator import itemgetter
from typing import Any

import msgspec

from projections.store import Rows
from projections.table import Row, Table, identifier
from queuectl.engines.postgres.session import Session
from queuectl.events import encode

TYPES = {"integer": "bigint", "real": "double precision", "text": "text", "blob": "bytea"}
"""By the type of a column in SQLite."""

FIRST = 500
"""The rows of a question that are fetched at once; what is left is read in pages."""

PAGE = 5000


class PostgresStore:
    """The tables of one session (see `projections.Store`).

    What only writes is queued, and sent with the next statement that has an answer.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def insert(self, table: Table[Row], structs: Collection[Row]) -> None:
        if structs:
            self._write(_insert(table), table, map(table.row, structs))

    def update(self, table: Table[Row], structs: Collection[Row]) -> None:
        for rows in _rounds(table, structs):
            self._write(_update(table), table, rows)

    def upsert(self, table: Table[Row], structs: Collection[Row]) -> None:
        for rows in _rounds(table, structs):
            self._write(_upsert(table), table, rows)

    def delete(self, table: Table[Any], column: str, values: Collection[Any]) -> None:
        if values:
            kind = TYPES.get(table.types[column], table.types[column])
            sql = f"delete from {table.name} where {identifier(column)} = any(?::{kind}[])"
            self._session.queue(sql, ([*values],))

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        if _only_writes(sql):
            self._session.queue(sql, values)
            return []
        return self._session.execute(sql, values)

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._session.queue_many(sql, rows)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        if not _may_be_long(sql) or not self._session.in_transaction:
            return _fetched(self._session.execute(sql, values))
        found = self._session.execute(f"select * from ({sql}) as found limit {FIRST}", values)
        return _fetched(found) if len(found) < FIRST else self._all(found, sql, values)

    def _all(self, first: list[tuple[Any, ...]], sql: str, values: Sequence[Any]) -> Generator[tuple[Any, ...]]:
        yield from first
        for page in self._session.pages(sql, values, len(first), PAGE):
            yield from page

    def _write(self, sql: str, table: Table[Any], rows: Iterable[Sequence[Any]]) -> None:
        struct = _struct(len(table.columns))
        self._session.queue(sql, (encode([struct(*row) for row in rows]).decode(),))


def _fetched(rows: list[tuple[Any, ...]]) -> Generator[tuple[Any, ...]]:
    yield from rows


def _rounds(table: Table[Row], structs: Collection[Row]) -> list[list[tuple[Any, ...]]]:
    """The rows, parted so that in none a key comes twice: a statement does not see what it has written itself.

    As in SQLite a later row finds what an earlier one with its key has left.
    """
    key = _key(table)
    given = [*map(table.row, structs)]
    if len({*map(key, given)}) == len(given):
        return [given] if given else []
    rounds: list[dict[Any, tuple[Any, ...]]] = []
    for row in given:
        found = key(row)
        place = next((place for place, rows in enumerate(rounds) if found not in rows), len(rounds))
        if place == len(rounds):
            rounds.append({})
        rounds[place][found] = row
    return [[*rows.values()] for rows in rounds]


@cache
def _key(table: Table[Any]) -> Callable[[tuple[Any, ...]], Any]:
    return itemgetter(*map(table.columns.index, table.key))


@cache
def _struct(width: int) -> Callable[..., msgspec.Struct]:
    """A struct for the values of a row, in which those that are null are not written."""
    fields = [(f"c{place}", Any, None) for place in range(width)]
    return msgspec.defstruct("PostgresRow", fields, omit_defaults=True, gc=False)


@lru_cache(1024)
def _only_writes(sql: str) -> bool:
    words = sql.split(None, 1)
    return words[0].lower() in ("insert", "update", "delete") and not re.search(r"\breturning\b", sql, re.IGNORECASE)


@lru_cache(1024)
def _may_be_long(sql: str) -> bool:
    """Whether it asks for all rows of a table. Where there are conditions, a limit would mislead the planner."""
    return bool(re.match(r"\s*select\b", sql, re.IGNORECASE)) and not re.search(
        r"\b(where|limit)\b", sql, re.IGNORECASE
    )


# The values of a row are called by their places. A flag comes as JSON's true or false, bytes as base64.


def _given(table: Table[Any]) -> str:
    """The rows of a parameter."""
    kinds = [f"c{place} {_sent(table, column)}" for place, column in enumerate(table.columns)]
    return f"json_to_recordset(?::json) as given({', '.join(kinds)})"


def _sent(table: Table[Any], column: str) -> str:
    kind = table.types[column]
    return "boolean" if column in table.flags else "text" if kind == "blob" else TYPES.get(kind, kind)


def _values(table: Table[Any]) -> dict[str, str]:
    """By column: its value."""
    values: dict[str, str] = {}
    for place, column in enumerate(table.columns):
        value = f"given.c{place}"
        blob = table.types[column] == "blob"
        values[column] = f"decode({value}, 'base64')" if blob else f"{value}::int" if column in table.flags else value
    return values


@cache
def _insert(table: Table[Any]) -> str:
    columns = ", ".join(map(identifier, table.columns))
    return f"insert into {table.name} ({columns}) select {', '.join(_values(table).values())} from {_given(table)}"


@cache
def _update(table: Table[Any]) -> str:
    values = _values(table)
    changes = ", ".join(f"{identifier(column)} = {values[column]}" for column in table.merge)
    keys = " and ".join(f"{table.name}.{identifier(column)} = {values[column]}" for column in table.key)
    return f"update {table.name} set {changes} from {_given(table)} where {keys}"


@cache
def _upsert(table: Table[Any]) -> str:
    key = ", ".join(map(identifier, table.key))
    changes = ", ".join(f"{identifier(column)} = {value}" for column, value in table.merge.items())
    return f"{_insert(table)} on conflict ({key}) do update set {changes}"

"""The rows of an outbox, read and removed through a DB-API connection to the application's database."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from queuectl.errors import Invalid
from queuectl.outbox.schema import TABLE

PAGE = 250
"""Rows that are read at a time: so few that their transaction in the log takes some milliseconds."""

PLACEHOLDERS = {"qmark": "?", "format": "%s", "pyformat": "%s", "numeric": ":1", "named": ":1"}
"""How a statement refers to its value, by the `paramstyle` of the driver's module (PEP 249)."""


class Connection(Protocol):
    """What is needed of a DB-API connection."""

    def cursor(self) -> Any:
        """A cursor."""
        ...

    def commit(self) -> None:
        """End the transaction."""
        ...


class Row(msgspec.Struct, frozen=True):
    """A row that was read. What is not text was put there in the place of it."""

    number: int
    id: object
    job: object


class OutboxTable:
    """The table of an outbox. What the driver raises is raised."""

    def __init__(self, connection: Connection, name: str = TABLE) -> None:
        """`connection` is used for nothing else meanwhile. Raises Invalid where its parameter style is not known."""
        self._connection = connection
        mark = _placeholder(connection)
        self._read = f"select number, id, job from {name} where error is null order by number limit {PAGE}"
        self._remove = f"delete from {name} where id = {mark}"
        self._refuse = f"update {name} set error = {mark} where number = {mark.replace('1', '2')}"

    def read(self) -> list[Row]:
        """The first rows that are committed and have no error.

        All that there are, and not those above the last number that was seen: a row may be committed later than others
        that were numbered after it.
        """
        cursor = self._connection.cursor()
        cursor.execute(self._read)
        rows = [Row(*row) for row in cursor.fetchall()]
        cursor.close()
        self._connection.commit()
        return rows

    def settle(self, moved: Sequence[object], refused: Mapping[int, str]) -> None:
        """Remove the rows with these ids, whose jobs are durable, and write beside others, by number, what is wrong."""
        cursor = self._connection.cursor()
        if moved:
            cursor.executemany(self._remove, [(id,) for id in moved])
        if refused:
            cursor.executemany(self._refuse, [(why, number) for number, why in refused.items()])
        cursor.close()
        self._connection.commit()


def _placeholder(connection: Connection) -> str:
    """The mark for a value, by the `paramstyle` of the driver: of the module or package that its connections are of."""
    for kind in type(connection).__mro__:
        module = kind.__module__
        while module:
            style = getattr(sys.modules.get(module), "paramstyle", None)
            if style in PLACEHOLDERS:
                return PLACEHOLDERS[style]
            module = module.rpartition(".")[0]
    raise Invalid(f"{type(connection).__qualname__} is no connection of a DB-API driver: give the driver's own")

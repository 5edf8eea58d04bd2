"""An application that keeps its data in a database of its own, with an outbox in it."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl.outbox import schema


class Application:
    """Its connection (of any DB-API driver with `?` or `%s` for values), and what it does there."""

    def __init__(self, connection: Any, dialect: str = "sqlite") -> None:
        self.connection = connection
        self._mark = "?" if dialect == "sqlite" else "%s"
        connection.cursor().execute(schema(dialect))
        connection.commit()

    def insert(self, job: Any, id: Any = None) -> None:
        """A row, in a transaction that is still open: a command, a spec (a dictionary), or what has no place there."""
        values = {"job": json.dumps(job) if isinstance(job, dict) else job} | ({"id": id} if id is not None else {})
        marks = ", ".join([self._mark] * len(values))
        self.connection.cursor().execute(
            f"insert into queuectl_outbox ({', '.join(values)}) values ({marks})", tuple(values.values())
        )

    def ask(self, job: Any, id: Any = None) -> None:
        """A row, committed."""
        self.insert(job, id)
        self.connection.commit()

    def rows(self, columns: str = "id, error") -> list[Any]:
        """What is in the outbox."""
        cursor = self.connection.cursor()
        cursor.execute(f"select {columns} from queuectl_outbox order by number")
        rows = cursor.fetchall()
        self.connection.commit()
        return rows

    def change(self, statement: str) -> None:
        """A statement, committed."""
        self.connection.cursor().execute(statement)
        self.connection.commit()

    def close(self) -> None:
        self.connection.close()


@pytest.fixture
def application(tmp_path: Path) -> Iterator[Application]:
    """One with an SQLite database."""
    application = Application(sqlite3.connect(tmp_path / "app.db"))
    yield application
    application.close()

"""The floor: the very statements that QueueCTL gave to PostgreSQL, sent again in the same round trips.

Nothing is decided, folded or encoded: the values are those that QueueCTL had. A copy of the database in which they were
recorded is in the same state, down to the key of the lock.
"""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest import mock

import msgspec
import psycopg

from queuectl.engines.postgres import connection as connecting
from queuectl.engines.postgres.location import DEFAULT_SCHEMA
from queuectl.engines.postgres.pipeline import Pipeline, Statement
from queuectl.engines.postgres.session import Rows, Session
from queuectl.engines.postgres.values import configure


class Trip(msgspec.Struct):
    """What is sent before an answer is waited for."""

    statements: list[Statement]
    is_script: bool = False
    """Whether it is several statements in one text."""

    @property
    def locks(self) -> bool:
        """Whether a transaction begins with it that takes the lock of all writers."""
        return b"pg_advisory_xact_lock" in self.statements[0][0]


Script = list[Trip]


class Played(msgspec.Struct, frozen=True):
    """What one session sent."""

    settings: Trip
    """First of all."""
    before: Script
    """Until it was warm: what it asks for often was prepared, and the server's caches were filled."""
    timed: Script


def begin(scripts: list[Script]) -> list[Trip]:
    """The settings of each session that was opened, after which its script begins."""
    made = {"search_path": DEFAULT_SCHEMA, **connecting.SESSION}
    settings = "; ".join(f"set {name} = '{value}'" for name, value in made.items())
    for script in scripts:
        script.clear()
    return [Trip([(settings.encode(), ())], is_script=True) for _ in scripts]


def taken(script: Script) -> Script:
    """What a session has sent since this was asked last."""
    found = [*script]
    script.clear()
    return found


@contextmanager
def recorded() -> Generator[list[Script]]:
    """Within it, each session that is opened notes down what it sends: a script for each, in the order of opening."""
    scripts: list[Script] = []

    class RecordedSession(Session):
        def __init__(self, connection: psycopg.Connection[Any]) -> None:
            super().__init__(connection)
            self._script: Script = []
            scripts.append(self._script)

        def script(self, sql: str) -> list[Rows]:
            self._script.append(Trip([(sql.encode(), ())], is_script=True))
            return super().script(sql)

        def _run_together(self, statements: Sequence[Statement]) -> Rows:
            self._script.append(Trip([*statements]))
            return super()._run_together(statements)

        def _run(self, sql: bytes, values: Sequence[Any]) -> psycopg.RawCursor[Any]:
            self._script.append(Trip([(sql, values)]))
            return super()._run(sql, values)

    with mock.patch.object(connecting, "Session", RecordedSession):
        yield scripts


class Player:
    """A connection of psycopg that decides nothing. It has the settings of ours, which has them from its start."""

    def __init__(self, dsn: str, settings: Trip) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        configure(self._connection)
        self._pipeline = Pipeline(self._connection)
        self.play(settings)

    def play(self, trip: Trip) -> None:
        """Send the same statements again, and wait for the answers."""
        if trip.is_script:
            self._connection.execute(trip.statements[0][0])
        else:
            self._pipeline.run(trip.statements)

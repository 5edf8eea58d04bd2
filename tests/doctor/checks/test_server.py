"""What the doctor says of a PostgreSQL server: each ill is a real one of a real server."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from freezegun import freeze_time
from psycopg import sql

from queuectl import Queue, doctor
from queuectl.doctor import Finding, InspectedQueue
from queuectl.engines.postgres import server_health
from tests.support.postgres.database import Database
from tests.support.postgres.replication import await_row
from tests.support.postgres.server import PASSWORD

SOUND = {"fsync": "on", "full_page_writes": "on"}


@pytest.fixture
def sound(postgres_with: Callable[..., Database]) -> Database:
    """A queue with one job, on a server that keeps what it acknowledges."""
    return made(postgres_with(16, **SOUND))


def made(database: Database) -> Database:
    with Queue(database.url) as queue:
        queue.enqueue("true", id="a")
    return database


def found(url: str) -> list[Finding]:
    """The findings of the check, without the one that only says which server it is."""
    with InspectedQueue(url) as queue:
        return [*doctor.CHECKS["server"](queue, lambda what: lambda done, total: None)][1:]


def told(finding: Finding) -> tuple[Any, ...]:
    assert finding.do is not None
    assert PASSWORD not in str(finding.json())
    return finding.severity, finding.what


def test_a_sound_server(sound: Database) -> None:
    assert found(sound.url) == []
    with InspectedQueue(sound.url) as queue:
        checks = {check.name: check for check in doctor.examine(queue)}
    assert "wal" not in checks
    assert "gate" not in checks
    [server] = checks["server"].findings
    assert server.what.startswith(f"PostgreSQL {sound.version}.")
    assert server.facts["tables"]["events"] > 0
    assert {check.severity for check in checks.values()} == {"ok"}


@pytest.mark.parametrize(
    "settings,what",
    [
        ({"fsync": "off"}, "fsync is off"),
        ({"full_page_writes": "off"}, "full_page_writes is off"),
        ({"synchronous_commit": "off"}, "synchronous_commit is off: a crash may lose"),
    ],
)
def test_a_server_that_may_lose_jobs(
    postgres_with: Callable[..., Database], settings: dict[str, str], what: str
) -> None:
    [finding] = found(made(postgres_with(16, **SOUND | settings)).url)
    assert told(finding)[0] == "warning"
    assert finding.what.startswith(what)


@pytest.mark.parametrize("hours,side", [(5, "ahead of"), (-5, "behind")])
def test_a_clock_that_is_hours_off(sound: Database, hours: int, side: str) -> None:
    import datetime

    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=hours)
    with freeze_time(moment, tick=True):
        [finding] = found(sound.url)
    assert told(finding)[0] == "problem"
    assert side in finding.what
    assert abs(finding.facts["seconds"] - 5 * 3600) < 300


def test_a_role_that_may_only_read(sound: Database) -> None:
    reader = sound.role()
    sound.execute(
        sql.SQL("grant usage on schema {0} to {1}; grant select on all tables in schema {0} to {1}").format(
            sql.Identifier(sound.schema), sql.Identifier(f"{sound.schema}_0")
        )
    )
    [finding] = found(reader)
    assert told(finding)[0] == "warning"
    assert "events" in finding.facts["lacking"]
    sound.execute(sql.SQL(finding.do.partition(": ")[2]))  # type: ignore[arg-type, union-attr]
    assert found(reader) == []


def test_a_transaction_that_is_open_for_long(sound: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_health, "SNAPSHOT", 0.0)
    with psycopg.connect(sound.url.partition("?")[0]) as session:
        session.execute("select 1")
        pid = session.info.backend_pid
        [finding] = [each for each in found(sound.url) if each.facts.get("pid") == pid]  # others use the database too
        assert told(finding)[0] == "warning"


def test_a_session_that_keeps_the_write_lock(sound: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_health, "LOCK", 0.0)
    with Queue(sound.url) as queue, queue.engine.transaction() as tx:
        assert tx.now
        [finding] = found(sound.url)
    assert told(finding)[0] == "problem"
    assert finding.what.startswith("nobody else can write: the write lock has session ")


def test_rows_that_are_not_cleaned_up(sound: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_health, "DEAD", 100)
    sound.execute("alter table counts set (autovacuum_enabled = off)")
    with psycopg.connect(sound.administrator) as reader, sound.connect() as session:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("select 1")  # what it may still see stays
        for _ in range(200):
            session.execute("update counts set queue = queue")
        session.close()  # it tells then what it has done
        counted = (
            f"select 1 from pg_stat_user_tables where relid = '{sound.schema}.counts'::regclass and n_dead_tup > 100"
        )
        await_row(sound.administrator, counted)
    [finding] = found(sound.url)
    assert told(finding)[0] == "warning"
    assert finding.facts["table"] == "counts"

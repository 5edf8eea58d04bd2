"""Jobs that are enqueued within a transaction of the application are there if and only if its rows are."""

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from queuectl import Absent, Conflict, Exists, Invalid, Queue, Refused, Spec, Unusable
from tests.support.paths import ROOT

if TYPE_CHECKING:
    import psycopg

    from tests.support.postgres.database import Database


def connect(postgres: "Database", **options: Any) -> "psycopg.Connection[Any]":
    """A session of the application, as the role that owns the database; close it."""
    import psycopg

    dsn = postgres.url.partition("?")[0]
    return psycopg.connect(dsn, options=f"-c search_path={postgres.schema}_shop,public", **options)


@pytest.fixture
def queue(postgres: "Database") -> Iterator[Queue]:
    with Queue(postgres.url) as queue:
        yield queue


@pytest.fixture
def shop(postgres: "Database", queue: Queue) -> Iterator["psycopg.Connection[Any]"]:
    """A session of an application that has orders in a schema of its own."""
    with connect(postgres) as connection:
        connection.execute(f"create schema {postgres.schema}_shop".encode())
        connection.execute("create table orders (number int primary key)")
        connection.commit()
        yield connection
        connection.rollback()
        connection.execute(f"drop schema {postgres.schema}_shop cascade".encode())


def ids(queue: Queue) -> list[str]:
    return sorted((job.id for job in queue.jobs()), key=int)


def orders(shop: "psycopg.Connection[Any]") -> list[int]:
    return [number for (number,) in shop.execute("select number from orders order by number").fetchall()]


def test_a_committed_job_is_there(postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]") -> None:
    id = Queue.on(shop, schema=postgres.schema, actor="shop").enqueue("true", priority=7, secrets={"KEY": "value"})
    assert [*queue.jobs()] == []
    shop.commit()
    [job] = queue.jobs()
    assert (job.id, job.state, job.priority, job.policy.secrets) == (id, "pending", 7, ("KEY",))
    assert {event.actor for event in queue.events()} == {"shop"}
    assert queue.check() == []
    assert queue.enqueue("true") == "2"


def test_a_rolled_back_job_leaves_nothing(postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]") -> None:
    shop.execute("insert into orders values (1)")
    Queue.on(shop, schema=postgres.schema).enqueue("true", batch="night")
    shop.rollback()
    assert orders(shop) == []
    assert ([*queue.jobs()], queue.batches(), [*queue.events()]) == ([], [], [])
    assert queue.enqueue("true") == "1"
    assert queue.check() == []


def test_a_kept_environment_is_logged_after_rollback(
    postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]", monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUECTL_KEEP_ENV", "SHOP_NAME")
    monkeypatch.setenv("SHOP_NAME", "lamps")
    joined = Queue.on(shop, schema=postgres.schema)
    joined.enqueue("true")
    shop.rollback()
    joined.enqueue("true")
    shop.commit()
    assert [event.type for event in queue.events()] == ["environment_kept", "enqueued"]


def test_savepoints_take_their_jobs_along(postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]") -> None:
    import psycopg

    joined = Queue.on(shop, schema=postgres.schema)
    with shop.transaction():
        first = joined.enqueue("echo first")
        with shop.transaction() as savepoint:
            joined.enqueue("echo undone")
            raise psycopg.Rollback(savepoint)
        second = joined.enqueue("echo second")
    assert {job.id: job.policy.command for job in queue.jobs()} == {first: "echo first", second: "echo second"}
    assert queue.check() == []


def test_what_is_refused_leaves_the_transaction_usable(
    postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]"
) -> None:
    joined = Queue.on(shop, schema=postgres.schema)
    shop.execute("insert into orders values (1)")
    joined.enqueue("true", id="mail")
    with pytest.raises(Exists, match="'mail' already"):
        joined.enqueue_many(["echo none", Spec(command="true", id="mail")])
    with pytest.raises(Invalid, match="NUL"):
        joined.enqueue("echo a", reason="\0")
    assert orders(shop) == [1]
    shop.commit()
    assert [job.id for job in queue.jobs()] == ["mail"]


def test_dependencies_batches_and_keys_work(
    postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]"
) -> None:
    joined = Queue.on(shop, schema=postgres.schema)
    first = joined.enqueue("true", unique="once", batch="night")
    assert joined.enqueue("true", unique="once") == first
    second, third = joined.enqueue_many([Spec(command="true", after=(first,)), Spec(argv=("echo", "it's"), cwd="/")])
    shop.commit()
    states = {job.id: (job.state, job.batch) for job in queue.jobs()}
    assert states == {first: ("pending", "night"), second: ("blocked", None), third: ("pending", None)}
    assert queue.check() == []


def test_the_callers_session_is_left_alone(postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]") -> None:
    import psycopg
    from psycopg.rows import dict_row
    from psycopg.types.string import StrDumper, TextLoader

    class Shouting(StrDumper):
        def dump(self, obj: Any) -> Any:
            return bytes(super().dump(obj) or b"").upper()

    with connect(postgres, row_factory=dict_row, cursor_factory=psycopg.ClientCursor, prepare_threshold=0) as other:
        for name in ("int8", "text", "json", "bool"):
            other.adapters.register_loader(name, type("Quoting", (TextLoader,), {"load": lambda self, data: "?"}))
        other.adapters.register_dumper(str, Shouting)
        settings = "select name || '=' || coalesce(setting, '') as each from pg_settings where name !~ '[.]' order by 1"
        other.execute("set local lock_timeout = '7s'")
        with psycopg.RawCursor(other, row_factory=dict_row) as cursor:
            cursor.adapters.register_loader("text", TextLoader)
            before = cursor.execute(settings).fetchall()
            id = Queue.on(other, schema=postgres.schema).enqueue("echo small", tags={"a": "b"})
            assert cursor.execute(settings).fetchall() == before
            prepared = "select statement from pg_prepared_statements where statement ~ 'events' and name <> ''"
            assert cursor.execute(prepared, prepare=False).fetchall() == []
            assert other.execute("select 1::int8 as n").fetchone() == {"n": "?"}
    [job] = queue.jobs()
    assert (id, job.id, job.policy.command, job.policy.tags) == ("1", "1", "echo small", {"a": "b"})


@pytest.mark.parametrize("name", ["jobs", "log", "events"])
def test_temporary_tables_hide_no_table(
    postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]", name: str
) -> None:
    shop.execute(f"create temporary table {name} (seq bigint, at bigint, folding text)".encode())
    id = Queue.on(shop, schema=postgres.schema).enqueue("true")
    shop.commit()
    assert ids(queue) == [id]


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_text_comes_whole_by_any_encoding(
    postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]", encoding: str
) -> None:
    shop.execute(f"set client_encoding = {encoding}".encode())
    shop.execute("set search_path = 'café'" if encoding == "LATIN1" else "set search_path = public")
    id = Queue.on(shop, schema=postgres.schema).enqueue("echo '€ 日本'", tags={"ü": "é"})
    assert shop.info.parameter_status("client_encoding") == encoding
    shop.commit()
    assert queue.job(id).policy.command == "echo '€ 日本'"


@pytest.mark.parametrize("level", ["REPEATABLE_READ", "SERIALIZABLE"])
def test_an_old_snapshot_is_a_conflict(
    postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]", level: str
) -> None:
    import psycopg

    shop.isolation_level = psycopg.IsolationLevel[level]
    joined = Queue.on(shop, schema=postgres.schema)
    orders(shop)
    queue.enqueue("echo between")
    with pytest.raises(Conflict, match="roll the transaction back and do it again"):
        joined.enqueue("echo joined")
    shop.rollback()
    orders(shop)
    assert joined.enqueue("echo joined") == "2"
    shop.commit()
    assert ids(queue) == ["1", "2"]
    assert queue.check() == []


def test_transactions_that_can_not_be_joined(
    postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]"
) -> None:
    import psycopg

    joined = Queue.on(shop, schema=postgres.schema)
    with pytest.raises(Refused, match="pipeline"), shop.pipeline():
        joined.enqueue("true")
    with pytest.raises(psycopg.Error):
        shop.execute("no sql")
    with pytest.raises(Refused, match="has failed"):
        joined.enqueue("true")
    shop.rollback()
    shop.autocommit = True
    with pytest.raises(Refused, match="no transaction is open"):
        joined.enqueue("true")
    with shop.transaction():
        joined.enqueue("true")
    shop.autocommit = False
    with pytest.raises(Invalid, match="stdin"):
        joined.enqueue("cat", stdin="/etc/passwd")
    with pytest.raises(Absent, match="no queue in the schema"):
        Queue.on(shop, schema="nothing").enqueue("true")
    with pytest.raises(Unusable, match="another program's tables"):
        Queue.on(shop, schema=f"{postgres.schema}_shop").enqueue("true")
    assert orders(shop) == []
    assert ids(queue) == ["1"]


def test_only_psycopg_connections_are_joined(postgres: "Database", shop: "psycopg.Connection[Any]") -> None:
    import sqlite3

    import psycopg

    class Wrapped:
        """As SQLAlchemy's pool gives it."""

        driver_connection = shop

    Queue.on(Wrapped(), schema=postgres.schema).enqueue("true")

    async def asynchronous() -> None:
        async with await psycopg.AsyncConnection[Any].connect(postgres.url.partition("?")[0]) as connection:
            with pytest.raises(Invalid, match=r"psycopg 3 .* not psycopg\.AsyncConnection"):
                Queue.on(connection)

    asyncio.run(asynchronous())
    connection = sqlite3.connect(":memory:")
    with pytest.raises(Invalid, match=r"not sqlite3\.Connection"):
        Queue.on(connection)
    connection.close()
    closed = connect(postgres)
    closed.close()
    with pytest.raises(Invalid, match="closed"):
        Queue.on(closed)


def test_a_role_with_the_named_rights_enqueues(postgres: "Database", queue: Queue) -> None:
    import psycopg

    url = postgres.role()
    name = url.partition("//")[2].partition(":")[0]
    with psycopg.connect(url.partition("?")[0]) as connection:
        with pytest.raises(Unusable):
            Queue.on(connection, schema=postgres.schema).enqueue("true")
        postgres.execute(
            f"""
            grant usage on schema {postgres.schema} to {name};
            grant select, insert, update, delete on all tables in schema {postgres.schema} to {name};
            """
        )
        Queue.on(connection, schema=postgres.schema).enqueue("true", secrets={"KEY": "value"}, batch="night")
    assert ids(queue) == ["1"]


def test_listeners_are_woken_by_the_commit(postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]") -> None:
    bell = queue.engine.listen("work")
    try:
        bell.clear()
        Queue.on(shop, schema=postgres.schema).enqueue("true")
        late = queue.engine.listen("work")  # nothing keeps it waiting for the transaction
        late.close()
        assert not bell.wait(0.2)
        shop.commit()
        assert bell.wait(30)
    finally:
        bell.close()


def test_writers_wait_for_the_transaction(postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]") -> None:
    joined = Queue.on(shop, schema=postgres.schema)
    joined.enqueue("echo first")
    other = threading.Thread(target=queue.enqueue, args=("echo second",))
    other.start()
    waiting = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    while postgres.execute(waiting) == [(0,)]:
        pass
    joined.enqueue("echo third")
    shop.commit()
    other.join()
    commands = {job.id: job.policy.command for job in queue.jobs()}
    assert commands == {"1": "echo first", "2": "echo third", "3": "echo second"}


def test_a_killed_application_leaves_no_job(
    postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]"
) -> None:
    program = """
import sys
import psycopg
from queuectl import Queue
connection = psycopg.connect(sys.argv[1])
Queue.on(connection, schema=sys.argv[2]).enqueue("true")
print("enqueued", flush=True)
sys.stdin.read()
"""
    words = [sys.executable, "-c", program, postgres.url.partition("?")[0], postgres.schema]
    with subprocess.Popen(words, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as application:
        assert application.stdout is not None
        assert application.stdout.readline() == "enqueued\n"
        os.kill(application.pid, signal.SIGKILL)
    assert queue.enqueue("true") == "1"  # waits until the server has missed it


def test_jobs_are_exactly_the_committed_rows(
    postgres: "Database", queue: Queue, shop: "psycopg.Connection[Any]"
) -> None:
    """Two applications at once, 100 transactions each, of which every fifth is rolled back."""

    def application(numbers: range) -> None:
        random = Random(numbers.start)
        undone = {*random.sample(numbers, len(numbers) // 5)}
        with connect(postgres) as connection:
            joined = Queue.on(connection, schema=postgres.schema)
            for number in numbers:
                connection.execute("insert into orders values (%s)", (number,))
                joined.enqueue(["echo", str(number)], id=f"mail-{number}")
                connection.rollback() if number in undone else connection.commit()

    both = [threading.Thread(target=application, args=(range(first, first + 100),)) for first in (0, 100)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert len(orders(shop)) == 160
    assert sorted(job.id for job in queue.jobs()) == sorted(f"mail-{number}" for number in orders(shop))
    assert [event.seq for event in queue.events()] == [*range(1, 161)]
    assert queue.check() == []

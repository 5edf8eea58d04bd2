"""Rows of an outbox become jobs if and only if they were committed, each once, and wrong ones are in nobody's way."""

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl import Invalid, Queue, clock
from queuectl.audit.archive import archive
from queuectl.outbox import relay, schema
from queuectl.outbox.delivery import Delivery
from queuectl.outbox.table import PAGE, OutboxTable
from tests.support.application import Application
from tests.support.paths import ROOT


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        yield queue


@pytest.fixture
def connection(application: Application, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The relay's."""
    connection = sqlite3.connect(tmp_path / "app.db")
    yield connection
    connection.close()


def commands(queue: Queue) -> dict[str, str]:
    """By id, what the jobs run, in the order of the log."""
    return {job.id: job.command for job in sorted(queue.jobs(), key=lambda job: job.seq)}


def test_rows_become_jobs_in_their_order(application: Application, connection: Any, queue: Queue) -> None:
    application.insert("echo 1", "z")
    application.insert({"command": "echo 2", "priority": 7, "queue": "mail"}, "a")
    application.insert({"command": ["echo", "3"]}, "m")
    application.connection.commit()
    assert relay(connection, queue) == {}
    assert commands(queue) == {"z": "echo 1", "a": "echo 2", "m": "echo 3"}
    assert (queue.job("a").priority, queue.job("a").queue) == (7, "mail")
    assert application.rows() == []


def test_only_committed_rows_are_moved(application: Application, connection: Any, queue: Queue) -> None:
    application.insert("echo never")
    application.connection.rollback()
    application.change("pragma journal_mode = wal")  # or the open transaction would be waited for
    application.insert("echo later", "later")
    assert relay(connection, queue) == {}
    assert commands(queue) == {}
    application.connection.commit()
    relay(connection, queue)
    assert commands(queue) == {"later": "echo later"}


def test_the_table_makes_ids_of_its_own(application: Application, connection: Any, queue: Queue) -> None:
    for _ in range(3):
        application.ask("true")
    ids = [id for id, _ in application.rows()]
    relay(connection, queue)
    assert [*commands(queue)] == ids
    assert all(id.startswith("outbox-") for id in ids)


def test_a_row_that_comes_again_is_known(application: Application, connection: Any, queue: Queue) -> None:
    for _ in range(2):
        application.ask("echo once", "order-17")
        assert relay(connection, queue) == {}
        assert application.rows() == []
    assert [record.type for record in queue.events()] == ["enqueued"]


@pytest.mark.parametrize("how", ["purged", "archived"])
def test_jobs_that_are_gone_are_known(
    application: Application, connection: Any, queue: Queue, tmp_path: Path, how: str
) -> None:
    application.ask("true", "order-17")
    relay(connection, queue)
    queue.cancel("order-17")
    if how == "purged":
        queue.purge("order-17")
    else:
        archive(queue, str(tmp_path / "old.ndjson"), clock.now())
    application.ask("true", "order-17")
    assert relay(connection, queue) == {}
    assert application.rows() == []
    assert queue.status().counts["pending"] == 0


WRONG: list[tuple[object, object, str]] = [
    ("", None, "the command is empty"),
    ('{"command": "true", "prio": 1}', None, "unknown field 'prio' in the spec"),
    ('{"command": ', None, "the spec is not valid JSON"),
    ({"command": "true", "priority": "high"}, None, "priority: must be a whole number"),
    ({"command": "true", "id": "mine"}, "other", "id: the job has the id of its row"),
    ({"command": "true", "name": "build"}, None, "name: is for the lines of one file"),
    ({"command": "true", "stdin": "-"}, None, "stdin: a row has none"),
    ({"command": "true", "stdin": "/no/such/file"}, None, "stdin: can't read"),
    ({"command": "true", "after": ["nobody"]}, None, "after: there is no job 'nobody'"),
    ({"command": "true", "needs": {"gpu": 99}}, None, "gpu"),
    (b"true", None, "job: is not text"),
    ("true", b"blob", "id: is not text"),
    ("true", "17", "id: '17' is all digits"),
]


@pytest.mark.parametrize("job, id, why", WRONG, ids=[why for _, _, why in WRONG])
def test_a_wrong_row_stays_and_says_why(
    application: Application, connection: Any, queue: Queue, job: object, id: object, why: str
) -> None:
    queue.set_resource("gpu", 1)
    application.ask("echo before", "before")
    application.ask(job, id)
    application.ask("echo behind", "behind")
    refused = relay(connection, queue)
    assert [*commands(queue)] == ["before", "behind"]
    [(_, error)] = application.rows()
    assert why in error
    assert [*refused.values()] == [error]
    assert relay(connection, queue) == {}, "it is passed over"


def test_wrong_rows_among_many_are_found(application: Application, connection: Any, queue: Queue) -> None:
    wrong = {3, 4, 77, PAGE - 1, PAGE + 5}
    for number in range(2 * PAGE):
        after = ["nobody"] if number in wrong else []
        application.insert({"command": f"echo {number}", "after": after}, f"row-{number}")
    application.connection.commit()
    assert {*relay(connection, queue)} == {f"row-{number}" for number in wrong}
    assert [*commands(queue)] == [f"row-{number}" for number in range(2 * PAGE) if number not in wrong]
    assert len(application.rows()) == len(wrong)


def test_a_corrected_row_is_moved(application: Application, connection: Any, queue: Queue) -> None:
    application.ask({"command": "true", "after": ["first"]}, "second")
    relay(connection, queue)
    queue.enqueue("true", id="first")
    application.change("update queuectl_outbox set error = null")
    assert relay(connection, queue) == {}
    assert queue.job("second").state == "blocked"


def test_rows_can_depend_on_rows_before(application: Application, connection: Any, queue: Queue) -> None:
    application.ask("true", "first")
    application.ask({"command": "true", "after": ["first"]}, "second")
    relay(connection, queue)
    assert queue.job("second").state == "blocked"


def test_trouble_of_the_relay_blames_no_row(
    application: Application, connection: Any, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUECTL_MAX_RETRIES", "many")
    application.ask("true", "row")
    with pytest.raises(Invalid, match="many"):
        relay(connection, queue)
    assert application.rows() == [("row", None)]
    monkeypatch.delenv("QUEUECTL_MAX_RETRIES")
    relay(connection, queue)
    assert [*commands(queue)] == ["row"]


def test_jobs_survive_a_power_cut_first(
    application: Application, connection: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Queue(tmp_path / "q.db") as queue:
        queue.set_config("synchronous", "normal")
    application.ask("true", "row")
    with Queue(tmp_path / "q.db") as queue:
        levels: list[str] = []
        real = queue.engine.set_durability

        def set_durability(level: str) -> None:
            levels.append(f"{level} with {queue.status().total} jobs")
            real(level)

        monkeypatch.setattr(queue.engine, "set_durability", set_durability)
        relay(connection, queue)
        assert levels == ["full with 0 jobs", "normal with 1 jobs"]


def test_what_is_no_driver_is_refused(queue: Queue) -> None:
    with pytest.raises(Invalid, match="no connection of a DB-API driver"):
        relay(queue.engine, queue)  # pyright: ignore[reportArgumentType]


def test_an_unknown_dialect_is_refused() -> None:
    with pytest.raises(Invalid, match="'postgres' is no dialect"):
        schema("postgres")


DIES = """
import os, signal, sqlite3, sys
from queuectl import Queue
from queuectl.outbox import relay
from queuectl.outbox import delivery, table
place, keeps_ids = sys.argv[2], sys.argv[3] == "True"
def dying(function, before):
    def call(*words):
        if before:
            os.kill(os.getpid(), signal.SIGKILL)
        function(*words)
        os.kill(os.getpid(), signal.SIGKILL)
    return call
class Connection(sqlite3.Connection):
    removals = 0
    def executemany(self, *words): raise AssertionError
    def commit(self):
        if place == "before the commit" and self.total_changes:
            os.kill(os.getpid(), signal.SIGKILL)
        super().commit()
if place == "before the removal":
    table.OutboxTable.settle = dying(table.OutboxTable.settle, True)
elif place == "after the removal":
    table.OutboxTable.settle = dying(table.OutboxTable.settle, False)
elif place == "before the log":
    delivery.Delivery.step = dying(delivery.Delivery.step, True)
if not keeps_ids:
    from msgspec.structs import replace
    spec_of = delivery.spec_of
    delivery.spec_of = lambda row: replace(spec_of(row), id=None, if_absent=False)
with Queue(sys.argv[1] + "/q.db") as queue:
    relay(sqlite3.connect(sys.argv[1] + "/app.db", factory=Connection), queue)
"""


def die(folder: Path, place: str, *, keeps_ids: bool = True) -> None:
    """A relay that is killed there."""
    words = [sys.executable, "-c", DIES, str(folder), place, str(keeps_ids)]
    assert subprocess.run(words, cwd=ROOT, timeout=50, check=False).returncode == -9


PLACES = ["before the log", "before the removal", "before the commit", "after the removal"]


@pytest.mark.parametrize("place", PLACES)
def test_wherever_a_relay_dies_rows_count_once(
    application: Application, connection: Any, queue: Queue, tmp_path: Path, place: str
) -> None:
    for number in range(5):
        application.ask(f"echo {number}")
    for _ in range(2):
        if application.rows():
            die(tmp_path, place)
    relay(connection, queue)
    assert sorted(commands(queue).values()) == [f"echo {number}" for number in range(5)]
    assert application.rows() == []


def test_without_their_ids_rows_count_twice(
    application: Application, connection: Any, queue: Queue, tmp_path: Path
) -> None:
    """What the test before would find, were the id of a row not that of its job."""
    application.ask("echo 0")
    die(tmp_path, "before the removal", keeps_ids=False)
    relay(connection, queue)
    assert [*commands(queue).values()] == ["echo 0", "echo 0"]


def test_a_row_read_by_two_relays_counts_once(application: Application, connection: Any, queue: Queue) -> None:
    application.ask("true", "row")
    first, second = OutboxTable(connection), OutboxTable(connection)
    deliveries = [Delivery(queue, table.read()) for table in (first, second)]
    for each in deliveries:
        assert not each.step()
    application.ask("true", "new")
    for table, each in zip((first, second), deliveries, strict=True):
        table.settle(each.moved, each.refused)
    assert [each.jobs for each in deliveries] == [1, 0]
    assert [*commands(queue)] == ["row"]
    assert application.rows() == [("new", None)], "what came meanwhile is not removed"

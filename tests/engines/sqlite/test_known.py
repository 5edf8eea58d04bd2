"""What a connection knows of its last transaction is used only while no other one has changed the database."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from queuectl import Queue, Spec
from queuectl.engines.sqlite.engine import SqliteEngine
from queuectl.engines.view import Write
from queuectl.errors import Conflict, Refused
from queuectl.events import ConfigSet
from tests.support.engine_actions import add
from tests.support.paths import ROOT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "q.db"


@pytest.fixture
def queue(path: Path) -> Iterator[Queue]:
    """A queue whose connection knows the database from its last transaction."""
    with Queue(path) as queue:
        queue.enqueue("true")
        yield queue
        assert queue.check() == []
        assert [record.seq for record in queue.events()] == list(range(1, queue.status().seq + 1))


def statements(queue: Queue, act: Callable[[], object]) -> list[str]:
    """What SQLite was given."""
    assert isinstance(queue.engine, SqliteEngine)
    given: list[str] = []

    def note(_: object, sql: str, values: object) -> bool:
        given.append(" ".join(sql.split()))
        return True

    queue.engine._db.exec_trace = note
    try:
        act()
    finally:
        queue.engine._db.exec_trace = None
    return given


READS = ("from events order by seq desc", "from projection_state", "from config", "from numbers")


def reads(queue: Queue) -> int:
    """How many of the things that are known the next enqueue reads."""
    given = statements(queue, lambda: queue.enqueue("true"))
    return sum(any(read in sql for sql in given) for read in READS)


def test_an_enqueue_reads_nothing_that_is_known(queue: Queue) -> None:
    assert (reads(queue), reads(queue)) == (0, 0)


CHANGES: dict[str, Callable[[Queue, Path], object]] = {
    "another queue": lambda queue, path: enqueue_elsewhere(path),
    "another process": lambda queue, path: enqueue_in_a_child(path),
    "replay": lambda queue, path: queue.replay(),
    "config set": lambda queue, path: queue.set_config("timeout", "7"),
    "reopened": lambda queue, path: queue.engine.reopen(),
    "a fork": lambda queue, path: fork(queue),
    "a failed transaction": lambda queue, path: fail(queue),
}


def enqueue_elsewhere(path: Path) -> None:
    with Queue(path) as other:
        other.enqueue("true")


def enqueue_in_a_child(path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "queuectl", "--db", path, "enqueue", "true"], check=True, timeout=30, cwd=ROOT
    )


def fork(queue: Queue) -> None:
    if (pid := os.fork()) == 0:
        queue.enqueue("true")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
    queue.status()  # opens it again


def fail(queue: Queue) -> None:
    """A transaction that has written, and is rolled back."""

    def change() -> None:
        with queue.engine.transaction() as tx:
            tx.append([Write("config", None, [ConfigSet(key="timeout", value="9")])], "test")
            raise Refused("not so")

    with pytest.raises(Refused):
        change()


@pytest.mark.parametrize("change", CHANGES)
def test_after_a_change_it_is_read_again(queue: Queue, path: Path, change: str) -> None:
    CHANGES[change](queue, path)
    assert reads(queue) > 0
    assert reads(queue) == 0


def test_settings_of_another_process_are_used_at_once(queue: Queue, path: Path) -> None:
    for seconds in (5.0, 6.0):
        with Queue(path) as other:
            other.set_config("timeout", str(seconds))
        assert queue.job(queue.enqueue("true")).timeout == seconds
        queue.set_config("timeout", str(seconds + 10))
        assert queue.job(queue.enqueue("true")).timeout == seconds + 10


def test_settings_that_were_rolled_back_are_not_used(queue: Queue) -> None:
    fail(queue)
    assert queue.job(queue.enqueue("true")).timeout == 60.0


def test_settings_of_the_same_transaction_are_read(queue: Queue) -> None:
    with queue.engine.transaction() as tx:
        before = tx.config()
        tx.append([Write("config", before, [ConfigSet(key="timeout", value="9")])], "test")
        assert (config := tx.config()) is not None
        assert config.values == {"timeout": "9"}


def test_a_conflict_leaves_nothing_known(queue: Queue) -> None:
    with pytest.raises(Conflict):
        add(queue.engine, "1")
    assert reads(queue) > 0


def test_writers_in_turn_never_use_a_stale_head(queue: Queue, path: Path) -> None:
    with Queue(path) as other:
        ids = [each.enqueue("true") for _ in range(20) for each in (queue, other, other, queue)]
    assert ids == [str(n) for n in range(2, 82)]


def test_numbers_are_right_beside_other_ids(queue: Queue) -> None:
    ids: list[str] = []
    for names in ([None, "a"], ["b", None], [None, None], ["c"], ["d", "e"], [None, "f", None]):
        specs = [Spec(command="true") if id is None else Spec(command="true", id=id) for id in names]
        ids += [*queue.enqueue_many(specs), queue.enqueue("true")]
    numbers = [int(id) for id in ids if id.isdecimal()]
    assert numbers == list(range(2, 2 + len(numbers)))


def test_unused_numbers_are_given_again(queue: Queue) -> None:
    with queue.engine.transaction() as tx:
        assert list(tx.numbers(3)) == [2, 3, 4]
    assert queue.enqueue("true") == "2"
    add(queue.engine, "70")
    assert queue.enqueue("true") == "71"


def test_newer_code_is_noticed_by_a_busy_writer(queue: Queue, path: Path) -> None:
    assert reads(queue) == 0
    db = apsw.Connection(str(path))
    db.execute("update projection_state set broken = 'x' where name = 'counts'")
    db.execute("update projection_state set broken = null where name = 'counts'")
    db.close()
    assert reads(queue) > 0

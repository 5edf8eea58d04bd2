"""Secrets (R22): the values of --secret are stored outside the log, and erased once they are not needed."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from projections import builtin
from queuectl import Queue
from queuectl.errors import Invalid, Refused
from queuectl.events import Failed
from tests.support.engine_actions import claim, report

VALUE = "hunter2-0123456789abcdef"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "q.db"


@pytest.fixture
def queue(path: Path) -> Iterator[Queue]:
    with Queue(path) as queue:
        yield queue


def files_with(path: Path, value: str) -> set[str]:
    """The files of the queue that hold a value; read in another process, because closing them here drops locks (R6)."""
    script = """
import sys
from pathlib import Path
for file in Path(sys.argv[1]).rglob("*"):
    if file.is_file() and sys.argv[2].encode() in file.read_bytes():
        print(file.name)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(path.parent), value], capture_output=True, text=True, check=True, timeout=30
    )
    return set(done.stdout.split())


def tables_with(path: Path, value: str) -> set[str]:
    db = apsw.Connection(str(path))
    names = [name for (name,) in db.execute("select name from sqlite_master where type = 'table'")]
    found = {name for name in names if any(value in repr(row) for row in db.execute(f"select * from {name}"))}
    db.close()
    return found


def values(queue: Queue, id: str) -> dict[str, str]:
    with queue.engine.transaction() as tx:
        return tx.secrets(id)


def end(queue: Queue, cause: str | None = None) -> None:
    [(_, lease)] = claim(queue.engine, "w")
    report(queue.engine, lease, cause)


def test_only_the_secrets_table_has_the_values(queue: Queue, path: Path) -> None:
    id = queue.enqueue("true", secrets={"TOKEN": VALUE})
    assert tables_with(path, VALUE) == {"secrets"}
    assert values(queue, id) == {"TOKEN": VALUE}
    assert queue.job(id).secrets == ("TOKEN",)
    assert '"secrets":["TOKEN"]' in next(queue.events()).data
    assert not {"secrets", "events"} & {table for projection in builtin() for table in projection.tables}


def test_completing_a_job_erases_its_values(queue: Queue, path: Path) -> None:
    queue.enqueue("true", secrets={"TOKEN": VALUE})
    queue.engine.truncate_wal()
    assert files_with(path, VALUE) == {"q.db"}
    end(queue)
    assert tables_with(path, VALUE) == set()
    queue.engine.truncate_wal()
    assert files_with(path, VALUE) == set()


def test_purging_a_job_erases_its_values(queue: Queue, path: Path) -> None:
    id = queue.enqueue("true", secrets={"TOKEN": VALUE})
    queue.cancel(id)
    assert values(queue, id) == {"TOKEN": VALUE}
    queue.purge(id)
    queue.engine.truncate_wal()
    assert files_with(path, VALUE) == set()


def test_a_replay_keeps_the_values(queue: Queue) -> None:
    id = queue.enqueue("true", secrets={"TOKEN": VALUE})
    queue.replay()
    assert values(queue, id) == {"TOKEN": VALUE}


def test_a_failed_or_cancelled_job_keeps_its_values(queue: Queue) -> None:
    id = queue.enqueue("true", secrets={"TOKEN": VALUE, "KEY": "k"}, max_retries=0)
    end(queue, "exit")
    queue.retry(id)
    assert values(queue, id) == {"TOKEN": VALUE, "KEY": "k"}
    queue.cancel(id)
    queue.retry(id, secrets={"KEY": "changed"})
    assert values(queue, id) == {"TOKEN": VALUE, "KEY": "changed"}
    assert queue.job(id).secrets == ("KEY", "TOKEN")


def test_retrying_a_completed_job_needs_its_values(queue: Queue) -> None:
    id = queue.enqueue("true", secrets={"TOKEN": VALUE, "KEY": "k"})
    end(queue)
    assert values(queue, id) == {}
    head = queue.status().seq
    for given in ({}, {"TOKEN": VALUE}, {"OTHER": "x"}):
        with pytest.raises(Refused, match="--secret KEY=…") as error:
            queue.retry(id, secrets=given)
        assert error.value.exit_code == 3
        assert values(queue, id) == {}, "what was refused leaves nothing behind"
    assert queue.status().seq == head
    queue.retry(id, secrets={"TOKEN": "new", "KEY": "new"})
    assert values(queue, id) == {"TOKEN": "new", "KEY": "new"}


@pytest.mark.parametrize("state", ["dead", "cancelled"])
def test_retrying_needs_values_missing_in_the_database(queue: Queue, path: Path, state: str) -> None:
    """As after an import or from a backup."""
    id = queue.enqueue("true", secrets={"TOKEN": VALUE, "KEY": "k"}, max_retries=0)
    if state == "dead":
        end(queue, "exit")
    else:
        queue.cancel(id)
    db = apsw.Connection(str(path))
    db.execute("delete from secrets where name = 'TOKEN'")
    db.close()
    head = queue.status().seq
    for given in ({}, {"KEY": "new"}):
        with pytest.raises(Refused, match=r"not in this database\): --secret TOKEN=…$"):
            queue.retry(id, secrets=given)
        assert values(queue, id) == {"KEY": "k"}, "what was refused leaves nothing behind"
    assert queue.status().seq == head
    queue.retry(id, secrets={"TOKEN": "new"})
    assert values(queue, id) == {"TOKEN": "new", "KEY": "k"}
    assert queue.job(id).secrets == ("KEY", "TOKEN")


def test_names_and_values_are_checked(queue: Queue) -> None:
    id = queue.enqueue("true")
    queue.cancel(id)
    for bad in ({"A=B": "x"}, {"": "x"}, {"A": "nul\0"}, {"A": "x" * 200_000}):
        with pytest.raises(Invalid):
            queue.enqueue("true", secrets=bad)
        with pytest.raises(Invalid):
            queue.retry(id, secrets=bad)
    assert queue.status().seq == 2


def test_a_job_with_missing_values_becomes_dead(queue: Queue, path: Path) -> None:
    """As after an import or from a backup: it is not run, and not tried again."""
    from queuectl.workers.turn import TurnWriter

    queue.enqueue("true", id="a", secrets={"TOKEN": VALUE, "KEY": "k"})
    queue.enqueue("true", id="b", secrets={"KEY": "k"})
    db = apsw.Connection(str(path))
    db.execute("delete from secrets where job = 'a' and name = 'TOKEN'")
    db.close()
    writer = TurnWriter(queue, "w", (), "identity")
    writer.start(1)
    turn = writer.turn([], [], 5)
    assert [(claim.job.id, claim.secrets) for claim in turn.claims] == [("b", {"KEY": "k"})]
    assert queue.job("a").state == "dead"
    failed = next(queue.events(type="failed")).event
    assert isinstance(failed, Failed)
    assert (failed.cause, failed.error) == ("spawn", "the values of TOKEN are not in this database")
    queue.retry("a", secrets={"TOKEN": "again"})
    assert values(queue, "a") == {"TOKEN": "again", "KEY": "k"}

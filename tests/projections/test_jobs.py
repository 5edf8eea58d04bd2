"""The table of jobs: a claim writes few of its pages."""

from pathlib import Path

import apsw

from queuectl import Queue, Spec
from queuectl.engines.sqlite.engine import SqliteEngine
from tests.support.engine_actions import claim

QUEUES = 40


def pages_of_a_claim(path: Path, queues: int) -> int:
    """How many pages are written by the claim of one job of each of so many queues, past 4,000 delayed ones."""
    with Queue(path) as queue:
        assert isinstance(queue.engine, SqliteEngine)
        queue.enqueue_many(
            Spec(command="true", queue=f"queue-{n % queues}", priority=1 + n % 5, delay=3600.0) for n in range(4000)
        )
        queue.enqueue_many(Spec(command="true", queue=f"queue-{n % queues}") for n in range(QUEUES))
        before = queue.engine._db.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0]
        assert len(claim(queue.engine, "w")) == QUEUES
        return queue.engine._db.status(apsw.SQLITE_DBSTATUS_CACHE_WRITE)[0] - before


def test_a_claim_over_many_queues_writes_few_pages(tmp_path: Path) -> None:
    assert pages_of_a_claim(tmp_path / "many.db", QUEUES) <= pages_of_a_claim(tmp_path / "one.db", 1) + QUEUES / 4

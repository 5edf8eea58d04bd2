"""Reading from SQLite: statements are compiled once."""

from pathlib import Path

import apsw

from queuectl import Queue
from queuectl.engines.sqlite.engine import SqliteEngine
from tests.support.engine_actions import claim


def test_questions_are_compiled_once(tmp_path: Path) -> None:
    compiled: list[tuple[object, ...]] = []

    def asked(*action: object) -> int:
        compiled.append(action)
        return apsw.SQLITE_OK

    with Queue(tmp_path / "q.db") as queue:
        queue.enqueue_many(["true"] * 3)
        assert isinstance(queue.engine, SqliteEngine)
        claim(queue.engine, "w", 1)
        queue.engine._db.authorizer = asked  # is called while a statement is compiled
        for again in (False, True):
            compiled.clear()
            with queue.engine.snapshot() as view:
                found = view.job("1"), view.jobs([1]), view.jobs_of("w"), view.attempts("1"), view.worker("w")
                assert found[1] == found[2] == [found[0]]
                assert [job.id for job in view.due((), 5, 1 << 62)] == ["2", "3"]
                assert view.next_due() is not None
            assert bool(compiled) is not again

"""New jobs: rows and events are made of the first that is alike, and equal what folding and encoding make."""

from pathlib import Path

from queuectl import Queue, Spec
from queuectl.events import encode
from tests.support.folded_tables import assert_every_fold_agrees


def test_alike_jobs_get_the_rows_of_folding(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        queue.enqueue("true", id="before")
        queue.enqueue_many(["a", "b 'c'", ("echo", "a b"), ("echo", "a b"), ("ls",), "a"])
        assert [job.command for job in queue.jobs()] == ["true", "a", "b 'c'", "echo 'a b'", "echo 'a b'", "ls", "a"]
        assert_every_fold_agrees(queue)
        assert_every_event_is_as_encoded(queue)


def test_different_jobs_get_the_rows_of_folding(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        said = [
            Spec(command="a", queue="mail", priority=3),
            Spec(command="b", queue="mail", priority=3, id="own"),
            Spec(command="c", secrets={"K": "v"}, timeout=None),
            Spec(command="d", secrets={"K": "w"}, timeout=None, delay=60.0),
            Spec(command="e", backoff=(1.0, 2.0), max_retries=0),
        ]
        queue.enqueue_many([*said, "f"])
        assert queue.status().counts["pending"] == 6
        assert queue.enqueue("true") == "6", "numbers go on"
        assert_every_fold_agrees(queue)
        assert_every_event_is_as_encoded(queue)


def test_one_job_gets_the_row_of_folding(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        queue.enqueue('printf "%s\\n" ä', queue="mail", max_retries=1)
        queue.enqueue(["ls", "-l"], id="own")
        assert_every_fold_agrees(queue)
        assert_every_event_is_as_encoded(queue)


def assert_every_event_is_as_encoded(queue: Queue) -> None:
    with queue.engine.snapshot() as view:
        for record in view.events():
            assert record.data == encode(record.event).decode()

"""What can still be told of what was archived: by the archive, by the log, by the doctor (R24)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from msgspec.json import decode

from queuectl import Queue
from queuectl.analysis.stats import stats
from queuectl.audit.archive import archive
from queuectl.audit.archive_file import open_archive
from queuectl.audit.event_lines import lines
from queuectl.audit.import_log import load, rebuild
from queuectl.clock import now
from queuectl.doctor import Check, InspectedQueue, examine
from queuectl.errors import NotFound, QueueError
from queuectl.export import FORMATS, Export
from queuectl.export.rows import Selection
from queuectl.units import Then
from tests.support.archives import log, work


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        queue.engine.set_durability("normal")
        yield queue


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "old.ndjson.gz")


def test_an_archive_is_a_queue_to_look_at(queue: Queue, path: str, tmp_path: Path) -> None:
    queue.enqueue_many(["true"] * 3)
    work(queue, "w1")
    queue.enqueue("true", id="purged")
    queue.cancel("purged")
    queue.purge("purged")
    jobs, history = list(queue.jobs()), queue.history("2")
    archive(queue, path, now())

    with Queue(tmp_path / "new.db") as new, open(path, "rb") as file:
        load(new, lines(file))
        assert list(new.jobs()) == jobs
        assert new.check() == []
    with open_archive(path, "2") as alone:
        assert alone.history("2") == history
        assert [job.id for job in alone.jobs()] == ["2"]
        assert alone.attempts("2")[0].outcome == "completed"
    with open_archive(path, "purged") as alone:
        assert [moment.record.type for moment in alone.history("purged")] == ["enqueued", "cancelled", "purged"]
    with pytest.raises(NotFound, match="no job 'x' in "), open_archive(path, "x"):
        pass


def test_a_log_with_tombstones_is_rebuilt_elsewhere(queue: Queue, path: str, tmp_path: Path) -> None:
    queue.enqueue_many(["true"] * 3)
    work(queue, "w1")
    queue.enqueue("true")
    archive(queue, path, now())
    rebuild(queue, str(tmp_path / "new.db"))
    with Queue(tmp_path / "new.db") as new:
        assert log(new) == log(queue)
        assert new.check() == []
        assert new.enqueue("true") == "5"


@pytest.mark.parametrize(
    "ask",
    [
        lambda queue: queue.job("1"),
        lambda queue: queue.resolve("1"),
        lambda queue: queue.history("1"),
        lambda queue: queue.output("1"),
        lambda queue: queue.retry("1"),
        lambda queue: queue.cancel("1"),
        lambda queue: queue.wait("1"),
    ],
)
def test_an_archived_job_is_refused_naming_its_file(queue: Queue, path: str, ask: Callable[[Queue], object]) -> None:
    queue.enqueue("true")
    queue.cancel("1")
    archive(queue, path, now())
    told = f"job '1' was archived in {path}; its history: `queuectl inspect 1 --events --archive {path}`"
    with pytest.raises(NotFound, match=f"^{told}$"):
        ask(queue)


def test_what_was_archived_can_be_exported_and_counted(queue: Queue, path: str) -> None:
    queue.enqueue_many(["true"] * 2)
    work(queue, "w1")
    archive(queue, path, now())
    for name, format in FORMATS.items():
        for what in format.what:
            Export(queue, Selection(what=what), name).write(f"{path}.{what}.{name}")
    assert stats(queue).totals["enqueued"] == 0
    told = decode(Path(f"{path}.events.ocel-json").read_bytes())
    states = {each["id"]: [at["value"] for at in each["attributes"]] for each in told["objects"]}
    assert states["job:1"] == states["worker:w1"] == ["archived"]


def tampered(queue: Queue, *statements: str) -> None:
    """Somebody changes the log behind the queue's back."""
    with queue.engine.transaction() as tx:
        for sql in statements:
            tx._db.execute(sql)  # pyright: ignore[reportAttributeAccessIssue]


def test_followers_learn_of_events_archived_meanwhile(queue: Queue, path: str) -> None:
    queue.enqueue_many(["true"] * 3)
    work(queue, "w1")
    events = queue.events()
    next(events)
    archive(queue, path, now())
    with pytest.raises(QueueError, match="archived while the log was read: read it again"):
        list(events)
    assert [record.type for record in queue.events()] == ["sealed", *["archived"] * 4]


def look(queue: Queue) -> dict[str, Check]:
    """Every check of the doctor's."""
    with InspectedQueue(queue.url) as inspected:
        return {check.name: check for check in examine(inspected)}


def test_the_doctor_misses_nothing_of_what_was_archived(queue: Queue, path: str) -> None:
    queue.enqueue_many(["true"] * 3)
    work(queue, "w1")
    queue.enqueue("true")
    archive(queue, path, now())
    checks = look(queue)
    assert {name for name, check in checks.items() if check.severity != "ok"} == set()
    [finding] = checks["log"].findings
    assert finding.what == "6 events in 6 streams, none missing; 11 archived"
    assert finding.facts["archived"] == 11


def test_doctor_accepts_an_imported_log_with_tombstones(queue: Queue, path: str, tmp_path: Path) -> None:
    queue.enqueue_many(["true"] * 3)
    work(queue, "w1")
    archive(queue, path, now())
    with Queue(tmp_path / "new.db") as new:
        load(new, [record.json() for record in log(queue)])
        [finding] = look(new)["log"].findings
    assert finding.what == "5 events in 5 streams, none missing; 11 archived"


@pytest.mark.parametrize(
    "tampering, told",
    [
        (("drop trigger events_no_delete", "delete from events where seq = 12"), "12 events left the log, but the tom"),
        (
            ("drop trigger leaves_no_delete", "delete from leaves where seq = 5"),
            "1 event of the log was removed: 5",
        ),
        (
            ("drop trigger events_no_update", "update events set version = 9 where stream = 'job:2'"),
            "1 stream not whole: job:2",
        ),
    ],
)
def test_but_what_went_without_a_tombstone(queue: Queue, path: str, tampering: tuple[str, ...], told: str) -> None:
    queue.enqueue_many(["true"] * 3)
    work(queue, "w1")
    queue.enqueue("true")
    archive(queue, path, now())
    tampered(queue, *tampering)
    [finding] = look(queue)["log"].findings
    assert finding.severity == "problem"
    assert finding.what.startswith(told)


def test_outputs_that_an_archive_has_left_are_told(queue: Queue, path: str) -> None:
    queue.enqueue("true", id="gone")
    work(queue, "w1")
    archive(queue, path, now())
    Path(queue.home.output_of(queue.home.identity(), "gone", 2)).touch()
    [finding] = look(queue)["leftovers"].findings
    assert finding.what.startswith("1 output of jobs that were purged or archived, 0 B on disk: gone.2.")


def test_the_past_knows_queues_that_were_left(queue: Queue, path: str) -> None:
    queue.enqueue("true", id="a", queue="mail")
    before = queue.status().seq
    queue.edit("a", queue="night")
    between = queue.status().seq
    queue.edit("a", queue="late")
    queue.cancel("a")
    moments = [Then(seq=before), Then(seq=between), Then(seq=queue.status().seq)]

    def totals() -> list[list[int]]:
        return [[queue.status(name, then=then).total for name in ("mail", "night", "late")] for then in moments]

    assert totals() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    archive(queue, path, now())
    assert totals() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    with pytest.raises(NotFound, match="1 of these jobs was archived since"):
        list(queue.jobs(queue="mail", then=moments[0]))
    assert list(queue.jobs(queue="mail", then=moments[1])) == []

"""Retention (R24): what `keep` and `keep-dead` have had long enough is archived by itself, and nothing is lost."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from freezegun import freeze_time

from projections.replay import Progress
from queuectl import Queue
from queuectl.audit import retention
from queuectl.audit.archive import ArchiveResult
from queuectl.audit.archive_file import read
from queuectl.audit.retention import Retention
from queuectl.audit.retention_rules import Begun, change_state, read_state
from queuectl.audit.verify import verify
from queuectl.clock import now
from queuectl.errors import QueueError
from queuectl.spec import Spec
from queuectl.workers.turn import TurnWriter
from tests.support.archives import outputs, tombstones, work

SHORT = "100ms"
"""Kept so long, and let lie as long again."""
BEGINNING = "2026-01-01"


@pytest.fixture(params=["sqlite", "postgres"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    url = str(tmp_path / "q.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with Queue(url) as queue:
        up(queue)
        yield queue


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Queue]:
    """A queue in a file, of which the clock of this process is that of the log. It was new at `BEGINNING`."""
    with freeze_time(BEGINNING), Queue(tmp_path / "q.db") as queue:
        up(queue)
        yield queue


def up(queue: Queue, worker: str = "up", *, drain: bool = False, identity: str | None = None) -> None:
    """A worker is up from now on."""
    TurnWriter(queue, worker, (), identity or queue.home.identity()).start(1, drain=drain)


def retain(queue: Queue) -> list[ArchiveResult]:
    return [done for done in retention.retain(queue) if isinstance(done, ArchiveResult)]


def aged(queue: Queue) -> None:
    time.sleep(0.25)


def test_kept_long_enough_is_archived(queue: Queue) -> None:
    queue.enqueue_many(["true"] * 3)
    work(queue, "w1")
    queue.enqueue("true", id="waits")
    aged(queue)
    assert retain(queue) == [], "all is kept unless the settings say otherwise"

    queue.set_config("keep", SHORT)
    [done] = retain(queue)

    assert done.file is not None
    assert os.path.dirname(done.file) == queue.home.archives
    assert [os.stat(path).st_mode & 0o777 for path in (done.file, queue.home.archives)] == [0o600, 0o700]
    assert set(tombstones(queue)) == {"job:1", "job:2", "job:3", "worker:w1"}
    assert {record.stream for record in read(done.file)} == set(tombstones(queue))
    assert [job.id for job in queue.jobs()] == ["waits"]
    assert outputs(queue) == set()
    assert (verify(queue).findings, queue.check()) == ([], [])
    assert retain(queue) == []


def test_dead_jobs_stay_unless_keep_dead_says(queue: Queue) -> None:
    queue.enqueue("false", max_retries=0)
    work(queue, "w1", cause="exit")
    queue.enqueue("true")
    work(queue, "w2")
    queue.set_config("keep", SHORT)
    aged(queue)
    retain(queue)
    assert [job.state for job in queue.jobs()] == ["dead"]

    queue.set_config("keep", None)
    queue.set_config("keep-dead", SHORT)
    queue.enqueue("true")
    work(queue, "w3")
    aged(queue)
    [done] = retain(queue)

    assert "-dead" in str(done.file)
    assert [job.state for job in queue.jobs()] == ["completed"]
    assert verify(queue).findings == []


def test_one_archive_has_what_is_kept_alike(queue: Queue) -> None:
    queue.enqueue("false", max_retries=0)
    work(queue, "w1", cause="exit")
    queue.enqueue("true")
    work(queue, "w2")
    queue.set_config("keep", SHORT)
    queue.set_config("keep-dead", SHORT)
    aged(queue)
    [done] = retain(queue)
    assert (done.jobs, done.workers, list(queue.jobs())) == (2, 2, [])


def test_a_day_goes_by_between_archives(local: Queue) -> None:
    local.set_config("keep", "30d")
    archived: list[int] = []
    for hours in range(0, 24 * 34, 6):
        with freeze_time(BEGINNING) as clock:
            clock.tick(hours * 3600 + 1)
            local.enqueue("true")
            work(local, f"w{hours}")
            archived += [done.jobs for done in retain(local)]
    assert archived == [5, 5, 5], "of a day and what was enqueued at its end"
    assert sorted(os.listdir(local.home.archives)) == [f"2026-01-0{day}.ndjson.gz" for day in (2, 3, 4)], "up to when"
    assert verify(local).findings == []


def test_large_backlog_goes_into_several_archives(local: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "MOST", 2)
    local.set_config("keep", "1d")
    for number in range(5):
        local.enqueue("true")
        work(local, f"w{number}")
    with freeze_time("2026-01-10"):
        assert [done.jobs for done in retain(local)] == [2, 2, 1]
    names = ["2026-01-01.2.ndjson.gz", "2026-01-01.ndjson.gz", "2026-01-09.ndjson.gz"]
    assert sorted(os.listdir(local.home.archives)) == names
    assert verify(local).findings == []


def test_a_batch_that_runs_keeps_its_jobs(queue: Queue) -> None:
    queue.enqueue_many([Spec(command="true", batch="nightly")] * 2)
    work(queue, "w1", limit=1)
    queue.set_config("keep", SHORT)
    aged(queue)
    assert retain(queue) == []
    queue.cancel("2")
    aged(queue)
    assert [done.jobs for done in retain(queue)] == [2]


def test_only_the_longest_up_worker_archives(queue: Queue) -> None:
    queue.enqueue("true")
    work(queue, "w1")
    queue.set_config("keep", SHORT)
    aged(queue)
    TurnWriter(queue, "up", (), queue.home.identity()).stop("drained")
    up(queue, "passing", drain=True)
    up(queue, "elsewhere", identity="0" * 16)
    up(queue, "here")
    assert retain(queue) == [], "it is for the other host"
    TurnWriter(queue, "elsewhere", (), "0" * 16).stop("drained")
    assert [done.jobs for done in retain(queue)] == [1]


def test_a_begun_archive_is_finished_first(queue: Queue) -> None:
    queue.enqueue_many(["true"] * 120)
    work(queue, "w1")
    queue.set_config("keep", SHORT)
    aged(queue)

    class Killed(BaseException):
        pass

    def bars(what: str) -> Progress:
        def progress(done: int, total: int) -> None:
            if what == "Removing" and done:
                raise Killed

        return progress

    with pytest.raises(Killed):
        list(Retention(queue, bars).run())
    assert 0 < len(list(queue.jobs())) < 120
    begun = read_state(queue.home).begun
    assert begun is not None
    draft = Path(f"{queue.home.archives}/another.part")
    draft.touch()

    [done] = retain(queue)

    assert (done.file, list(queue.jobs()), draft.exists()) == (begun.file, [], False)
    assert read_state(queue.home).begun is None
    assert (verify(queue).findings, queue.check()) == ([], [])


def test_begun_archive_is_left_once_unwanted(queue: Queue) -> None:
    queue.enqueue("true")
    work(queue, "w1")
    begun = Begun(f"{queue.home.archives}/begun.ndjson.gz", now(), ("cancelled", "completed"))
    for said in (None, "30d"):
        change_state(queue.home, begun=begun)
        queue.set_config("keep", said)
        assert retain(queue) == []
    assert read_state(queue.home).begun is None
    assert len(list(queue.jobs())) == 1


def test_damaged_archive_does_not_hinder_the_next(queue: Queue) -> None:
    queue.enqueue("true")
    work(queue, "w1")
    queue.set_config("keep", SHORT)
    aged(queue)
    os.mkdir(queue.home.archives)
    damaged = Path(queue.home.archives, "begun.ndjson.gz")
    damaged.write_bytes(b"no archive")
    change_state(queue.home, begun=Begun(str(damaged), 1, ("cancelled", "completed")))

    with pytest.raises(QueueError, match="is no archive of this queue"):
        retain(queue)
    assert "is no archive of this queue" in str(read_state(queue.home).error)
    assert [done.jobs for done in retain(queue)] == [1]
    assert damaged.read_bytes() == b"no archive"
    assert read_state(queue.home).error is None


def test_folder_that_is_a_file_is_told(queue: Queue) -> None:
    queue.enqueue("true")
    work(queue, "w1")
    queue.set_config("keep", SHORT)
    aged(queue)
    Path(queue.home.archives).touch()
    with pytest.raises(QueueError, match="archive"):
        retain(queue)
    assert len(list(queue.jobs())) == 1
    os.unlink(queue.home.archives)
    assert [done.jobs for done in retain(queue)] == [1]

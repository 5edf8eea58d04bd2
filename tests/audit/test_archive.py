"""Archives (R24): what is over leaves the log for a file, nothing is lost, and it can still be told of."""

import gzip
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.audit.archive import ArchiveResult, archive, preview
from queuectl.audit.archive_file import read
from queuectl.audit.seal import seal
from queuectl.clock import now
from queuectl.errors import Invalid, QueueError, Refused
from queuectl.home import stderr_of
from tests.projections.test_user_projections import Offer, PerCommand
from tests.support.archives import log, outputs, tombstones, work


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        queue.engine.set_durability("normal")
        yield queue


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "old.ndjson.gz")


def assert_whole(queue: Queue) -> None:
    """The tables are those of a replay, however it is made, and numbers go on."""
    assert queue.check() == []
    assert queue.replay() == len(log(queue)), "what is left is folded"
    queue.replay("counts")
    assert queue.check() == []


def test_ended_streams_are_archived_in_log_order(queue: Queue, path: str) -> None:
    queue.enqueue_many(["true"] * 4)
    work(queue, "w1")
    queue.retry("3")
    queue.cancel("3", reason="enough")
    queue.purge("4")
    queue.set_config("max-retries", "5")
    queue.enqueue("true", id="named")
    queue.cancel("named")
    queue.enqueue("true", id="waits")
    before = log(queue)

    done = archive(queue, path, now())

    gone = {"job:1", "job:2", "job:3", "job:4", "job:named", "worker:w1"}
    assert list(read(path)) == [record for record in before if record.stream in gone]
    kept = [record for record in before if record.stream not in gone]
    assert [record for record in log(queue) if record.type not in ("sealed", "archived")] == kept
    assert set(tombstones(queue)) == gone
    assert (done.jobs, done.workers, done.events, done.stayed, done.more) == (5, 1, len(before) - len(kept), 0, 0)
    assert (done.file, done.bytes) == (path, os.stat(path).st_size)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert_whole(queue)
    assert [job.id for job in queue.jobs()] == ["waits"]
    assert queue.workers(all=True) == []
    assert queue.enqueue("true") == "5", "no number is used again"
    with pytest.raises(Refused, match="there is a job 'named' already"):
        queue.enqueue("true", id="named")


def test_a_tombstone_has_the_time_of_each_state(queue: Queue, path: str) -> None:
    queue.enqueue("false", queue="mail", max_retries=0)
    work(queue, "w1", cause="exit")
    queue.enqueue("true", id="purged")
    queue.cancel("purged")
    queue.purge("purged")
    archive(queue, path, now())

    found = tombstones(queue)
    job, worker, purged = found["job:1"], found["worker:w1"], found["job:purged"]
    assert (job.state, job.queue, job.events, job.file) == ("dead", "mail", 4, path)
    assert [(each.seq, each.state) for each in job.passed] == [
        (1, "pending"), (3, "processing"), (4, "failed"), (5, "dead"),
    ]  # fmt: skip
    assert (worker.state, worker.slots, [each.state for each in worker.passed]) == (
        "stopped",
        1,
        ["running", "stopped"],
    )
    assert (purged.state, purged.queue) == ("purged", "default")
    assert [record.stream for record in queue.events(queue="mail")] == ["job:1"]


def test_only_old_jobs_in_given_states_are_archived(queue: Queue, path: str) -> None:
    queue.enqueue("true")
    work(queue, "w1")
    queue.enqueue("true")
    queue.cancel("2")
    moment = queue.status().at
    queue.enqueue("true")
    work(queue, "w2")

    assert preview(queue, moment) == ArchiveResult(jobs=2, workers=1, events=7)
    assert archive(queue, path, moment, {"cancelled"}).jobs == 1
    assert set(tombstones(queue)) == {"job:2"}, "and a worker only when all its jobs are gone"
    assert archive(queue, path + "2", moment).workers == 1
    assert set(tombstones(queue)) == {"job:1", "job:2", "worker:w1"}
    assert archive(queue, path + "3", moment) == ArchiveResult(), "nothing is old enough"
    assert not os.path.exists(path + "3")


def test_workers_that_run_or_have_attempts_stay(queue: Queue, path: str) -> None:
    queue.enqueue_many(["true"] * 2)
    work(queue, "w1")
    queue.retry("2")
    queue.enqueue("true")
    work(queue, "w2", stop=False)
    queue.retry("2")
    archive(queue, path, now())
    assert set(tombstones(queue)) == {"job:1", "job:3"}
    assert [attempt.worker for attempt in queue.attempts("2")] == ["w1", "w2"]


def test_outputs_and_secret_values_go_with_their_jobs(queue: Queue, path: str) -> None:
    queue.enqueue("true", max_retries=0)
    queue.enqueue("true")
    queue.enqueue("true", id="secret", secrets={"TOKEN": "hunter2"}, max_retries=0)
    work(queue, "w1", cause="exit")
    Path(stderr_of(queue.home.output_of(queue.home.identity(), "1", 2))).touch()  # as if it had been split
    never_started = queue.home.output_of(queue.home.identity(), "2", 2)
    os.unlink(never_started)
    os.mkdir(never_started)  # as recovery does
    assert outputs(queue) == {"1", "2", "secret"}
    archive(queue, path, now())
    assert outputs(queue) == {"2"}, "which waits to be tried again"
    with queue.engine.transaction() as tx:
        assert tx.secrets("secret") == {}
    queue.cancel("2")
    archive(queue, path + "2", now())
    assert outputs(queue) == set()


def test_a_job_retried_during_the_archive_stays(queue: Queue, path: str) -> None:
    queue.enqueue_many(["true"] * 3)
    work(queue, "w1")

    def bars(what: str) -> Callable[[int, int], None]:
        if what == "Removing":
            queue.retry("2")
        return lambda done, total: None

    done = archive(queue, path, now(), bars=bars)
    assert (done.jobs, done.workers, done.stayed) == (2, 0, 2)
    assert queue.job("2").state == "pending"
    assert [moment.record.type for moment in queue.history("2")] == ["enqueued", "claimed", "completed", "requeued"]
    assert outputs(queue) == {"2"}
    assert_whole(queue)
    work(queue, "w2")
    assert archive(queue, path, now()).stayed == 2, "it is not what the file has"
    assert archive(queue, path + "2", now()).jobs == 1
    assert len([record for record in read(path + "2") if record.stream == "job:2"]) == 6


def test_an_archive_that_was_begun_is_finished(queue: Queue, path: str) -> None:
    queue.enqueue_many(["true"] * 300)
    work(queue, "w1")
    before = log(queue)
    moment = now()

    class CutShort(Exception):
        pass

    def bars(what: str) -> Callable[[int, int], None]:
        def progress(done: int, total: int) -> None:
            if what == "Removing":
                raise CutShort

        return progress

    with pytest.raises(CutShort):
        archive(queue, path, moment, bars=bars)
    begun = len(tombstones(queue))
    assert 0 < begun < 300
    Path(queue.home.output_of(queue.home.identity(), "1", 2)).touch()  # as if it had not come to this one
    queue.enqueue("true")
    queue.cancel("301")

    done = archive(queue, path, now())
    assert (done.jobs, done.workers, done.stayed, done.more) == (300 - begun, 1, 0, 1)
    assert list(read(path)) == before
    assert outputs(queue) == set()
    assert archive(queue, path, now()) == ArchiveResult(path, done.bytes, more=1)
    assert_whole(queue)


@pytest.mark.parametrize(
    "make, told",
    [
        (lambda path, whole: path.write_text("mine\n"), "line 1: is no event"),
        (lambda path, whole: path.write_bytes(b""), "there is no event in it"),
        (lambda path, whole: path.write_bytes(whole[:-20]), r"line \d+: what follows is cut off or damaged"),
        (lambda path, whole: path.write_bytes(b"\x1f\x8b mine"), "line 0: what follows is cut off or damaged"),
        (
            lambda path, whole: path.write_bytes(gzip.decompress(whole).replace(b'"exit_code":0', b'"exit_code":7')),
            "event 6 is not what was sealed",
        ),
        (
            lambda path, whole: path.write_bytes(b"".join(gzip.decompress(whole).splitlines(True)[1:])),
            "events of job:1 are missing before event 4",
        ),
        (lambda path, whole: path.mkdir(), "no regular file"),
        (lambda path, whole: os.mkfifo(path), "no regular file"),
        (lambda path, whole: path.symlink_to("nowhere"), "no regular file"),
    ],
)
def test_a_file_of_another_kind_is_not_replaced(
    queue: Queue, tmp_path: Path, path: str, make: Callable[[Path, bytes], object], told: str
) -> None:
    queue.enqueue_many(["true"] * 2)
    work(queue, "w1")
    archive(queue, path, now())
    queue.enqueue("true", id="over")
    queue.cancel("over")
    events = log(queue)
    other = tmp_path / "other"
    make(other, Path(path).read_bytes())
    with pytest.raises(
        QueueError, match=f"other exists, and is no archive of this queue .*{told}.*: name another"
    ) as e:
        archive(queue, str(other), now())
    assert e.value.exit_code == 1
    assert log(queue) == events


def test_an_archive_of_another_queue_removes_nothing(queue: Queue, path: str, tmp_path: Path) -> None:
    with Queue(tmp_path / "other.db") as other:
        for each in (queue, other):
            each.enqueue("true")
            each.cancel("1")
        archive(other, path, now())
    with pytest.raises(QueueError, match=r"is no archive of this queue .*event 1 is not what was sealed"):
        archive(queue, path, now())
    assert queue.job("1").state == "cancelled"


def test_what_can_not_be_written_removes_nothing(queue: Queue, tmp_path: Path) -> None:
    queue.enqueue("true")
    queue.cancel("1")
    with pytest.raises(QueueError, match=r"can't write .*nowhere.*No such file or directory; nothing was written"):
        archive(queue, str(tmp_path / "nowhere" / "a.gz"), now())
    for guarded in (queue.url, queue.url + "-wal"):
        with pytest.raises(Invalid, match="is the queue itself"):
            archive(queue, guarded, now())
    assert queue.job("1").state == "cancelled"
    assert not list(tmp_path.glob("**/*.part"))


def test_a_changed_event_is_not_archived(queue: Queue, path: str) -> None:
    queue.enqueue_many(["true"] * 3)
    work(queue, "w1")
    seal(queue)
    with queue.engine.transaction() as tx:
        db = tx._db  # pyright: ignore[reportAttributeAccessIssue]
        db.execute("drop trigger events_no_update")
        db.execute("""update events set data = replace(data, '"exit_code":0', '"exit_code":1') where seq = 8""")
    queue.set_config("max-retries", "1")
    with pytest.raises(QueueError, match="event 8 is not what was sealed: see `queuectl audit verify`; nothing"):
        archive(queue, path, now())
    assert not os.path.exists(path)
    assert tombstones(queue) == {}


@pytest.mark.parametrize("broken, told", [("'KeyError: 1'", "KeyError: 1"), ("null", "it is behind")])
def test_archiving_is_refused_while_a_projection_is_behind(queue: Queue, path: str, broken: str, told: str) -> None:
    queue.enqueue("true")
    queue.cancel("1")
    with queue.engine.transaction() as tx:
        tx._db.execute(  # pyright: ignore[reportAttributeAccessIssue]
            f"insert into projection_state values ('mine', 1, 1, 'mine', 'nowhere:Mine', {broken})"
        )
    with pytest.raises(Refused, match=rf"the projection 'mine' would miss it \({told}\)"):
        archive(queue, path, now())
    assert not os.path.exists(path)


def test_archiving_is_refused_without_an_installed_projection(
    queue: Queue, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer = Offer(monkeypatch)
    offer.put(PerCommand)
    queue.enqueue("true")
    queue.cancel("1")
    queue.replay()
    offer.hide()
    with Queue(queue.url) as elsewhere:
        with pytest.raises(Refused, match=r"'per_command' would miss it \(its code is not installed here\)"):
            archive(elsewhere, path, now())
        assert tombstones(elsewhere) == {}
    offer.show()
    assert archive(queue, path, now()).jobs == 1
    assert set(tombstones(queue)) == {"job:1"}


def test_a_copied_queue_finishes_its_begun_archive(queue: Queue, path: str, tmp_path: Path) -> None:
    """What identifies an archive is what was sealed, not where the queue lies."""
    queue.enqueue("true")
    queue.cancel("1")
    archive(queue, path, now())
    moved = shutil.move(path, tmp_path / "moved.gz")
    assert archive(queue, str(moved), now()).jobs == 0

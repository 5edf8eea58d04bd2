"""Workers archive by themselves what `keep` has had long enough, in a process that nothing has to wait for."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from freezegun import freeze_time

from queuectl import Queue
from queuectl.audit.archive_file import read
from queuectl.audit.retention_rules import DAY, change_state, read_state
from queuectl.audit.verify import verify
from queuectl.clock import SECOND, monotonic, now
from queuectl.host import procfs
from tests.support.archives import outputs, work
from tests.support.lab import Lab
from tests.torture.disk_full import small_disk

PAST = "2026-01-01"


def old_jobs(folder: Path, count: int) -> Path:
    """A queue with so many jobs that completed long ago."""
    with freeze_time(PAST), Queue(folder / "q.db") as queue:
        queue.engine.set_durability("normal")
        queue.enqueue_many(["true"] * count)
        work(queue, "w1", limit=count)
    return folder / "q.db"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    old_jobs(tmp_path, 300)
    lab = Lab(tmp_path)
    yield lab
    lab.close()


def tombstones(lab: Lab) -> int:
    with lab.queue.engine.snapshot() as view:
        return len(view.tombstones())


def archivists(lab: Lab) -> list[int]:
    return [pid for pid in lab.ours() if " retention " in f" {procfs.command_line(pid)} "]


def test_workers_archive_by_themselves(lab: Lab) -> None:
    lab.queue.set_config("keep", "30d")
    parent = lab.start(count=3)
    lab.until(lambda: tombstones(lab) == 301)
    assert (lab.queue.status().counts.get("completed", 0), outputs(lab.queue)) == (0, set())
    [file] = os.listdir(lab.queue.home.archives)
    assert {record.actor.partition(":")[0] for record in lab.records("archived")} == {"worker"}
    lab.until(lambda: archivists(lab) == [])
    assert lab.stopped(parent) == ""
    told = [line for line in map(msgspec.json.decode, lab.journal().splitlines()) if line["event"] == "archived"]
    assert [(line["jobs"], line["file"]) for line in told] == [(300, f"{lab.queue.home.archives}/{file}")]
    assert (verify(lab.queue).findings, lab.queue.check()) == ([], [])


def test_a_worker_hears_of_keep(lab: Lab) -> None:
    lab.start()
    lab.up()
    lab.queue.wait(lab.queue.enqueue("true"), timeout=10)
    assert lab.records("archived") == []
    lab.queue.set_config("keep", "30d")
    lab.until(lambda: tombstones(lab) == 301)


def test_a_draining_worker_leaves_it_to_others(lab: Lab) -> None:
    lab.queue.set_config("keep", "30d")
    lab.queue.enqueue("sleep 1")
    lab.drain()
    assert lab.records("archived") == []


def test_archiving_ends_with_its_worker(lab: Lab) -> None:
    lab.queue.set_config("keep", "30d")
    parent = lab.start()
    lab.until(lambda: archivists(lab))
    assert lab.stopped(parent) == ""
    lab.until(lambda: lab.ours() == [])
    assert (verify(lab.queue).findings, lab.queue.check()) == ([], [])


def test_commands_end_without_ending_the_archiving(lab: Lab) -> None:
    lab.queue.set_config("keep", "30d")
    lab.start(slots=2)
    seen = set(lab.until(lambda: archivists(lab)))
    lab.queue.enqueue("sleep 100 & exit 1", max_retries=0)
    lab.queue.enqueue_many(["true"] * 20)
    while tombstones(lab) < 301:
        seen.update(archivists(lab))
    assert len(seen) == 1, "it was not taken for what a command had left"
    assert len(os.listdir(lab.queue.home.archives)) == 1


def test_kills_lose_and_double_nothing(lab: Lab) -> None:
    before = {record.seq for record in lab.queue.events()}
    lab.queue.set_config("keep", "30d")
    lab.start(count=2)
    lab.up(2)
    deadline, kills = monotonic() + 40, 0
    while tombstones(lab) < 301:
        assert monotonic() < deadline
        for pid in archivists(lab):
            time.sleep(0.05 + 0.06 * kills)
            os.kill(pid, signal.SIGKILL)
            kills += 1
        time.sleep(0.01)
    assert kills > 2
    [file] = os.listdir(lab.queue.home.archives)
    assert verify(lab.queue).findings == []
    assert lab.queue.check() == []
    kept = {record.seq for record in lab.queue.events()}
    gone = [record.seq for record in read(f"{lab.queue.home.archives}/{file}")]
    assert len(gone) == len(set(gone)), "nothing is there twice"
    assert not kept & set(gone)
    assert before <= kept | set(gone), "nothing is lost"


def test_workers_sweep_once_a_day(lab: Lab) -> None:
    lab.queue.purge("1")
    stale = Path(lab.queue.home.output_of(lab.queue.home.identity(), "1", 2))
    stale.touch()
    worker = lab.worker(constants={"chores.retention.LOOK": 0.2})
    lab.until(lambda: read_state(lab.queue.home).swept)
    assert stale.exists(), "a day is counted from the first look on"
    change_state(lab.queue.home, swept=now() - round(DAY * SECOND))
    lab.until(lambda: not stale.exists())
    lab.until(lambda: '"event":"swept"' in lab.journal())
    time.sleep(0.5)
    assert lab.journal().count('"event":"swept"') == 1
    assert worker.poll() is None


def test_a_failure_is_told_once_and_tried_later(lab: Lab) -> None:
    lab.queue.set_config("keep", "30d")
    Path(lab.queue.home.archives).touch()
    worker = lab.worker(constants={"chores.retention.LOOK": 0.2, "chores.retention.REST": 0.4})
    lab.up()
    lab.until(lambda: lab.journal().count("can't archive") > 1)
    os.unlink(lab.queue.home.archives)
    lab.until(lambda: tombstones(lab) == 301)
    lab.until(lambda: read_state(lab.queue.home).error is None)
    worker.send_signal(signal.SIGKILL)
    lab.until(lambda: lab.ours() == [])
    assert lab.ended(worker)[1].count("can't archive") == 1


def test_a_full_disk_of_archives_loses_nothing(lab: Lab) -> None:
    folder = Path(lab.queue.home.archives)
    with small_disk(folder) as mounted:
        filler = folder / "filler"
        if not mounted:  # nor can anything be written there then
            folder.rmdir()
            filler = folder
        with open(filler, "wb", buffering=0) as file, suppress(OSError):
            while mounted:
                file.write(bytes(4096))
        lab.queue.set_config("keep", "30d")
        lab.worker(constants={"chores.retention.LOOK": 0.2, "chores.retention.REST": 0.4})
        lab.until(lambda: read_state(lab.queue.home).error)
        assert ("No space left on device" if mounted else "archive") in str(read_state(lab.queue.home).error)
        assert lab.queue.status().counts["completed"] == 300
        assert filler.exists()
        filler.unlink()
        lab.until(lambda: tombstones(lab) == 301)
        assert len(os.listdir(folder)) == 1, "nothing half done is left"
        assert verify(lab.queue).findings == []
        for pid in lab.ours():
            os.kill(pid, signal.SIGKILL)  # before its folder goes

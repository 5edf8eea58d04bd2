"""Whether a worker lives: by its lock, and where that tells nothing by the process that it recorded (R42)."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from projections.workers import Worker
from queuectl import Queue, paths
from queuectl.liveness import Life, liveness, look
from queuectl.paths import Place
from queuectl.workers.recovery import worker_lock
from queuectl.workers.turn import TurnWriter


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        yield queue


@pytest.fixture
def worker(queue: Queue) -> Worker:
    """This very process, which has no lock file."""
    TurnWriter(queue, "w1", (), paths.identity(queue.place)).start(1)
    [worker] = queue.workers()
    return worker


@pytest.fixture
def dead(worker: Worker) -> Worker:
    """One whose process has ended."""
    with subprocess.Popen(["true"]) as process:
        found = look(process.pid)
    assert found is not None
    return msgspec.structs.replace(worker, pid=process.pid, start_ticks=found.started)


@pytest.fixture
def place(queue: Queue) -> Place:
    return queue.place


def left_free(place: Place) -> None:
    """A lock file that nobody holds."""
    worker_lock.take(place.workers, "w1").close(keep=True)


def replace_folder(place: Place) -> None:
    """What a restored backup does."""
    shutil.copytree(place.folder, place.folder + ".new", ignore=shutil.ignore_patterns("work-*", "log-*"))
    shutil.rmtree(place.folder)
    os.rename(place.folder + ".new", place.folder)


def test_who_holds_the_lock_lives(dead: Worker, place: Place) -> None:
    with worker_lock.take(place.workers, "w1"):
        assert liveness(dead, place) is Life.LIVES
    assert liveness(dead, place) is Life.GONE


def test_a_missing_or_free_lock_file_alone_is_no_death(worker: Worker, place: Place) -> None:
    assert liveness(worker, place) is Life.LIVES
    left_free(place)
    assert liveness(worker, place) is Life.LIVES


def test_a_pid_that_was_given_away_is_another_process(worker: Worker, place: Place) -> None:
    assert worker.start_ticks is not None
    assert liveness(msgspec.structs.replace(worker, start_ticks=worker.start_ticks + 1), place) is Life.GONE


def test_a_process_that_was_not_reaped_yet_is_gone(worker: Worker, place: Place) -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    found = look(process.pid)
    assert found is not None
    assert found.state == "Z"
    zombie = msgspec.structs.replace(worker, pid=process.pid, start_ticks=found.started)
    assert liveness(zombie, place) is Life.GONE
    process.wait()


@pytest.mark.parametrize("restored", [False, True])
def test_a_worker_whose_folder_was_replaced_lives(worker: Worker, place: Place, restored: bool) -> None:
    if restored:
        left_free(place)
        replace_folder(place)
    else:
        shutil.rmtree(place.folder)
    assert liveness(worker, place) is Life.LIVES


def test_a_copy_of_the_queue_takes_no_process_of_the_original_for_its_own(
    queue: Queue, worker: Worker, tmp_path: Path
) -> None:
    (tmp_path / "copy").mkdir()
    subprocess.run(["cp", "-a", queue.url, queue.place.folder, tmp_path / "copy"], check=True)
    assert liveness(worker, paths.place(str(tmp_path / "copy" / "q.db"))) is Life.GONE
    assert liveness(worker, queue.place) is Life.LIVES


def test_without_its_start_a_process_is_known_by_the_database_it_has_open(worker: Worker, place: Place) -> None:
    old = msgspec.structs.replace(worker, start_ticks=None)
    assert liveness(old, place) is Life.LIVES
    with subprocess.Popen(["sleep", "60"]) as process:
        assert liveness(msgspec.structs.replace(old, pid=process.pid), place) is Life.GONE
        process.kill()


def test_out_of_sight_a_lock_file_is_needed_to_tell(worker: Worker, place: Place) -> None:
    elsewhere = msgspec.structs.replace(worker, pid_namespace="pid:[1]")
    another = msgspec.structs.replace(worker, boot_id="b", machine_id="m")
    assert [liveness(each, place) for each in (elsewhere, another)] == [Life.UNKNOWN] * 2
    left_free(place)
    assert [liveness(each, place) for each in (elsewhere, another)] == [Life.GONE] * 2
    replace_folder(place)  # the copy of a lock file says nothing
    assert [liveness(each, place) for each in (elsewhere, another)] == [Life.UNKNOWN] * 2


def test_nobody_lives_through_the_machines_restart(worker: Worker, place: Place) -> None:
    assert liveness(msgspec.structs.replace(worker, boot_id="before"), place) is Life.GONE

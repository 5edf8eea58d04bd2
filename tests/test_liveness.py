"""Whether a worker lives: by its lock, and without one by the process that it recorded (R42)."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from projections.workers import Worker
from queuectl import Queue
from queuectl.engines.base import Engine
from queuectl.host.procfs import look
from queuectl.liveness import Life, liveness
from queuectl.workers.recovery import worker_lock
from queuectl.workers.turn import TurnWriter
from tests.support.paths import ROOT


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        yield queue


@pytest.fixture
def worker(queue: Queue) -> Worker:
    """A worker record of this process, without a lock file."""
    TurnWriter(queue, "w1", (), queue.home.identity()).start(1)
    [worker] = queue.workers()
    return worker


@pytest.fixture
def dead(worker: Worker) -> Worker:
    """A worker record whose process has ended."""
    with subprocess.Popen(["true"]) as process:
        found = look(process.pid)
    assert found is not None
    return msgspec.structs.replace(worker, pid=process.pid, start_ticks=found.started)


@pytest.fixture
def engine(queue: Queue) -> Engine:
    return queue.engine


def left_free(engine: Engine) -> None:
    """Make a lock file that no process holds."""
    worker_lock.take(engine.home.workers, "w1").close(keep=True)


def replace_folder(engine: Engine) -> None:
    """Replace the home folder by a copy, as restoring a backup does."""
    shutil.copytree(engine.home.folder, engine.home.folder + ".new", ignore=shutil.ignore_patterns("work-*", "log-*"))
    shutil.rmtree(engine.home.folder)
    os.rename(engine.home.folder + ".new", engine.home.folder)


def test_a_worker_that_holds_its_lock_lives(dead: Worker, engine: Engine) -> None:
    with worker_lock.take(engine.home.workers, "w1"):
        assert liveness(dead, engine) is Life.LIVES
    assert liveness(dead, engine) is Life.GONE


def test_a_free_lock_file_alone_means_no_death(worker: Worker, engine: Engine) -> None:
    assert liveness(worker, engine) is Life.LIVES
    left_free(engine)
    assert liveness(worker, engine) is Life.LIVES


def test_a_reused_pid_is_another_process(worker: Worker, engine: Engine) -> None:
    assert worker.start_ticks is not None
    assert liveness(msgspec.structs.replace(worker, start_ticks=worker.start_ticks + 1), engine) is Life.GONE


def test_a_zombie_is_gone(worker: Worker, engine: Engine) -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    found = look(process.pid)
    assert found is not None
    assert found.state == "Z"
    zombie = msgspec.structs.replace(worker, pid=process.pid, start_ticks=found.started)
    assert liveness(zombie, engine) is Life.GONE
    process.wait()


@pytest.mark.parametrize("restored", [False, True])
def test_a_worker_whose_folder_was_replaced_lives(worker: Worker, engine: Engine, restored: bool) -> None:
    if restored:
        left_free(engine)
        replace_folder(engine)
    else:
        shutil.rmtree(engine.home.folder)
    assert liveness(worker, engine) is Life.LIVES


def test_a_copied_queue_owns_no_original_processes(queue: Queue, worker: Worker, tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    copied = [file for file in queue.engine.files if not file.endswith("-shm")]
    subprocess.run(["cp", "-a", *copied, queue.home.folder, tmp_path / "copy"], check=True)
    ask = "import sys; from queuectl import Queue; q = Queue(sys.argv[1]); print(q.liveness(q.workers()[0]).value)"
    for path, life in ((tmp_path / "copy" / "q.db", "gone"), (queue.url, "lives")):
        asked = subprocess.run([sys.executable, "-c", ask, path], cwd=ROOT, capture_output=True, text=True, check=True)
        assert asked.stdout.strip() == life


def test_without_start_time_the_open_database_identifies_it(worker: Worker, engine: Engine) -> None:
    old = msgspec.structs.replace(worker, start_ticks=None)
    assert liveness(old, engine) is Life.LIVES
    with subprocess.Popen(["sleep", "60"]) as process:
        assert liveness(msgspec.structs.replace(old, pid=process.pid), engine) is Life.GONE
        process.kill()


def test_an_invisible_worker_needs_its_lock_file(worker: Worker, engine: Engine) -> None:
    elsewhere = msgspec.structs.replace(worker, pid_namespace="pid:[1]")
    another = msgspec.structs.replace(worker, boot_id="b", machine_id="m")
    assert [liveness(each, engine) for each in (elsewhere, another)] == [Life.UNKNOWN] * 2
    left_free(engine)
    assert [liveness(each, engine) for each in (elsewhere, another)] == [Life.GONE] * 2
    replace_folder(engine)  # the copy of a lock file says nothing
    assert [liveness(each, engine) for each in (elsewhere, another)] == [Life.UNKNOWN] * 2


def test_no_worker_survives_a_reboot(worker: Worker, engine: Engine) -> None:
    assert liveness(msgspec.structs.replace(worker, boot_id="before"), engine) is Life.GONE


def test_machines_that_share_a_home_are_apart(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Queue(postgres_url) as here:
        TurnWriter(here, "w1", (), here.home.identity()).start(1)
        [worker] = here.workers()
        with subprocess.Popen(["true"]) as process:
            ended = msgspec.structs.replace(worker, pid=process.pid)
        assert liveness(ended, here.engine) is Life.GONE
    monkeypatch.setattr("queuectl.engines.postgres.home.machine_id", lambda: "another")
    with Queue(postgres_url) as there:
        assert there.home.folder == here.home.folder
        assert not there.home.has_identity(worker.identity)
        assert liveness(ended, there.engine) is Life.UNKNOWN

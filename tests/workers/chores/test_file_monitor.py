"""The file monitor: lost files are made again, and without its queue a worker ends (R41)."""

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.audit.backup import backup
from queuectl.clock import monotonic
from queuectl.engines.sqlite.location import locate
from queuectl.events import encode
from queuectl.host import processes
from queuectl.workers.chores import file_monitor
from queuectl.workers.chores.file_monitor import PATIENCE, SURE, FileMonitor
from queuectl.workers.doorbells import Doorbells
from queuectl.workers.recovery import attempt_table, worker_lock
from queuectl.workers.recovery.attempt_table import AttemptTable
from tests.support.chore_host import Host
from tests.support.lab import ALONE, Fifo, Lab, gone

QUICK = {f"chores.file_monitor.{name}": value for name, value in {"LOOK": 0.05, "SURE": 0.3, "PATIENCE": 0.6}.items()}
"""Seconds within which a worker believes what it sees."""

PARENT = """
import sys, json
from queuectl.workers import worker_process, supervisor; from queuectl.workers.chores import file_monitor
alone, constants = sys.argv[2:]
for path, value in json.loads(constants).items():
    setattr(file_monitor, path.rpartition(".")[2], value)
worker_process.command = lambda role, *_: [sys.executable, "-c", alone, role, constants]
supervisor.RESTART = 0.05
sys.exit(supervisor.start(sys.argv[1]))
"""


OTHERS = """
import sys
from queuectl import Queue
with Queue(sys.argv[1]) as queue:
    for _ in range(20):
        queue.enqueue("true")
        queue.engine.truncate_wal()
"""
"""Write back all that there is of the WAL, and begin it anew, again and again."""


class Scene:
    """The files of one worker, which is this process, and what their chore asks of it."""

    def __init__(self, folder: Path) -> None:
        self.queue = Queue(folder / "q.db")
        self.url, self.home, self.engine = self.queue.url, self.queue.home, self.queue.engine
        self.held = worker_lock.take(self.home.workers, "w1")
        self.table = AttemptTable(self.held.path, 1)
        self.bells = Doorbells(self.queue, select.poll())
        self.host = Host()
        self.files = FileMonitor(self.host, self.queue, self.held, self.table, self.bells)

    def path(self, which: str) -> str:
        return self.url if which == "database" else self.home.folder

    def run(self, *moments: float) -> list[str]:
        """Look at these moments, in seconds; returns the warnings."""
        before = len(self.host.warnings)
        for moment in moments:
            self.files.run(moment)
        return self.host.warnings[before:]

    def close(self) -> None:
        self.bells.close()
        self.queue.close()
        self.held.close()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    scene = Scene(tmp_path)
    yield scene
    scene.close()


def test_no_warning_while_all_files_are_there(scene: Scene) -> None:
    scene.queue.enqueue("true")
    assert scene.run(1, 2, 100) == []
    assert not scene.files.claims_suspended


def test_short_rename_is_only_waited_for(scene: Scene) -> None:
    away = [(path, path + ".away") for path in (*scene.engine.files, scene.home.folder)]
    for path, other in away:
        os.rename(path, other)
    assert scene.run(1, 2, 3, 4, 5) == []
    assert scene.files.claims_suspended
    assert scene.files.writes_suspended
    assert scene.host.turns_after > scene.files.due
    for path, other in away:
        os.rename(other, path)
    assert scene.run(6, 60) == []
    assert not scene.files.claims_suspended
    assert scene.files.gone is None


def test_removed_lock_file_is_restored_with_its_table(scene: Scene) -> None:
    scene.table.add(7, 1, 2, 3)
    os.unlink(scene.held.path)
    assert scene.run(1, 1 + SURE - 0.1) == []
    assert scene.files.claims_suspended
    assert not scene.files.writes_suspended
    [told] = scene.run(1 + SURE)
    assert "has made another" in told
    assert not scene.files.claims_suspended
    assert worker_lock.held(scene.home.workers, "w1")
    scene.table.add(8, 2, 2, 3)
    assert {entry.pid for entry in attempt_table.read(scene.held.path)} == {7, 8}
    assert os.listdir(scene.home.workers) == ["w1"]


def test_copied_lock_file_is_taken_over(scene: Scene) -> None:
    shutil.copy(scene.held.path, scene.held.path + ".copy")
    os.replace(scene.held.path + ".copy", scene.held.path)
    scene.run(1, 1 + SURE)
    assert worker_lock.held(scene.home.workers, "w1")
    assert not scene.files.claims_suspended


def test_where_somebody_recovers_the_worker_it_is_lost(scene: Scene) -> None:
    os.unlink(scene.held.path)
    with worker_lock.take(scene.home.workers, "w1") as recoverer:
        scene.run(1, 1 + SURE)
        assert scene.host.stopped == ["declared lost"]
        assert scene.files.claims_suspended
        scene.held.close()
        assert os.path.exists(recoverer.path)  # it is not the worker's to remove


def test_a_doorbell_that_was_removed_is_made_again(scene: Scene) -> None:
    shutil.rmtree(locate(scene.url).bells)
    os.mkdir(locate(scene.url).bells)
    assert "doorbell" in scene.run(1, 1 + SURE)[0]
    scene.queue.enqueue("true")
    assert scene.bells.work.clear()
    assert not scene.files.claims_suspended


@pytest.mark.parametrize("names", [("-wal",), ("-shm",), ("-wal", "-shm")])
def test_database_is_reopened_after_its_wal_is_removed(scene: Scene, names: tuple[str, ...]) -> None:
    scene.queue.enqueue("true", id="before")
    for name in names:
        os.unlink(scene.url + name)
    assert scene.run(1) == []
    assert scene.files.writes_suspended
    assert "opened anew" in scene.run(1 + SURE)[0]
    assert not scene.files.claims_suspended
    scene.queue.enqueue("true", id="after")
    with Queue(scene.url) as other:
        assert [job.id for job in other.jobs()] == ["before", "after"]
        assert other.check() == []


def test_writes_of_others_into_a_new_wal_stay(scene: Scene) -> None:
    scene.queue.enqueue("true", id="before")
    for path in (scene.url + "-shm", scene.held.path):
        os.unlink(path)
    subprocess.run([sys.executable, "-c", OTHERS, scene.url], check=True)
    scene.run(1, 1 + SURE)
    assert scene.queue.status().counts["pending"] == 21
    assert scene.queue.check() == []


@pytest.mark.parametrize("which", ["database", "folder"])
def test_missing_files_end_the_worker_after_patience(scene: Scene, which: str) -> None:
    path = scene.path(which)
    os.rename(path, path + ".away")
    scene.run(1, PATIENCE)
    assert scene.files.gone is None
    scene.run(1 + PATIENCE)
    assert f"{path}: has been missing for 60 s" in str(scene.files.gone)


@pytest.mark.parametrize("which", ["database", "folder"])
def test_another_one_is_believed_at_the_second_look(scene: Scene, which: str) -> None:
    path = Path(scene.path(which))
    path.rename(f"{path}.away")
    path.mkdir()
    scene.run(1, SURE)
    assert scene.files.gone is None
    scene.run(1 + SURE)
    assert f"{path}: is another one" in str(scene.files.gone)
    assert scene.files.writes_suspended
    scene.run(2 + SURE)
    assert scene.host.abandoned == ["its queue is gone"]


def test_database_overwritten_by_a_copy_is_another(scene: Scene) -> None:
    database = scene.url
    backup(scene.queue, database + ".backup")
    shutil.copyfile(database + ".backup", database)
    scene.run(1, SURE)
    assert scene.files.writes_suspended
    assert scene.files.gone is None
    scene.run(1 + SURE)
    assert f"{database}: is another one" in str(scene.files.gone)


def test_an_error_tells_nothing(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(file_monitor, "inode", refuse)
    scene.run(1, 1000)
    assert not scene.files.claims_suspended


# -- real workers ----------------------------------------------------------------------------------------------------


def started(lab: Lab, fifo: Fifo) -> int:
    """Have a job run for long; its process."""
    command = f"trap 'echo > {lab.folder}/ended; exit' TERM; echo $$ > {fifo}; sleep 60 & wait"
    lab.queue.enqueue(command, id="long", timeout=None)
    return int(fifo.line())


def remove_folder(lab: Lab) -> None:
    """Remove the queue's folder at once: while its files are removed one by one, the worker may make new ones in it."""
    gone = f"{lab.queue.home.folder}.gone"
    os.rename(lab.queue.home.folder, gone)
    shutil.rmtree(gone)


def replace_database(lab: Lab) -> None:
    """Begin anew at the same path."""
    lab.queue.close()
    for path in lab.queue.engine.files:
        os.unlink(path)
    remove_folder(lab)


def parent(lab: Lab) -> "subprocess.Popen[str]":
    return lab.python(PARENT, lab.database, ALONE, encode(QUICK).decode())


def test_worker_replaces_its_lock_file_and_doorbell(lab: Lab, fifo: Fifo) -> None:
    lab.worker(constants=QUICK)
    [worker] = lab.up()
    for folder in (lab.queue.home.workers, locate(lab.queue.url).bells):
        for name in os.listdir(folder):
            os.unlink(f"{folder}/{name}")
    lab.until(lambda: os.listdir(lab.queue.home.workers) == [worker.id])
    lab.until(lambda: any(name.startswith("work-") for name in os.listdir(locate(lab.queue.url).bells)))
    began = monotonic()
    id = lab.queue.enqueue(f"echo > {fifo}")
    fifo.line()
    assert monotonic() - began < 4  # it was rung
    lab.until(lambda: lab.queue.job(id).state == "completed")
    lab.queue.stop_workers()
    assert gone(worker.pid)
    assert lab.log()[-1] == "worker_stopped"


def test_nothing_is_claimed_while_files_are_doubtful(lab: Lab, tmp_path: Path) -> None:
    lab.worker(constants={"chores.file_monitor.LOOK": 0.05, "chores.file_monitor.SURE": 600.0})
    [worker] = lab.up()
    lab.until(lambda: processes.state(worker.pid) == "S")
    os.kill(worker.pid, signal.SIGSTOP)  # so that it looks at its files before it hears of the job
    os.rename(f"{lab.queue.home.workers}/{worker.id}", tmp_path / "aside")
    id = lab.queue.enqueue("true")
    time.sleep(0.1)
    os.kill(worker.pid, signal.SIGCONT)

    time.sleep(1)
    assert lab.log(id) == ["enqueued"]

    os.rename(tmp_path / "aside", f"{lab.queue.home.workers}/{worker.id}")
    lab.until(lambda: lab.queue.job(id).state == "completed")


@pytest.mark.parametrize("anew", [False, True])
def test_worker_and_supervisor_end_without_their_queue(lab: Lab, fifo: Fifo, anew: bool) -> None:
    process = parent(lab)
    command = started(lab, fifo)
    replace_database(lab)
    if anew:
        with Queue(lab.database) as queue:
            queue.enqueue("true", id="new")

    code, said = lab.ended(process)

    assert code == 4
    assert lab.database in said
    assert gone(command)
    assert (lab.folder / "ended").exists()  # by a TERM, in its grace
    assert os.path.exists(lab.database) == anew
    if anew:
        with Queue(lab.database) as queue:
            assert [record.type for record in queue.events()] == ["enqueued"]


def test_supervisor_restarts_workers_in_a_replaced_folder(lab: Lab, fifo: Fifo) -> None:
    process = parent(lab)
    command = started(lab, fifo)
    [first] = lab.queue.workers()
    remove_folder(lab)
    Queue(lab.database).close()

    [second] = lab.until(lambda: [each for each in lab.queue.workers() if each.id != first.id])

    assert gone(command)
    assert second.identity != first.identity
    lab.until(lambda: lab.queue.job("long").state != "processing")
    [lost] = [each for each in lab.queue.attempts("long") if each.number == 1]
    assert lost.cause == "lost"
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    assert lab.ended(process)[0] == 0


def test_worker_is_not_restarted_without_its_database(lab: Lab) -> None:
    process = parent(lab)
    [worker] = lab.up()
    replace_database(lab)
    os.kill(worker.pid, signal.SIGKILL)
    code, said = lab.ended(process)
    assert code == 4
    assert "no worker is started again" in said
    assert not os.path.exists(lab.database)


def test_worker_is_restarted_once_the_queue_is_back(lab: Lab) -> None:
    parent(lab)
    [worker] = lab.up()
    paths = [path for path in (*lab.queue.engine.files, lab.queue.home.folder) if os.path.exists(path)]
    for path in paths:
        os.rename(path, path + ".away")
    os.kill(worker.pid, signal.SIGKILL)
    while not gone(worker.pid):
        time.sleep(0.01)
    time.sleep(0.2)  # in which it would have been restarted
    for path in paths:
        os.rename(path + ".away", path)
    assert lab.until(lambda: [each for each in lab.queue.workers() if each.id != worker.id])

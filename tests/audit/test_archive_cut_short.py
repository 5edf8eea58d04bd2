"""An archive among others, and one that is cut short: log and file together have every event at any moment (R24)."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from queuectl import Queue
from queuectl.audit.archive import archive
from queuectl.audit.archive_file import read
from queuectl.clock import monotonic, now
from queuectl.decisions import Outcome, Report
from queuectl.events import Archived, Claimed, Recorded
from queuectl.workers.turn import TurnWriter
from tests.support.paths import ROOT

JOBS = 240
KILLS = 8
WRITE = """
import sys
from queuectl import Queue
with Queue(sys.argv[1]) as queue:
    print("up", flush=True)
    while True:
        queue.enqueue_many(["true"] * 20)
"""
LIMITED = """
import resource, sys
from queuectl.cli import main
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
sys.exit(main(sys.argv[1:]))
"""


def lived(path: Path) -> None:
    """A queue of which most is over: a few jobs wait, and what they ran is told by their worker's attempts."""
    with Queue(path) as queue:
        queue.engine.set_durability("normal")
        queue.enqueue_many(["true"] * JOBS)
        for worker, cause in (("w1", "exit"), ("w2", None)):
            writer = TurnWriter(queue, worker, (), "here")
            writer.start(1)
            claims = writer.turn([], [], JOBS).claims
            writer.turn([Report(claim.lease, Outcome(cause=cause)) for claim in claims], [], 0)
            queue.cancel(*(claim.job.id for claim in claims if cause and int(claim.job.id) % 50))
            writer.stop("drained")


def copied(template: Path, folder: Path) -> Path:
    """The same queue once more, with the outputs that its attempts left."""
    folder.mkdir()
    path = folder / "q.db"
    for suffix in ("", "-wal"):
        if os.path.exists(f"{template}{suffix}"):
            shutil.copy(f"{template}{suffix}", f"{path}{suffix}")
    with Queue(path) as queue:
        identity = queue.home.identity()
        for record in queue.events(type="claimed"):
            Path(queue.home.output_of(identity, record.subject, record.version)).touch()
    return path


def original(records: Iterable[Recorded]) -> set[Recorded]:
    """Without what tells of the archive."""
    return {record for record in records if record.type not in ("sealed", "archived")}


def state(queue: Queue, file: Path) -> list[object]:
    """Everything that must come out the same, whatever came between."""
    tombstones = [
        (record.stream, record.version, msgspec.structs.replace(record.event, file=""))
        for record in queue.events(type="archived")
        if isinstance(record.event, Archived)
    ]
    return [
        list(read(str(file))), original(queue.events()), sorted(tombstones), list(queue.jobs()),
        queue.workers(all=True), sorted(name.rpartition(".")[0] for name in os.listdir(queue.home.output)),
        queue.check(),
    ]  # fmt: skip


def started(folder: Path) -> "subprocess.Popen[bytes]":
    """The command, in the folder of its queue."""
    words = [sys.executable, "-m", "queuectl", "archive", "--older-than", "0", "-o", "a.gz", "--db", "q.db"]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(words, cwd=folder, env=env, stdout=subprocess.DEVNULL)


def test_a_killed_archive_loses_nothing_and_is_finished(tmp_path: Path) -> None:
    template = tmp_path / "q.db"
    lived(template)
    path = copied(template, tmp_path / "whole")
    began = monotonic()
    assert started(path.parent).wait(50) == 0
    took = monotonic() - began
    with Queue(path) as queue:
        expected = state(queue, path.with_name("a.gz"))
        everything = original(queue.events()) | set(read(str(path.with_name("a.gz"))))
    assert expected[-1] == []
    assert len(everything) > 4 * JOBS

    dice = random.Random(3)
    cut: list[bool] = []
    number = 0
    while number < KILLS or (sum(cut) <= KILLS // 2 and number < 5 * KILLS):  # under load, many kills come too late
        path = copied(template, tmp_path / f"{number}")
        file = path.with_name("a.gz")
        process = started(path.parent)
        if number % 3:  # while it removes, or soon after
            while not file.exists() and process.poll() is None:
                time.sleep(0.0005)
            time.sleep(dice.uniform(0, 0.05))
        else:
            time.sleep(dice.uniform(0.3, 1) * took)
        process.kill()
        cut.append(process.wait(50) == -signal.SIGKILL)
        with Queue(path) as queue:
            assert original(queue.events()) | (set(read(str(file))) if file.exists() else set()) == everything
            assert queue.check() == []
            archive(queue, str(file), now())
            assert state(queue, file) == expected
        number += 1
    assert sum(cut) > KILLS // 2


def test_archiving_beside_workers_and_enqueuers_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    words = [sys.executable, "-m", "queuectl", "worker", "start", "--slots", "2", "--db", str(path)]
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    with Queue(path) as queue:
        writer = subprocess.Popen([sys.executable, "-c", WRITE, queue.url], stdout=subprocess.PIPE, env=env)
        worker = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
        try:
            assert writer.stdout is not None
            writer.stdout.readline()
            archives: list[str] = []
            before, deadline = now(), monotonic() + 30
            while len(archives) < 3:
                done = archive(queue, str(tmp_path / f"{len(archives)}.gz"), before)
                if done.file is not None:
                    archives.append(done.file)
                    assert done.stayed == 0
                before = now()
                assert monotonic() < deadline
                time.sleep(0.1)
        finally:
            writer.kill()
            writer.communicate()
            worker.terminate()
            worker.wait(50)
        held = [record for file in archives for record in read(file)]
        assert any(isinstance(record.event, Claimed) for record in held)
        seqs = sorted(record.seq for record in [*held, *queue.events()])
        assert seqs == list(range(1, queue.status().seq + 1)), "each event once, in the log or in a file"
        assert queue.check() == []


@pytest.fixture
def bulky(tmp_path: Path) -> Path:
    """A queue whose archive is larger than a file may get."""
    path = tmp_path / "q.db"
    with Queue(tmp_path / "large.db") as queue:
        queue.enqueue_many([f": {os.urandom(10_000).hex()}" for _ in range(150)])
        queue.cancel(*(job.id for job in queue.jobs()))
        queue.engine.copy(_empty(path), secrets=False)  # its WAL is empty
    return path


def _empty(path: Path) -> str:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    return str(path)


def test_a_full_disk_leaves_the_log_unchanged(bulky: Path) -> None:
    with Queue(bulky) as queue:
        before = original(queue.events())
    words = ["archive", "--older-than", "0", "-o", "a.gz", "--db", str(bulky)]
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *words], cwd=bulky.parent, capture_output=True, text=True, timeout=50,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False,
    )  # fmt: skip
    told = f"queuectl: can't write {bulky.parent}/a.gz: File too large; nothing was written\n"
    assert (done.returncode, done.stderr, done.stdout) == (1, told, "")
    assert not list(bulky.parent.glob("a.gz*"))
    with Queue(bulky) as queue:
        assert {record for record in queue.events() if record.type != "sealed"} == before
        assert queue.check() == []

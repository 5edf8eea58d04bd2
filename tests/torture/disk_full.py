"""A disk that is full, failing or read-only under real processes: commands end in one line and exit code 4; a worker
pauses, leaves what runs alone, and resumes by itself."""

import errno
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from queuectl import Queue
from queuectl.events import encode
from queuectl.workers.start_options import WorkerOptions
from tests.support.paths import ROOT
from tests.torture.disk_trials import scratch
from tests.torture.verdict import Breach, Figures, Run

HURT = """
import os, sys
from tests.torture.disk import Calls
switch, number, what = sys.argv[1], int(sys.argv[2]), sys.argv[3]
refused = ("create", "write", "truncate", "delete", *(("read",) if what == "cli-reads" else ()))
with Calls(lambda op: number if op.kind in refused and os.path.exists(switch) else 0):
    if what == "worker":
        from queuectl.workers.__main__ import main
    else:
        from queuectl.cli import main
    sys.exit(main(sys.argv[4:]))
"""

TROUBLES = {"full": errno.ENOSPC, "I/O errors": errno.EIO, "read-only": errno.EROFS}

WRITES = (
    ("enqueue", "true"),
    ("enqueue", "true", "--stdin", "/etc/passwd"),
    ("cancel", "waits"),
    ("config", "set", "max-retries", "1"),
    ("replay",),
    ("run", "true"),
    ("worker", "start", "--drain"),
)
"""Commands that write."""

READS = (
    ("status",),
    ("list",),
    ("events",),
    ("inspect", "waits"),
    ("replay", "--check"),
    ("export",),
    ("config", "get"),
)
"""Commands that only look."""


def hurt(path: str, switch: Path, number: int, what: str, *words: str) -> subprocess.Popen[str]:
    """A worker or a command, for which the disk is in trouble while the switch exists."""
    return subprocess.Popen(
        [sys.executable, "-c", HURT, str(switch), str(number), what, *words],
        cwd=ROOT,
        env={**os.environ, "QUEUECTL_DB": path, "QUEUECTL_DISK_FLOOR": "0"},  # down to the last byte
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def commands(folder: Path, number: int) -> list[str]:
    """Every command while nothing can be written: what is wrong with how it ends."""
    folder.mkdir()
    switch, path = folder / "trouble", str(folder / "q.db")
    with Queue(path) as queue:
        queue.enqueue("true", id="waits", delay=3600)
        before = [record.seq for record in queue.events()]
    switch.touch()
    wrong: list[str] = []
    running = [(words, hurt(path, switch, number, "cli", *words)) for words in (*WRITES, *READS)]
    for words, process in running:
        _, said = process.communicate(timeout=60)
        expected = (4,) if words in WRITES else (0, 4)
        if process.returncode not in expected or said.count("\n") != (process.returncode != 0):
            wrong.append(f"{' '.join(words)}: exit {process.returncode}, {said!r}")
    switch.unlink()
    with Queue(path) as queue:
        if [record.seq for record in queue.events()] != before or queue.check():
            wrong.append("something was written all the same")
    return wrong


def worker(folder: Path, number: int) -> list[str]:
    """A worker that can't write for a while: what is wrong with what it does meanwhile and afterwards."""
    folder.mkdir()
    switch, path = folder / "trouble", str(folder / "q.db")
    with Queue(path) as queue:
        queue.enqueue("sleep 1.5; echo through", id="long")
        queue.enqueue("true", id="later", delay=1)
        process = hurt(
            path, switch, number, "worker", encode(WorkerOptions(path, "alone", slots=2, drain=True)).decode()
        )
        try:
            wrong = _pause(queue, process, switch.touch, switch.unlink)
            if Path(queue.output("long")).read_text() != "through\n":
                wrong.append("the command was disturbed")
            return wrong
        finally:
            process.kill()
            process.communicate(timeout=10)


def _pause(
    queue: Queue, process: subprocess.Popen[str], hurts: Callable[[], None], mends: Callable[[], None]
) -> list[str]:
    wrong: list[str] = []
    _until(lambda: queue.job("long").state == "processing")
    hurts()
    time.sleep(2.2)
    if process.poll() is not None:
        return [f"the worker has ended: exit {process.returncode}, {process.communicate()}"]
    if (state := queue.job("long").state) != "processing":
        wrong.append(f"reported, though that can't be written: {state}")
    mends()
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        return [*wrong, f"it does not go on: {[record.type for record in queue.events()]}"]
    if process.returncode:
        wrong.append(f"exit {process.returncode}")
    for id in ("long", "later"):
        job = queue.job(id)
        if (job.state, job.attempt) != ("completed", 1):
            wrong.append(f"job {id} is {job.state} after {job.attempt} attempts")
    return wrong + queue.check()


def _until(condition: Callable[[], bool], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise Breach([f"still waiting after {seconds:g} s"], {})
        time.sleep(0.02)


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A file system of 1 MiB in memory at `folder`; False where nothing may be mounted here."""
    folder.mkdir(mode=0o700)
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        yield False
        return
    options = ["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", str(folder)]
    if subprocess.run([mount, *options], capture_output=True, timeout=10).returncode:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True, timeout=10)


def small(folder: Path) -> list[str]:
    """A worker on a disk that is filled while it works, down to the last byte. Only within `small_disk`."""
    path, filler = str(folder / "q.db"), folder / "filler"
    with Queue(path) as queue:
        queue.enqueue("sleep 1.5", id="long")
        queue.enqueue("true", id="later", delay=1)
        process = hurt(
            path, folder / "never", 0, "worker", encode(WorkerOptions(path, "alone", slots=2, drain=True)).decode()
        )
        try:
            wrong = _pause(queue, process, lambda: _fill(filler, path), lambda: filler.unlink())
        finally:
            process.kill()
            process.communicate(timeout=10)
    with Queue(path) as queue:
        queue.enqueue("true", id="waits", delay=3600)
    _fill(filler, path)
    before = _size_of_log(path)
    for words in WRITES:
        process = hurt(path, folder / "never", 0, "cli", *words)
        _, said = process.communicate(timeout=30)
        if process.returncode != 4 or said.count("\n") != 1:
            wrong.append(f"{' '.join(words)}: exit {process.returncode}, {said!r}")
    filler.unlink()
    if _size_of_log(path) != before:
        wrong.append("something was written all the same")
    return wrong


def _size_of_log(path: str) -> int:
    with Queue(path) as queue:
        return queue.status().seq


def _fill(filler: Path, path: str) -> None:
    """Until there is no room, neither on the disk nor in what the WAL has of it already."""
    with Queue(path) as queue:
        queue.engine.truncate_wal()
    with open(filler, "wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise


def troubles(seed: int, full: bool) -> Figures:
    """Every trouble under commands and under a worker, and a disk that is really full where one can be mounted."""
    wrong: list[str] = []
    with scratch() as new:
        for what, number in TROUBLES.items():
            wrong += [f"{what}: {line}" for line in commands(new(), number)]
            wrong += [f"{what}: {line}" for line in worker(new(), number)]
        folder = new()
        with small_disk(folder) as mounted:
            if mounted:
                wrong += [f"a small disk: {line}" for line in small(folder)]
    figures: Figures = {
        "commands in trouble": len(TROUBLES) * len((*WRITES, *READS)),
        "workers that paused": len(TROUBLES) + mounted,
        "disks really full": int(mounted),
    }
    if wrong:
        raise Breach(wrong, figures)
    return figures


RUNS: dict[str, Run] = {"disk-troubles": troubles}

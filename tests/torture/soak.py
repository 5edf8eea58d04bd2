"""A worker at steady work for long: memory, descriptors and files are the same at the end as after the beginning.

Jobs come at a constant rate, some fail and are retried, a schedule fires, and what has ended is archived. The second
quarter of the time is compared with the last; the first is for what is loaded and kept.
"""

import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from queuectl import Queue
from queuectl.clock import monotonic
from tests.support.paths import ROOT
from tests.torture.kills import children_of
from tests.torture.verdict import Breach, Figures

RATE = 10
"""Jobs that are enqueued each second."""
SAMPLES = 120
"""How often is measured."""
SLACK = {"memory": 512 * 1024, "descriptors": 1.0}
"""What a figure may differ by for other reasons: an allocator's page, a checkpoint's file."""
TOMBSTONE = 1024
"""Bytes of the database that may stay for each job that was archived, and for the heartbeats meanwhile."""


class Sample(msgspec.Struct, frozen=True):
    """What was in use at a moment: by parent and workers in bytes and descriptors, by files in bytes."""

    parent: int
    workers: int
    descriptors: int
    database: int
    journal: int


def memory(pid: int) -> int:
    """Bytes of memory that are this process's own, not of files that others map too."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise Breach([f"process {pid} has no memory"], {})


def descriptors(pid: int) -> int:
    """How many it has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


class Soak:
    """A queue, its worker, and what is measured of them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.queue = Queue(folder / "q.db")
        self.samples: list[Sample] = []
        self.jobs = 0
        """How many were enqueued."""
        self._archives = 0
        env = {**os.environ, "QUEUECTL_DB": str(folder / "q.db"), "PYTHONPATH": str(ROOT)}
        self._env = env
        self.command("schedule", "add", "tick", "--every", "2s", "--", "true")
        self._parent = subprocess.Popen(
            [sys.executable, "-P", "-m", "queuectl", "worker", "start", "--slots", "2"],
            cwd=folder, env=env, stdin=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    def command(self, *words: str) -> None:
        """Run `queuectl`. Raises Breach where it fails."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "queuectl", *words],
            cwd=self.folder, env=self._env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Breach([f"{' '.join(words)}: exit {done.returncode}: {done.stderr}"], {})

    def work(self, seconds: float) -> None:
        """Enqueue, measure, archive."""
        began = monotonic()
        taken = archived = 0
        while (now := monotonic() - began) < seconds:
            while self.jobs < now * RATE:
                self.jobs += 1
                command = "test $QUEUECTL_ATTEMPT = 2" if self.jobs % 20 == 0 else f"echo {self.jobs}"
                self.queue.enqueue(command, backoff_base=1.0, backoff_max=0.1)
            if now >= (taken + 1) * seconds / SAMPLES:
                taken += 1
                self.samples.append(self._sample())
            if now >= (archived + 1) * seconds / 24:
                archived += 1
                self._archive()
            time.sleep(0.02)
        self.queue.wait(timeout=60)

    def stop(self) -> int:
        """Stop the worker in good order; returns the exit code."""
        self._parent.send_signal(signal.SIGTERM)
        return self._parent.wait(30)

    def close(self) -> None:
        """Leave nothing behind."""
        if self._parent.poll() is None:
            self._parent.kill()
            self._parent.wait(10)
        self.queue.close()

    def _archive(self) -> None:
        self.command("archive", "--older-than", "0s", "-o", f"ended-{self._archives}.archive")
        self._archives += 1

    def _sample(self) -> Sample:
        workers = children_of(self._parent.pid)
        mine = [self._parent.pid, *workers]
        return Sample(
            memory(self._parent.pid),
            sum(memory(pid) for pid in workers),
            sum(descriptors(pid) for pid in mine),
            os.stat(self.folder / "q.db").st_size,
            sum(path.stat().st_size for path in Path(self.queue.logs).glob("worker.jsonl*")),
        )


def _growth(samples: list[Sample]) -> Iterator[tuple[str, float, float, float]]:
    quarter = len(samples) // 4
    for name, kind in (("parent", "memory"), ("workers", "memory"), ("descriptors",) * 2):
        early, late = (
            statistics.median(getattr(each, name) for each in part)
            for part in (samples[quarter : 2 * quarter], samples[-quarter:])
        )
        yield name, early, late, SLACK[kind]


def run(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """An hour of it, or forty seconds. Nothing is drawn at random."""
    place = folder if folder is not None else Path(tempfile.mkdtemp(prefix="queuectl-soak-"))
    soak = Soak(place)
    try:
        soak.work(3600.0 if full else 40.0)
        code = soak.stop()
        figures: Figures = {"jobs": soak.jobs, "samples": len(soak.samples)}
        faults = [f"the worker ended with exit code {code}"] if code else []
        for name, early, late, slack in _growth(soak.samples):
            figures |= {f"{name}, second quarter": int(early), f"{name}, last quarter": int(late)}
            if late > early * 1.02 + slack:
                faults.append(f"{name} grows: {early:.0f} in the second quarter, {late:.0f} in the last")
        half = len(soak.samples) // 2
        stays = (soak.samples[-1].database - soak.samples[half].database) / (soak.jobs / 2)
        if stays > TOMBSTONE:
            faults.append(f"{stays:.0f} bytes of the database stay for each job that was archived")
        figures["bytes that stay for a job"] = round(stays)
        figures["journal at the end"] = soak.samples[-1].journal
        faults += soak.queue.check()
        if faults:
            raise Breach(faults, figures)
    finally:
        soak.close()
    if folder is None:
        shutil.rmtree(place)
    return figures

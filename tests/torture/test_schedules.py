"""Short: schedules fired by eight workers, under kills and while the clock is set."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from queuectl import Queue, clock
from queuectl.clock import SECOND, micros
from queuectl.events import encode
from queuectl.workers.start_options import WorkerOptions
from tests.support.paths import ROOT
from tests.support.schedule_judge import faults, fire
from tests.torture import schedules

WORKERS = 8
SET = """
import os, sys
from queuectl import clock
real, file = clock.now, os.open(sys.argv[2], os.O_RDONLY)
clock.now = lambda: real() + int(os.pread(file, 20, 0))
from queuectl.workers.__main__ import main
sys.exit(main(sys.argv[1:2]))
"""
"""A worker process whose wall clock is as far (µs) ahead as a file says."""


class Clock:
    """The wall clock of this process and of its workers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set(0)
        self._real = clock.now

    def set(self, ahead: int) -> None:
        """Set it so far ahead of the real time, in microseconds."""
        self._ahead = ahead
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT)
        os.pwrite(fd, f"{ahead:20}".encode(), 0)
        os.close(fd)

    def now(self) -> int:
        return self._real() + self._ahead


@pytest.fixture
def wall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Clock:
    wall = Clock(tmp_path / "ahead")
    monkeypatch.setattr(clock, "now", wall.now)
    return wall


def start(queue: Queue, wall: Clock, worker: str) -> subprocess.Popen[bytes]:
    options = encode(WorkerOptions(queue.url, worker)).decode()
    return subprocess.Popen([sys.executable, "-c", SET, options, str(wall.path)], cwd=ROOT)


def test_each_moment_is_fired_once_under_kills(tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"python -m tests.torture --seed {seed} schedules")  # shown with a failure
    figures = schedules.run(seed, False, tmp_path)
    assert int(figures["fired"]) > 10
    assert int(figures["kills"]) > 3


def test_eight_workers_under_a_clock_that_jumps(tmp_path: Path, wall: Clock) -> None:
    with Queue(tmp_path / "q.db") as queue:
        queue.schedules.add("often", "true", every=1, overlap="allow")
        queue.schedules.add("minutes", "true", cron="* * * * *", tz="Europe/Berlin", overlap="allow", catch_up="none")
        queue.schedules.add("hours", "true", cron="@hourly", tz="America/New_York")
        workers = [start(queue, wall, f"w{number}") for number in range(WORKERS)]
        try:
            far = micros("2099-06-01T00:00:00Z") - clock.now()
            for step, ahead in enumerate((0, 3600 * SECOND, -1800 * SECOND, 0, far, 0)):
                wall.set(ahead)
                time.sleep(5.0 if ahead == far else 2.5)
                victim = workers[step % WORKERS]
                victim.kill()
                victim.wait(10)
                workers[step % WORKERS] = start(queue, wall, f"again{step}")
        finally:
            for worker in workers:
                worker.kill()
                worker.wait(10)
        for name in ("often", "minutes", "hours"):
            fire(queue, name)
            assert faults(queue, name, clock.now()) == []
        fired = [record.subject for record in queue.events(type="enqueued")]
        assert any("@2099-06-01T00:00:0" in id for id in fired)
        assert fired[-1].startswith("often@20"), "and on it goes, from the present"
        assert not fired[-1].startswith("often@2099")
        assert any(record.type == "schedule_rewound" for record in queue.events())
        assert queue.check() == []

"""A dead worker's lock may be held a little longer, by a command that it was just starting: the parent comes back."""

import ctypes
import os
import signal
import time
from pathlib import Path

import pytest

from tests.support.lab import Lab

PIDFD_GETFD = 438


def still_held(worker: int, id: str) -> int:
    """A descriptor of the very open file that the worker has locked, as a process between fork and exec has it."""
    for number in os.listdir(f"/proc/{worker}/fd"):
        link, info = f"/proc/{worker}/fd/{number}", Path(f"/proc/{worker}/fdinfo/{number}")
        if id in os.readlink(link) and "FLOCK" in info.read_text():
            pidfd = os.pidfd_open(worker)
            fd = ctypes.CDLL(None).syscall(PIDFD_GETFD, pidfd, int(number), 0)
            os.close(pidfd)
            if fd < 0:
                pytest.skip("no pidfd_getfd here")
            return fd
    raise AssertionError("the worker holds no lock")


def test_parent_waits_for_a_lock_held_briefly(lab: Lab) -> None:
    id = lab.queue.enqueue("touch began; sleep 60", cwd=str(lab.folder), timeout=None)
    lab.start()
    [worker] = lab.up()
    lab.until((lab.folder / "began").exists)
    fd = still_held(worker.pid, worker.id)
    os.kill(worker.pid, signal.SIGKILL)
    time.sleep(0.2)
    assert "failed" not in lab.log(id)
    os.close(fd)

    lab.until(lambda: "failed" in lab.log(id), 10)

    assert [record.actor for record in lab.records("failed", id)] == [f"recovery:{worker.id}"]


def test_slow_termination_delays_no_other_job(lab: Lab) -> None:
    slow = lab.queue.enqueue("trap '' TERM; touch slow; while :; do sleep 0.1; done", cwd=str(lab.folder), timeout=None)
    quick = lab.queue.enqueue("touch quick; exec sleep 60", cwd=str(lab.folder), timeout=None)
    lab.start(slots=2)
    [worker] = lab.up()
    lab.until(lambda: (lab.folder / "slow").exists() and (lab.folder / "quick").exists())

    os.kill(worker.pid, signal.SIGKILL)

    lab.until(lambda: "failed" in lab.log(quick))
    assert "failed" not in lab.log(slow)
    assert not lab.records("worker_lost")


def test_successor_that_cannot_start_is_followed_by_another(lab: Lab) -> None:
    code = """
import sys
from queuectl.workers import supervisor
supervisor.RESTART = supervisor.LONG_RESTART = 0.1
sys.exit(supervisor.start(sys.argv[1], logs=sys.argv[2]))
"""
    logs = lab.folder / "logs"
    parent = lab.python(code, lab.database, str(logs))
    [worker] = lab.up()
    logs.rename(lab.folder / "aside")
    logs.write_text("where no folder can be made")

    os.kill(worker.pid, signal.SIGKILL)

    lab.until(lambda: lab.records("worker_lost"))
    time.sleep(3.0)  # several successors fail to start, even on a busy machine
    assert not lab.queue.workers()
    logs.unlink()
    [another] = lab.up()
    assert another.id != worker.id
    parent.send_signal(signal.SIGTERM)
    status, said = lab.ended(parent)
    assert status == 0
    assert f"{logs}: is not a folder: name one" in said
    assert said.count("starting another") == said.count("is not a folder") + 1 > 1

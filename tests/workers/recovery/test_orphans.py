"""Commands that hide from every trace, and are found all the same, as orphans (R18, the last row of its table)."""

import os
import signal
import sys
import time

import pytest

from queuectl.host import subreaper
from queuectl.workers.execution import traces
from queuectl.workers.recovery.orphans import Orphans
from tests.support.lab import Fifo, Lab, gone
from tests.support.paths import ROOT

HIDE = """
import os, sys, time
os.setsid()
os.closerange(0, 200)
with open(sys.argv[1], "w") as fifo:
    print(os.getpid(), file=fifo)
time.sleep(1000)
"""


@pytest.fixture
def hidden(lab: Lab, fifo: Fifo) -> str:
    """A command that hides in the background: no tag, no descriptor, no session of the attempt's."""
    script = lab.folder / "hide.py"
    script.write_text(HIDE)
    return f"env -i {sys.executable} {script} {fifo} &"


def test_orphans_of_dead_worker_end_before_the_retry(lab: Lab, fifo: Fifo, hidden: str) -> None:
    id = lab.queue.enqueue(f"{hidden} sleep 60", timeout=None, backoff_base=1)
    parent = lab.start()
    pid = int(fifo.line())
    [worker] = lab.up()

    os.kill(worker.pid, signal.SIGKILL)

    lab.until(lambda: "failed" in lab.log(id))
    assert gone(pid)
    assert int(fifo.line()) != pid, "it runs again"
    parent.send_signal(signal.SIGTERM)
    parent.send_signal(signal.SIGINT)


def test_orphans_end_before_a_failure_is_reported(lab: Lab, fifo: Fifo, hidden: str) -> None:
    id = lab.queue.enqueue(f"{hidden} sleep 0.3; exit 1", max_retries=1, backoff_base=1)
    lab.start(drain=True)
    pid = int(fifo.line())

    lab.until(lambda: "failed" in lab.log(id))

    assert gone(pid)
    assert not gone(again := int(fifo.line()))
    lab.until(lambda: lab.queue.job(id).state == "dead")
    assert gone(again)


def test_orphans_of_completed_job_stay_until_it_reruns(lab: Lab, fifo: Fifo, hidden: str) -> None:
    id = lab.queue.enqueue(f"{hidden} sleep 0.3")
    fails = lab.queue.enqueue("exit 1", max_retries=0, delay=0.5)
    parent = lab.start()
    pid = int(fifo.line())
    lab.queue.wait(id, fails, timeout=20)
    assert not gone(pid), "another job's failure is no reason to end it"

    lab.queue.retry(id)

    again = int(fifo.line())
    assert gone(pid)
    lab.queue.wait(id, timeout=20)
    assert not gone(again)
    parent.send_signal(signal.SIGTERM)
    lab.ended(parent)
    os.kill(again, signal.SIGKILL)


def test_orphans_begun_beside_another_command_are_kept(lab: Lab, fifo: Fifo, hidden: str) -> None:
    """Nobody can tell whose it is: SECURITY.md says so."""
    other = lab.queue.enqueue("touch other; while [ -e other ]; do sleep 0.05; done", cwd=str(lab.folder), timeout=None)
    worker = lab.worker(slots=2)
    lab.until((lab.folder / "other").exists)
    time.sleep(0.05)  # the kernel tells when a process began to a hundredth of a second
    id = lab.queue.enqueue(f"{hidden} sleep 0.3; exit 1", max_retries=0)
    pid = int(fifo.line())

    lab.queue.wait(id, timeout=20)

    assert not gone(pid)
    (lab.folder / "other").unlink()
    lab.queue.wait(other, timeout=20)
    lab.queue.stop_workers(timeout=10)
    lab.ended(worker)
    os.kill(pid, signal.SIGKILL)


def test_workers_started_by_a_job_are_no_orphans(lab: Lab) -> None:
    """Not of the first worker, when the job that started them fails."""
    command = f"{sys.executable} -m queuectl worker start --detach --queue other; exit 1"
    id = lab.queue.enqueue(command, max_retries=0, cwd=str(ROOT), queue="outer")
    lab.start(queues=["outer"], drain=True)

    lab.queue.wait(id, timeout=20)

    inside = lab.queue.enqueue("true", queue="other")
    lab.queue.wait(inside, timeout=20)
    assert lab.queue.job(inside).state == "completed"


def test_process_with_own_children_finds_no_orphans() -> None:
    child = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
    try:
        blind = Orphans()
        later = os.posix_spawn("/bin/sleep", ["sleep", "60"], {})
        try:
            assert {child, later} <= set(subreaper.children())
            assert traces.is_untagged(later)
            assert blind.find(()) == []
        finally:
            os.kill(later, signal.SIGKILL)
            os.waitpid(later, 0)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)

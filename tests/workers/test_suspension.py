"""What is suspended gets no CPU, goes on, can be ended, and is in nobody's way (R33)."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest

from queuectl.events import Heartbeat
from queuectl.host import processes, procfs
from queuectl.workers.recovery import rescuer
from tests.support.lab import Fifo, Lab, gone, kill_all
from tests.torture import suspension

BUSY = "i=0; while [ $i -lt 300000000 ]; do i=$((i + 1)); done"
"""Ends by itself within minutes, should a test that fails leave it behind."""


def cpu(pid: int) -> int:
    """User and system time of a process, in clock ticks."""
    fields = procfs.read(f"{pid}/stat").rpartition(b")")[2].split()
    return int(fields[11]) + int(fields[12])


def tree(lab: Lab, fifo: Fifo, *, trap: str = "", lone: bool = True) -> str:
    """A job of busy processes: a shell, its child, and one in a session of its own.

    `lone`: and one without a trace, whose parent has ended. Each says its pid. `trap` is done first by each.
    """
    (lab.folder / "busy.sh").write_text(f"{trap}echo $$ > {fifo}; {BUSY}")
    busy = f"sh {lab.folder}/busy.sh"
    daemon = f"setsid env -i PATH=$PATH sh -c '{busy} & exit' >/dev/null 2>&1 77>&-; " if lone else ""
    return lab.queue.enqueue(f"{daemon}setsid {busy} & {busy} & exec {busy}", timeout=None)


def started(fifo: Fifo, count: int) -> list[int]:
    """The pids of so many processes, once each has said its own."""
    return [int(fifo.line()) for _ in range(count)]


def stopped(pids: list[int]) -> bool:
    return not any(processes.runs(pid) for pid in pids)


def test_suspended_tree_gets_no_cpu_and_goes_on(lab: Lab, fifo: Fifo) -> None:
    id = tree(lab, fifo)
    lab.start()
    pids = started(fifo, 4)

    assert lab.queue.suspend(id, reason="the machine is needed") == [id]
    lab.until(lambda: stopped(pids))
    before = [cpu(pid) for pid in pids]
    time.sleep(0.5)
    assert [cpu(pid) for pid in pids] == before
    assert lab.queue.suspend(id) == []

    assert lab.queue.continue_(id) == [id]
    lab.until(lambda: all(cpu(pid) > was for pid, was in zip(pids, before, strict=True)))
    assert lab.log(id) == ["enqueued", "claimed", "suspended", "continued"]
    assert lab.queue.check() == []
    for pid in pids:  # what has no trace would outlive the test
        os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("stubborn", [False, True])
def test_cancel_ends_all_of_a_suspended_job(lab: Lab, fifo: Fifo, stubborn: bool) -> None:
    id = tree(lab, fifo, trap="trap '' TERM; " if stubborn else "")
    lab.worker(constants={"execution.attempt._SECOND_KILL": 60.0})
    pids = started(fifo, 4)
    lab.queue.suspend(id)
    lab.until(lambda: stopped(pids))

    lab.queue.cancel(id)

    lab.until(lambda: lab.queue.job(id).state == "cancelled")
    assert all(map(gone, pids))
    assert lab.queue.job(id).suspended_at is None


@pytest.mark.parametrize("suspended", [False, True])
def test_cancel_ends_what_left_the_group(lab: Lab, fifo: Fifo, suspended: bool) -> None:
    """Nobody would look for it later; where the job has been suspended before, too."""
    id = tree(lab, fifo)
    lab.start()
    pids = started(fifo, 4)
    if suspended:
        lab.queue.suspend(id)
        lab.until(lambda: stopped(pids))
        lab.queue.continue_(id)
        lab.until(lambda: all(map(processes.runs, pids)))

    lab.queue.cancel(id)

    lab.until(lambda: lab.queue.job(id).state == "cancelled")
    assert all(map(gone, pids))


def test_untraced_children_are_suspended_and_cancelled(lab: Lab, fifo: Fifo) -> None:
    """They have no tag, no descriptor and no session of the job's, and their parents are no workers."""
    (lab.folder / "busy.sh").write_text(f"echo $$ > {fifo}; {BUSY}")
    hidden = f"setsid env -i PATH=$PATH sh -c 'sh {lab.folder}/busy.sh & wait' >/dev/null 2>&1 77>&-"
    id = lab.queue.enqueue(f'setsid sh -c "{hidden}; :" & {hidden} & wait', timeout=None)
    lab.start()
    pids = started(fifo, 2)

    lab.queue.suspend(id)
    lab.until(lambda: stopped(pids))
    before = [cpu(pid) for pid in pids]
    time.sleep(0.3)
    assert [cpu(pid) for pid in pids] == before
    lab.queue.continue_(id)
    lab.until(lambda: all(map(processes.runs, pids)))
    lab.queue.cancel(id)

    lab.until(lambda: lab.queue.job(id).state == "cancelled")
    assert all(map(gone, pids))


def test_worker_rests_once_all_is_suspended(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"echo $$ > {fifo}; {BUSY}", timeout=None)
    lab.start()
    pid = int(fifo.line())
    [worker] = lab.up()
    lab.queue.suspend(id)
    lab.until(lambda: stopped([pid]))

    time.sleep(0.3)
    before = cpu(worker.pid)
    time.sleep(2)
    assert cpu(worker.pid) - before <= 2


def test_clock_of_the_timeout_stands_still(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"echo $$ > {fifo}; {BUSY}", timeout=1.0, max_retries=0)
    lab.start()
    pid = int(fifo.line())
    lab.queue.suspend(id)
    lab.until(lambda: stopped([pid]))

    time.sleep(1.5)
    assert lab.queue.job(id).state == "processing"
    lab.queue.continue_(id)

    lab.until(lambda: lab.queue.job(id).state == "dead")
    job, [attempt] = lab.queue.job(id), lab.queue.attempts(id)
    assert (job.cause, job.suspended_at) == ("timeout", None)
    assert attempt.run_seconds is not None
    assert attempt.run_seconds >= 2.4


def test_pause_suspends_and_resume_continues(lab: Lab, fifo: Fifo) -> None:
    command = f"echo $$ > {fifo}; {BUSY}"
    ids = [lab.queue.enqueue(command, queue=queue, timeout=None) for queue in ("a", "a", "b")]
    lab.start(slots=3)
    pids = [int(fifo.line()) for _ in ids]
    lab.queue.suspend(ids[0])

    lab.queue.pause("a", suspend=True)
    lab.until(lambda: [processes.runs(pid) for pid in pids].count(True) == 1)
    assert [lab.queue.job(id).suspended_by_pause for id in ids] == [False, True, False]
    lab.queue.pause(suspend=True)
    lab.until(lambda: stopped(pids))

    lab.queue.resume()  # the queue's own pause still holds
    lab.until(lambda: not stopped(pids))
    assert [lab.queue.job(id).suspended_at is not None for id in ids] == [True, True, False]
    lab.queue.resume("a")  # the first was suspended by itself
    assert [lab.queue.job(id).suspended_at is not None for id in ids] == [True, False, False]
    lab.until(lambda: [processes.runs(pid) for pid in pids].count(True) == 2)
    assert lab.queue.check() == []


def test_pause_that_ends_by_itself_continues(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"echo $$ > {fifo}; {BUSY}", timeout=None)
    lab.start()
    pid = int(fifo.line())
    lab.queue.pause("default", seconds=1.0, suspend=True)
    lab.until(lambda: stopped([pid]))

    lab.until(lambda: processes.runs(pid), 4)  # no heartbeat is due by then
    assert lab.log(id) == ["enqueued", "claimed", "suspended", "continued"]


def test_pause_from_within_spares_its_own_job(lab: Lab, fifo: Fifo) -> None:
    pause = f"{sys.executable} -m queuectl pause --suspend"
    id = lab.queue.enqueue(f"{pause} && echo done > {fifo}", timeout=None)
    lab.start()

    assert fifo.line() == "done"
    lab.until(lambda: lab.queue.job(id).state == "completed")


def test_heartbeat_says_what_is_suspended(lab: Lab, fifo: Fifo) -> None:
    command = f"echo $$ > {fifo}; {BUSY}"
    ids = [lab.queue.enqueue(command, timeout=None) for _ in range(2)]
    lab.worker(slots=2, constants={"chores.heartbeat.INTERVAL": 0.3})
    pids = [int(fifo.line()) for _ in ids]
    lab.queue.suspend(ids[0])
    lab.until(lambda: not all(map(processes.runs, pids)))
    seen = len(lab.records("heartbeat"))

    lab.until(lambda: len(lab.records("heartbeat")) >= seen + 2)
    beat = lab.records("heartbeat")[-1].event
    assert isinstance(beat, Heartbeat)
    assert {each.job: each.suspended for each in beat.attempts} == {ids[0]: True, ids[1]: False}


@pytest.mark.parametrize("stopping", [False, True])
def test_stop_waits_for_suspended_jobs_and_says_so(lab: Lab, fifo: Fifo, stopping: bool) -> None:
    """Also where a job is suspended while its worker waits for it already."""
    id = lab.queue.enqueue(f"echo $$ > {fifo}; {BUSY}", timeout=None)
    parent = lab.start()
    pid = int(fifo.line())
    if stopping:
        parent.send_signal(signal.SIGTERM)
        time.sleep(0.3)
    lab.queue.suspend(id)
    lab.until(lambda: stopped([pid]))

    if not stopping:
        parent.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    assert parent.poll() is None
    assert stopped([pid])
    parent.send_signal(signal.SIGTERM)

    code, said = lab.ended(parent)
    assert code == 0
    assert f"waits for what is suspended ({id}): `queuectl continue {id}` lets it go on" in said
    assert gone(pid)
    assert lab.log(id) == ["enqueued", "claimed", "suspended", "interrupted"]
    assert lab.queue.job(id).suspended_at is None


def test_recovery_ends_what_a_dead_worker_suspended(lab: Lab, fifo: Fifo) -> None:
    id = tree(lab, fifo, lone=False)  # once its worker is gone, what has no trace can't be found
    lab.start()
    pids = started(fifo, 3)
    lab.queue.suspend(id)
    lab.until(lambda: stopped(pids))
    kill_all(lab)

    rescuer.recover(lab.queue)

    assert all(map(gone, pids))
    assert lab.log(id) == ["enqueued", "claimed", "suspended", "failed", "retried"]
    assert lab.queue.job(id).suspended_at is None


def test_suspended_commands_of_the_queue_block_nobody(tmp_path: Path) -> None:
    """A job that goes in and out of the gate all the time is never left stopped inside."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"python -m tests.torture suspension --seed {seed}")  # shown with a failure
    figures = suspension.suspension(seed, full=False, folder=tmp_path)
    assert figures["rounds"] == 5


def test_worker_inside_a_suspended_job_goes_on(lab: Lab, fifo: Fifo) -> None:
    run = f"{sys.executable} -m queuectl run 'echo $$ > {fifo}; {BUSY}'"
    outer = lab.queue.enqueue(f"echo $$ > {fifo}; {run}", timeout=None)
    lab.start()
    pid, inner = int(fifo.line()), int(fifo.line())

    lab.queue.suspend(outer)
    lab.until(lambda: stopped([pid]))
    time.sleep(0.3)
    workers = [worker.pid for worker in lab.queue.workers()]
    assert len(workers) == 2
    assert all(map(processes.runs, [*workers, inner]))


def test_what_was_stopped_before_stays_stopped(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"sh -c 'echo $$ > {fifo}; {BUSY}' & echo $$ > {fifo}; {BUSY}", timeout=None)
    lab.start()
    child, main = sorted((int(fifo.line()) for _ in range(2)), key=lambda pid: pid == os.getsid(pid))
    os.kill(child, signal.SIGSTOP)
    lab.until(lambda: stopped([child]))
    lab.queue.suspend(id)
    lab.until(lambda: stopped([child, main]))

    lab.queue.continue_(id)
    lab.until(lambda: processes.runs(main))
    assert stopped([child])


def test_a_spawn_under_way_is_suspended(lab: Lab, fifo: Fifo) -> None:
    """Its parent sleeps uninterruptibly until the stopped child executes its program: it gets no CPU either."""
    os.mkfifo(lab.folder / "held")
    (lab.folder / "spawn.py").write_text(f"""
import os
say = open({str(fifo)!r}, "w", buffering=1)
print(os.getpid(), file=say)
held = (os.POSIX_SPAWN_OPEN, 5, {str(lab.folder / "held")!r}, os.O_RDONLY, 0)
os.posix_spawn("/bin/true", ["true"], {{}}, file_actions=[held])
print("on", file=say)
""")
    id = lab.queue.enqueue(f"exec {sys.executable} {lab.folder}/spawn.py", timeout=None)
    lab.start()
    pid = int(fifo.line())
    lab.until(lambda: processes.state(pid) == "D")
    lab.queue.suspend(id)

    lab.until(lambda: stopped([pid, *procfs.descendants(pid)]))
    lab.queue.continue_(id)
    lab.until(lambda: processes.runs(pid))
    with open(lab.folder / "held", "w"):
        assert fifo.line() == "on"
    lab.until(lambda: lab.queue.job(id).state == "completed")

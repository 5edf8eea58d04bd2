"""Workers that live but say nothing: who judges them, and when nobody may be judged."""

import os
import signal
import subprocess
from pathlib import Path

import msgspec
import pytest

from queuectl import clock
from queuectl.engines.view import Write
from queuectl.errors import Unusable
from queuectl.events import Heartbeat, HeldAttempt, WorkerStopped, encode
from queuectl.host import processes, procfs
from queuectl.workers import monitor
from queuectl.workers.chores.recovery_watch import RecoveryWatch
from queuectl.workers.recovery import hang_detector
from queuectl.workers.recovery.hang_detector import HUNG_AFTER, INTERVAL, LATE, HangDetector
from queuectl.workers.start_options import WorkerOptions
from queuectl.workers.turn import Release, TurnWriter
from tests.support.lab import Lab

HUNG = """
import json, sys
from queuectl.workers.recovery import hang_detector
from queuectl.workers import monitor
from queuectl.workers.recovery.hang_detector import HangDetector
hang_detector.INTERVAL, hang_detector.HUNG_AFTER, hang_detector.LATE = 0.3, 1.0, 5.0
from queuectl import Queue
print([job.job for job in monitor.recover_hung(Queue(sys.argv[1])).jobs])
"""
NERVOUS = """
import sys
from queuectl import Queue
from queuectl.workers import __main__
from queuectl.workers.recovery import hang_detector
from queuectl.workers import monitor
from queuectl.workers.chores import heartbeat
hang_detector.INTERVAL, hang_detector.HUNG_AFTER, hang_detector.LATE, heartbeat.INTERVAL = 0.3, 1.5, 0.3, 0.3
if sys.argv[1].startswith("{"):
    sys.exit(__main__.main(sys.argv[1:]))
for _ in monitor.monitor(Queue(sys.argv[1])):
    pass
"""
STRANGER = """
import apsw, sys, time
db = apsw.Connection(sys.argv[1])
db.execute("begin immediate")
print(flush=True)
time.sleep(float(sys.argv[2]))
"""


def silent(lab: Lab, id: str = "mute") -> TurnWriter:
    """A worker that holds a job and never says another word."""
    worker = TurnWriter(lab.queue, id, (), "cafe")
    worker.start(1)
    assert worker.turn([], [], 1).claims
    return worker


@pytest.fixture
def observer(lab: Lab) -> TurnWriter:
    me = TurnWriter(lab.queue, "observer", (), "cafe")
    me.start(0)
    return me


def busy(lab: Lab, seconds: float) -> subprocess.Popen[str]:
    """Let a stranger keep everybody from writing, from now on."""
    stranger = lab.python(STRANGER, lab.database, str(seconds))
    assert stranger.stdout is not None
    stranger.stdout.readline()
    return stranger


def judged(detector: HangDetector, at: float) -> list[str]:
    return [worker.id for worker in detector.tick(at)]


def test_silent_worker_with_a_job_is_hung(lab: Lab, observer: TurnWriter) -> None:
    lab.queue.enqueue("true")
    silent(lab)
    detector, now = HangDetector(lab.queue, observer), clock.monotonic()
    looks = [judged(detector, now + step * INTERVAL) for step in range(5)]
    assert looks == [[], [], [], ["mute"], ["mute"]]
    beats = [event for event in lab.queue.events(type="heartbeat") if event.stream == "worker:observer"]
    assert len(beats) == 4, "the observer shows that it could write, at every look while somebody is silent"


def test_one_word_is_enough(lab: Lab, observer: TurnWriter) -> None:
    lab.queue.enqueue("true")
    worker = silent(lab)
    detector, now = HangDetector(lab.queue, observer), clock.monotonic()
    for step in range(3):
        assert judged(detector, now + step * INTERVAL) == []
    worker.write_heartbeat(1.0)
    for step in range(3, 6):
        assert judged(detector, now + step * INTERVAL) == []


def test_worker_that_reports_without_heartbeats_is_alive(lab: Lab, observer: TurnWriter) -> None:
    lab.queue.enqueue_many(["true"] * 9)
    worker = TurnWriter(lab.queue, "busy", (), "cafe")
    worker.start(1)
    held = worker.turn([], [], 1).claims[0].lease
    detector, now = HangDetector(lab.queue, observer), clock.monotonic()
    for step in range(7):
        assert judged(detector, now + step * INTERVAL) == []
        held = worker.turn([], [Release(held, "to and fro")], 1).claims[0].lease


def test_a_worker_that_holds_nothing_is_never_hung(lab: Lab, observer: TurnWriter) -> None:
    TurnWriter(lab.queue, "idle", (), "cafe").start(1)
    detector, now = HangDetector(lab.queue, observer), clock.monotonic()
    assert [judged(detector, now + step * INTERVAL) for step in range(6)] == [[]] * 6


def test_job_of_stopped_worker_is_judged_too(lab: Lab, observer: TurnWriter) -> None:
    lab.queue.enqueue("true")
    silent(lab)
    with lab.queue.engine.transaction() as tx:
        tx.append([Write("worker:mute", tx.worker("mute"), [WorkerStopped()])], "test")
    detector, now = HangDetector(lab.queue, observer), clock.monotonic()
    assert [judged(detector, now + step * INTERVAL) for step in range(4)] == [[], [], [], ["mute"]]


def test_when_nobody_can_write_nobody_is_hung(lab: Lab, observer: TurnWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.queue.enqueue("true")
    silent(lab)
    detector, now = HangDetector(lab.queue, observer), clock.monotonic()

    def full(self: TurnWriter, patience: float) -> None:
        raise Unusable("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(TurnWriter, "write_heartbeat", full)
        looks = [judged(detector, now + step * INTERVAL) for step in range(12)]
    assert looks == [[]] * 12, "a minute without a word"
    after = [judged(detector, now + (12 + step) * INTERVAL) for step in range(4)]
    assert after == [[], [], [], ["mute"]], "and the silence counts from when the observer could write again"


def test_observer_with_late_heartbeat_starts_over(
    lab: Lab, observer: TurnWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hang_detector, "LATE", 0.2)
    lab.queue.enqueue("true")
    silent(lab)
    detector, now = HangDetector(lab.queue, observer), clock.monotonic()
    for step in range(3):
        assert judged(detector, now + step * INTERVAL) == []
    busy(lab, 0.6)
    assert judged(detector, now + 3 * INTERVAL) == []
    assert len(lab.records("heartbeat")) == 3, "it was written all the same"


def test_nobody_dies_because_everybody_waits_to_write(lab: Lab) -> None:
    ids = [lab.queue.enqueue("sleep 60", timeout=None) for _ in range(2)]
    workers = [lab.python(NERVOUS, encode(WorkerOptions(lab.database, id)).decode()) for id in ("one", "two")]
    process = lab.python(NERVOUS, lab.database)
    lab.up(3)
    for id in ids:
        lab.processing(id)

    stranger = busy(lab, 2.5)
    before = lab.queue.status().seq
    stranger.wait(20)

    def heard() -> set[str]:
        return {event.stream for event in lab.records("heartbeat") if event.seq > before}

    lab.until(lambda: heard() >= {"worker:one", "worker:two"})
    assert [each.poll() for each in (*workers, process)] == [None] * 3
    assert not lab.records("worker_lost")
    assert [lab.queue.job(id).attempt for id in ids] == [1, 1]


def test_observer_that_was_paused_starts_over(lab: Lab, observer: TurnWriter) -> None:
    lab.queue.enqueue("true")
    silent(lab)
    detector, now = HangDetector(lab.queue, observer), clock.monotonic()
    judged(detector, now)
    assert judged(detector, now + HUNG_AFTER + INTERVAL + LATE + 1) == []


def test_age_of_a_heartbeat_does_not_matter(lab: Lab, observer: TurnWriter) -> None:
    """An old stamp says nothing: the wall clock may have jumped, or nobody could write."""
    lab.queue.enqueue("true")
    silent(lab)
    with lab.queue.engine.transaction() as tx:
        assert tx.at > 0
    assert judged(HangDetector(lab.queue, observer), clock.monotonic()) == []


def test_unseen_hung_worker_is_recovered(lab: Lab, observer: TurnWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of another container whose lock file was removed: only its heartbeats could tell."""
    id = lab.queue.enqueue("true")
    with monkeypatch.context() as patch:
        patch.setattr(procfs, "pid_namespace", lambda: "pid:[1]")
        silent(lab)
    looking, now = RecoveryWatch(lab.queue, observer), clock.monotonic()
    for second in range(15):
        looking.look(now + second)
    assert lab.queue.job(id).state == "processing"
    for second in range(15, 30):
        looking.look(now + second)
    assert lab.queue.job(id).cause == "lost"
    assert "has said nothing for 15 s" in (lab.queue.job(id).error or "")


@pytest.mark.parametrize("theirs", [{}, {"pid_namespace": "pid:[1]"}, {"boot_id": "another"}, {"pid": "a stranger's"}])
def test_only_the_process_of_the_worker_is_killed(lab: Lab, theirs: dict[str, str]) -> None:
    """The pid in the log may be another container's, or have been given to somebody else since."""
    lab.queue.enqueue("true")
    worker = silent(lab)
    holding, stranger = (
        lab.python(
            "import sys, time; from queuectl.workers.recovery.rescuer import worker_lock;"
            "held = worker_lock.take(sys.argv[1], sys.argv[2]); print('up', flush=True); time.sleep(60)",
            lab.queue.home.workers,
            name,
        )
        for name in (worker.worker, "stranger")
    )
    for process in (holding, stranger):
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
    pid = stranger.pid if "pid" in theirs else holding.pid
    live = next(each for each in lab.queue.workers() if each.id == worker.worker)
    started = (processes.start_time(pid) or 0) - ("pid" in theirs)
    live = msgspec.structs.replace(live, **{**theirs, "pid": pid, "start_ticks": started})
    assert hang_detector.kill(lab.queue, live) == (not theirs)
    if not theirs:
        assert holding.wait(10) == -signal.SIGKILL
    assert (holding.poll() is None) == bool(theirs)
    assert stranger.poll() is None


def test_paused_worker_is_killed_and_its_job_recovered(lab: Lab, tmp_path: Path) -> None:
    id = lab.queue.enqueue("echo up >> said; sleep 60", cwd=str(tmp_path), backoff_base=1)
    alone = lab.worker()
    lab.until(lambda: (tmp_path / "said").exists())
    os.kill(alone.pid, signal.SIGSTOP)

    code, said = lab.ended(lab.python(HUNG, lab.database), 30)

    assert (code, said) == (0, f"['{id}']\n")
    assert alone.wait(10) == -signal.SIGKILL
    assert lab.queue.job(id).state == "failed"
    assert lab.queue.job(id).cause == "lost"
    assert not lab.ours(), "what it ran is gone as well"


def test_monitor_is_not_counted_as_a_worker(lab: Lab) -> None:
    with monitor.observer(lab.queue) as me:
        assert [(worker.id, worker.slots) for worker in lab.queue.workers()] == [(me.worker, 0)]
        assert lab.queue.status().workers == 0
        assert lab.queue.stop_workers() == []
    assert lab.queue.workers() == []


def test_what_heartbeats_say(lab: Lab, observer: TurnWriter) -> None:
    observer.write_heartbeat(1.0)
    last = list(lab.queue.events(type="heartbeat"))[-1]
    assert last.event == Heartbeat(attempts=list[HeldAttempt]())

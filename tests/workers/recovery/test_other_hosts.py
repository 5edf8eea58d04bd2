"""Workers of other hosts: they are judged by their leases alone, and taken over then (R48)."""

from collections.abc import Iterator

import pytest

from projections.workers import Worker
from queuectl import clock, decisions
from queuectl.decisions import Outcome, Report
from queuectl.errors import NotFound, Refused, Unusable
from queuectl.events import WorkerLost
from queuectl.liveness import Life, liveness
from queuectl.workers import monitor
from queuectl.workers.chores.heartbeat import heartbeat_of
from queuectl.workers.chores.recovery_watch import RecoveryWatch
from queuectl.workers.recovery import gone_host, hang_detector, rescuer
from queuectl.workers.recovery.hang_detector import INTERVAL, HangDetector
from queuectl.workers.turn import TurnWriter
from tests.support.lab import Lab
from tests.support.other_host import many_hosts, on_host, worker_on

TICKS = 15
"""After so many looks 71.2 s have passed: 1.02 times a minute, and 10 s."""


@pytest.fixture(autouse=True)
def _shared() -> Iterator[None]:
    with many_hosts():
        yield


@pytest.fixture
def observer(lab: Lab) -> TurnWriter:
    me = TurnWriter(lab.queue, "observer", (), lab.queue.home.identity())
    me.start(0)
    return me


def looks(detector: HangDetector, since: float, steps: range) -> list[list[str]]:
    return [[worker.id for worker in detector.tick(since + step * INTERVAL)] for step in steps]


def worker(lab: Lab, id: str) -> Worker:
    return next(each for each in lab.queue.workers() if each.id == id)


def test_a_worker_of_another_home_is_unknown(lab: Lab) -> None:
    TurnWriter(lab.queue, "container", (), "cafe").start(1)  # of the same machine and boot, with a pid that lives
    TurnWriter(lab.queue, "here", (), lab.queue.home.identity()).start(1)
    lives = [liveness(worker(lab, id), lab.queue.engine) for id in ("container", "here")]
    assert lives == [Life.UNKNOWN, Life.LIVES]


def test_silence_counts_until_lease_and_margin_passed(lab: Lab, observer: TurnWriter) -> None:
    lab.queue.enqueue("true")
    worker_on(lab.queue, "b", "far")
    detector, now = HangDetector(lab.queue, observer), clock.monotonic()
    assert looks(detector, now, range(TICKS)) == [[]] * TICKS
    assert looks(detector, now, range(TICKS, TICKS + 1)) == [["far"]]


def test_a_worker_is_judged_by_its_own_lease(lab: Lab, observer: TurnWriter) -> None:
    lab.queue.enqueue("true")
    lab.queue.set_config("lease", "2m")
    worker_on(lab.queue, "b", "far")
    lab.queue.set_config("lease", "30s")
    detector, now = HangDetector(lab.queue, observer), clock.monotonic()
    assert looks(detector, now, range(27)) == [[]] * 27
    assert looks(detector, now, range(27, 28)) == [["far"]], "1.02 times two minutes, and 10 s"


def test_any_sign_of_life_starts_the_wait_anew(lab: Lab, observer: TurnWriter) -> None:
    lab.queue.enqueue("true")
    far = worker_on(lab.queue, "b", "far")
    detector, now = HangDetector(lab.queue, observer), clock.monotonic()
    looks(detector, now, range(TICKS))
    far.turn([], [], 0, heartbeat=heartbeat_of(()))
    assert looks(detector, now, range(TICKS, 2 * TICKS)) == [[]] * TICKS


def test_observers_that_could_not_write_judge_nobody(
    lab: Lab, observer: TurnWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.queue.enqueue("true")
    worker_on(lab.queue, "b", "far")
    detector, now = HangDetector(lab.queue, observer), clock.monotonic()
    looks(detector, now, range(TICKS - 1))

    def unreachable(self: TurnWriter, patience: float) -> None:
        raise Unusable("the database can't be reached")

    with monkeypatch.context() as patch:
        patch.setattr(TurnWriter, "write_heartbeat", unreachable)
        looks(detector, now, range(TICKS - 1, TICKS))
    assert looks(detector, now, range(TICKS, 2 * TICKS)) == [[]] * TICKS


def test_an_idle_worker_is_lost_too(lab: Lab, observer: TurnWriter) -> None:
    worker_on(lab.queue, "b", "far", claims=0)
    detector, now = HangDetector(lab.queue, observer), clock.monotonic()
    before = len(lab.records("heartbeat"))
    assert looks(detector, now, range(7)) == [[]] * 7
    assert len(lab.records("heartbeat")) == before, "half a lease of silence costs nobody a heartbeat"
    assert looks(detector, now, range(7, TICKS + 1)) == [*[[]] * (TICKS - 7), ["far"]]


def test_monitors_of_other_hosts_are_not_awaited(lab: Lab, observer: TurnWriter) -> None:
    with on_host("b"):
        TurnWriter(lab.queue, "monitor", (), "cafe").start(0)
    assert looks(HangDetector(lab.queue, observer), clock.monotonic(), range(30)) == [[]] * 30


def test_what_a_lost_host_ran_is_taken_over(lab: Lab, observer: TurnWriter) -> None:
    id = lab.queue.enqueue("true", on_lost="dead")
    worker_on(lab.queue, "b", "far")
    watch, now = RecoveryWatch(lab.queue, observer), clock.monotonic()
    for second in range(85):
        watch.look(now + second)
    assert lab.queue.job(id).state == "dead"
    error = lab.queue.job(id).error
    assert error == "its worker was not heard for 1m11s, longer than its lease; it ran on host b"
    [lost] = lab.records("worker_lost")
    assert lost.stream == "worker:far"


def test_two_observers_take_over_once(lab: Lab, observer: TurnWriter) -> None:
    id = lab.queue.enqueue("true")
    worker_on(lab.queue, "b", "far")
    for actor in ("one", "two"):
        rescuer.recover_each(lab.queue, {"far": "was silent"}, actor)
    assert [record.type for record in lab.queue.events(job=id)] == ["enqueued", "claimed", "failed", "retried"]
    assert len(lab.records("worker_lost")) == 1


def test_a_late_report_is_fenced(lab: Lab) -> None:
    id = lab.queue.enqueue("true")
    far = worker_on(lab.queue, "b", "far")
    lease = decisions.lease(lab.queue.job(id))
    rescuer.recover_each(lab.queue, {"far": "was silent"}, "test")
    turn = far.turn([Report(lease, Outcome(exit_code=0))], [], 0, look=True, heartbeat=heartbeat_of(()))
    assert (turn.fenced, turn.lost, turn.jobs, turn.confirmed) == ([lease], True, {}, None)
    assert lab.queue.job(id).state == "failed"


def test_recover_hung_listens_as_long_as_a_lease(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    id = lab.queue.enqueue("true")
    worker_on(lab.queue, "b", "far")
    monkeypatch.setattr(hang_detector, "INTERVAL", 0.2)
    monkeypatch.setattr(hang_detector, "HUNG_AFTER", 0.6)
    monkeypatch.setattr("queuectl.host_lease.DRIFT", 0.02)
    monkeypatch.setattr("queuectl.host_lease.MARGIN", 1.0)  # 2.2 s in all
    assert [found.job for found in monitor.recover_hung(lab.queue).jobs] == [id]


# -- a host that an operator knows to be gone ------------------------------------------------------------------------


def test_a_gone_host_is_taken_over_at_once(lab: Lab) -> None:
    ids = [lab.queue.enqueue("true") for _ in range(2)]
    worker_on(lab.queue, "b", "far")
    worker_on(lab.queue, "b", "idle", claims=0)
    worker_on(lab.queue, "c", "other")
    host = gone_host.find(lab.queue, "b")
    assert ([each.id for each in host.workers], host.jobs) == (["far", "idle"], 1)
    report = gone_host.take_over(lab.queue, host, "its power supply burnt")
    assert [job.job for job in report.jobs] == [ids[0]]
    assert lab.queue.job(ids[0]).error == (
        "its worker ended with its host, which is gone (its power supply burnt); it ran on host b"
    )
    lost = lab.records("worker_lost")
    assert [record.stream for record in lost] == ["worker:far", "worker:idle"]
    assert {record.actor for record in lost} == {lab.queue.actor}
    assert all(isinstance(record.event, WorkerLost) and "power" in (record.event.reason or "") for record in lost)
    assert lab.queue.job(ids[1]).state == "processing"


def test_this_host_is_not_gone(lab: Lab) -> None:
    with pytest.raises(Refused, match="is this host: its dead workers are known without that"):
        gone_host.find(lab.queue, monitor.os.uname().nodename)
    with on_host("b"):
        TurnWriter(lab.queue, "here", (), lab.queue.home.identity()).start(1)
    with pytest.raises(Refused, match=r"^b is this host"):
        gone_host.find(lab.queue, "b")


def test_an_unknown_host_names_the_known(lab: Lab) -> None:
    with pytest.raises(NotFound, match=r"^no worker is up on a host 'x'; nor on any other$"):
        gone_host.find(lab.queue, "x")
    for name in ("c", "b"):
        worker_on(lab.queue, name, name, claims=0)
    with pytest.raises(NotFound, match=r"^no worker is up on a host 'x'; there are some on b, c$"):
        gone_host.find(lab.queue, "x")

"""The heartbeat asks for a turn each interval, while anything is held."""

from queuectl.clock import monotonic
from queuectl.workers.chores.chore import NEVER
from queuectl.workers.chores.heartbeat import INTERVAL, HeartbeatChore


def test_a_worker_that_holds_nothing_writes_none() -> None:
    assert HeartbeatChore(lambda: False).due == NEVER


def test_it_is_due_an_interval_after_the_last() -> None:
    heartbeat, now = HeartbeatChore(lambda: True), monotonic()
    assert abs(heartbeat.due - (now + INTERVAL)) < 1
    heartbeat.run(now + INTERVAL)
    assert heartbeat.is_due
    heartbeat.restart(now + 7, written=True)
    assert not heartbeat.is_due
    assert heartbeat.due == now + 7 + INTERVAL


def test_turn_is_requested_only_once() -> None:
    heartbeat = HeartbeatChore(lambda: True)
    heartbeat.run(monotonic())
    assert heartbeat.due == NEVER, "else the loop would spin where turns are put off"


def test_idle_workers_with_a_lease_write_some() -> None:
    held: list[str] = []
    heartbeat = HeartbeatChore(lambda: bool(held))
    heartbeat.begin(60.0, 1000.0)
    assert heartbeat.due == 1020.0
    heartbeat.restart(1010.0, written=False)
    assert heartbeat.due == 1020.0, "a turn without one, as idle workers take them"
    heartbeat.run(1020.0)
    assert heartbeat.is_wanted(1020.0)
    heartbeat.restart(1020.0, written=True)
    assert heartbeat.due == 1040.0
    held.append("a job")
    assert heartbeat.due == 1020.0 + INTERVAL

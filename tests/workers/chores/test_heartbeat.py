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
    heartbeat.restart(now + 7)
    assert not heartbeat.is_due
    assert heartbeat.due == now + 7 + INTERVAL


def test_turn_is_requested_only_once() -> None:
    heartbeat = HeartbeatChore(lambda: True)
    heartbeat.run(monotonic())
    assert heartbeat.due == NEVER, "else the loop would spin where turns are put off"

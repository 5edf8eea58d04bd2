"""The chore that fires schedules: when it looks, and what it does where it can't."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from queuectl import Queue
from queuectl.clock import monotonic
from queuectl.errors import Invalid
from queuectl.events import StopRequested
from queuectl.workers.chores.chore import NEVER
from queuectl.workers.chores.schedules import ScheduleChore
from tests.support.chore_host import Host
from tests.support.lab import Lab
from tests.support.one_worker import OneWorker


@pytest.fixture
def clock() -> Iterator[FrozenDateTimeFactory]:
    with freeze_time("2027-01-15T12:00:00Z") as frozen:
        yield frozen  # pyright: ignore[reportReturnType]


@pytest.fixture
def queue(tmp_path: Path, clock: FrozenDateTimeFactory) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db", actor="test") as queue:
        yield queue


def run(chore: ScheduleChore) -> None:
    """Run it as long as it is due, as the loop of a worker does."""
    while chore.due <= (now := monotonic()):
        chore.run(now)


def jobs(queue: Queue) -> list[str]:
    return [record.subject for record in queue.events(type="enqueued")]


def test_nothing_is_done_where_nothing_is_scheduled(queue: Queue) -> None:
    chore = ScheduleChore(Host(), queue, is_private=False)
    run(chore)
    chore.follow(0)
    chore.follow(None)
    assert chore.due == NEVER


def test_it_sleeps_until_the_next_moment(queue: Queue, clock: FrozenDateTimeFactory) -> None:
    queue.schedules.add("s", "true", cron="@hourly", tz="UTC")
    chore = ScheduleChore(Host(), queue, is_private=False)
    run(chore)
    assert 3590 < chore.due - monotonic() < 3601
    clock.tick(3600)
    run(chore)
    assert jobs(queue) == ["s@2027-01-15T13:00:00Z"]
    assert 3590 < chore.due - monotonic() < 3601


def test_it_hears_of_new_schedules(queue: Queue) -> None:
    chore = ScheduleChore(Host(), queue, is_private=False)
    run(chore)
    queue.schedules.add("s", "true", every=60)
    chore.follow(1)
    assert chore.due <= monotonic()
    run(chore)
    chore.follow(1)
    assert 50 < chore.due - monotonic() < 61


def test_a_clock_that_jumps_is_noticed(queue: Queue, clock: FrozenDateTimeFactory) -> None:
    queue.schedules.add("s", "true", cron="@hourly", tz="UTC", overlap="allow")
    chore = ScheduleChore(Host(), queue, is_private=False)
    run(chore)
    clock.move_to("2099-01-01T00:00:00Z")
    run(chore)
    clock.move_to("2027-01-15T12:30:00Z")
    assert chore.due <= monotonic(), "not in 72 years"
    run(chore)
    assert 1790 < chore.due - monotonic() < 1801


def test_a_private_worker_fires_nothing(queue: Queue, clock: FrozenDateTimeFactory) -> None:
    queue.schedules.add("s", "true", every=60)
    chore = ScheduleChore(Host(), queue, is_private=True)
    chore.follow(1)
    clock.tick(3600)
    assert chore.due == NEVER


def test_a_worker_that_stops_fires_nothing(lab: Lab) -> None:
    lab.queue.enqueue("sleep 3", id="long")
    lab.start(count=1)
    lab.until(lambda: lab.queue.job("long").state == "processing")
    [worker] = lab.queue.workers()
    with lab.queue.engine.transaction() as tx:
        tx.append_to(f"worker:{worker.id}", tx.worker(worker.id), [StopRequested()], "test")
    lab.queue.schedules.add("s", "true", every=1)
    lab.until(lambda: not lab.queue.workers())
    assert lab.queue.job("long").state == "completed"
    assert list(lab.queue.events(type="schedule_fired")) == []


def test_several_due_ones_go_into_one_transaction(queue: Queue, clock: FrozenDateTimeFactory) -> None:
    for name in ("a", "b", "c"):
        queue.schedules.add(name, "true", cron="@hourly", tz="UTC")
    chore = ScheduleChore(Host(), queue, is_private=False)
    clock.tick(3600)
    run(chore)
    assert len({record.at for record in queue.events(type="schedule_fired")}) == 1
    assert len(jobs(queue)) == 3


def test_an_unknown_zone_holds_up_no_other(
    queue: Queue, clock: FrozenDateTimeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue.schedules.add("lost", "true", cron="@hourly", tz="Europe/Berlin")
    queue.schedules.add("s", "true", cron="@hourly", tz="UTC")

    def lost(expression: str, zone: str) -> object:
        if zone == "UTC":
            from queuectl.recurrence import Cron

            return Cron(expression, zone)
        raise Invalid(f"time zone {zone!r}: there is none")

    monkeypatch.setattr("queuectl.recurrence.cron", lost)
    host = Host()
    chore = ScheduleChore(host, queue, is_private=False)
    clock.tick(3600)
    run(chore)
    assert jobs(queue) == ["s@2027-01-15T13:00:00Z"]
    assert host.warnings[0] == "schedule lost: time zone 'Europe/Berlin': there is none"
    assert 50 < chore.due - monotonic() < 61, "and it is looked at again"


def test_a_real_worker_runs_what_it_fires(lab: Lab) -> None:
    lab.queue.schedules.add("s", 'test "$QUEUECTL_SCHEDULED_FOR" = "${QUEUECTL_JOB_ID#s@}"', every=1)
    lab.start(count=2)
    lab.until(lambda: lab.queue.status().counts["completed"] >= 2)
    assert [job.id for job in lab.queue.jobs(state="dead")] == []
    workers = {record.actor for record in lab.queue.events(type="schedule_fired")}
    assert all(actor.startswith("worker:") for actor in workers)


def test_a_worker_hears_of_a_schedule_at_once(lab: Lab) -> None:
    lab.queue.enqueue("true")
    lab.start(count=1)
    lab.until(lambda: lab.queue.status().counts["completed"] == 1)
    time.sleep(0.3)  # it has nothing to do but to sleep
    lab.queue.schedules.add("s", "true", every=1)
    lab.until(lambda: lab.queue.status().counts["completed"] >= 2, 5)


def test_a_turn_tells_of_own_schedules(tmp_path: Path) -> None:
    one = OneWorker(tmp_path)
    assert one.writer.turn([], [], 0, look=True).schedule_events == 0
    one.queue.schedules.add("s", "true", every=60)
    assert one.writer.turn([], [], 0, look=True).schedule_events == 1
    assert one.writer.turn([], [], 0).schedule_events is None

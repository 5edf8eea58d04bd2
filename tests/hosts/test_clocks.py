"""A host whose clock is hours off: what is due, and what is said of it, goes by the clock of the database (P6)."""

import time
from collections.abc import Iterator

import pytest

from queuectl import Queue
from queuectl.clock import monotonic
from queuectl.workers.chores.schedules import ScheduleChore
from queuectl.workers.turn import TurnWriter
from tests.support.chore_host import Host
from tests.support.schedule_judge import faults

HOURS = 3 * 3600


@pytest.fixture(params=[HOURS, -HOURS], ids=["ahead", "behind"])
def queue(postgres_url: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Queue]:
    """A queue on a host with such a clock."""
    real = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: real() + request.param * 1_000_000_000)
    with Queue(postgres_url) as queue:
        yield queue


def test_schedules_fire_when_they_should(queue: Queue) -> None:
    queue.schedules.add("often", "true", every=1, overlap="allow")
    chore = ScheduleChore(Host(), queue, is_private=False)
    began = monotonic()
    looks = 0
    while len(list(queue.events(type="schedule_fired"))) < 2:
        assert monotonic() < began + 20
        if chore.due <= monotonic():
            chore.run(monotonic())
            looks += 1
    assert looks < 20, "it sleeps from one moment to the next"
    assert faults(queue, "often", queue.status().at) == []


def test_reasons_go_by_the_databases_clock(queue: Queue) -> None:
    now, later = queue.enqueue("true"), queue.enqueue("true", delay=3600)
    TurnWriter(queue, "w", (), queue.home.identity()).start(2)
    assert [reason.kind for reason in queue.reasons(now)] == []
    assert [reason.kind for reason in queue.reasons(later)] == ["delayed"]
    assert [job.id for job in queue.jobs(where="since:1h")] == [now, later]

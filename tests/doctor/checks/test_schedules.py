"""What doctor says of schedules: that nothing fires them, that their zone is not known, that a death has paused one."""

from pathlib import Path

import pytest
from freezegun import freeze_time

from queuectl import Queue, Spec, doctor
from queuectl.clock import SECOND, now
from queuectl.doctor import Finding, InspectedQueue
from queuectl.errors import Invalid
from queuectl.workers.turn import TurnWriter
from tests.support.lab import Lab
from tests.support.one_worker import FAILED, OneWorker
from tests.support.schedule_judge import fire


def look(path: str | Path) -> list[Finding]:
    with InspectedQueue(str(path)) as queue:
        return next(check.findings for check in doctor.examine(queue) if check.name == "schedules")


def test_without_a_worker_nothing_fires(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        assert [finding.what for finding in look(queue.url)] == ["nothing is scheduled"]
        queue.schedules.add("a", "true", cron="@daily", tz="UTC")
        queue.schedules.add("b", "true", cron="@daily", tz="UTC")
        TurnWriter(queue, "w1", (), queue.home.identity(), only=["1"]).start(1)  # private
        [finding] = look(queue.url)
    assert (finding.severity, finding.what) == ("warning", "no worker is up: 2 schedules fire nothing: a, b")


def test_last_moments_that_came_unseen_are_told(tmp_path: Path) -> None:
    with freeze_time("2027-01-15T12:00:00Z") as clock, Queue(tmp_path / "q.db") as queue:
        queue.schedules.add("a", "true", every=60, until=now() + 60 * SECOND)
        clock.tick(600)
        [finding] = look(queue.url)
        assert (finding.severity, finding.what) == ("warning", "no worker is up: 1 schedule fires nothing: a")
        fire(queue, "a")
        assert [finding.severity for finding in look(queue.url)] == ["ok"]


def test_with_a_worker_all_is_well(lab: Lab) -> None:
    lab.queue.schedules.add("a", "true", cron="@daily", tz="UTC")
    lab.start(count=1)
    lab.until(lambda: bool(lab.queue.workers()))
    [finding] = look(lab.database)
    assert finding.severity == "ok"
    assert finding.what.startswith("1 schedule, the next moment is that of a: ")


def test_an_unknown_zone_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Queue(tmp_path / "q.db") as queue:
        queue.schedules.add("a", "true", cron="@daily", tz="UTC")

    def lost(expression: str, zone: str) -> None:
        raise Invalid(f"time zone {zone!r}: there is none")

    monkeypatch.setattr("queuectl.recurrence.cron", lost)
    [finding] = look(tmp_path / "q.db")
    assert finding.severity == "problem"
    assert finding.what == "schedule a fires nothing here: time zone 'UTC': there is none"


def test_a_pause_by_a_death_is_named(tmp_path: Path) -> None:
    one = OneWorker(tmp_path)
    one.queue.schedules.add("a", Spec(command="false", max_retries=0), every=900, pause_on_failure=True)
    one.queue.schedules.run("a")
    one.end(*one.claim(), outcome=FAILED)
    [finding] = look(one.queue.url)
    assert (finding.severity, finding.what) == ("warning", "schedule a is paused since job 1 died")

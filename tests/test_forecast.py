"""When what runs should be done: by its progress, else by past runs of the same command."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from projections.jobs import Job
from queuectl import Queue
from queuectl import forecast as module
from queuectl.cli.ui import wording
from queuectl.clock import SECOND
from queuectl.forecast import Forecast, forecast
from queuectl.progress import JobProgress
from tests.support.engine_actions import claim, report, start_worker

BEGIN = 1_800_000_000 * SECOND


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        start_worker(queue.engine, "w")
        yield queue


@pytest.fixture
def job(queue: Queue) -> Job:
    """One that began at BEGIN."""
    queue.enqueue("train", id="a")
    [(job, _)] = claim(queue.engine, "w")
    return replace(job, claimed_at=BEGIN)


def ran(queue: Queue, seconds: float, command: str = "train", name: str = "default") -> None:
    """A job of the queue of that name that completes after so many seconds."""
    queue.enqueue(command, queue=name)
    [(_, lease)] = claim(queue.engine, "w")
    report(queue.engine, lease, exit_code=0, run_seconds=seconds)


def at(seconds: float) -> int:
    return BEGIN + round(seconds * SECOND)


@pytest.mark.parametrize(
    "percent, reported, now, eta",
    [
        (50.0, 10.0, 10.0, 20.0),
        (50.0, 10.0, 19.0, 20.0),  # between two reports it stays where it is
        (10.0, 6.0, 7.0, 60.0),
        (50.0, 10.0, 21.0, None),  # it should be done by now
        (100.0, 10.0, 10.0, None),
        (0.5, 10.0, 10.0, 30.0),  # too little to tell: it usually takes 30 s
        (50.0, -5.0, 1.0, None),  # the clock was set back
    ],
)
def test_the_mean_speed_tells_the_end(job: Job, percent: float, reported: float, now: float, eta: float | None):
    found = forecast(job, JobProgress(percent, "x", at(reported)), 30.0, at(now))
    assert (found.percent, found.text) == (percent, "x")
    assert found.eta == (at(eta) if eta is not None else None)


def test_past_runs_tell_where_it_says_nothing(job: Job):
    assert forecast(job, None, 30.0, at(10)) == Forecast(eta=at(30), by="past runs")
    assert forecast(job, None, 30.0, at(31)) == Forecast()
    assert forecast(job, None, None, at(1)) == Forecast()


def test_what_is_suspended_has_no_end(job: Job):
    stopped = replace(job, suspended_at=at(3))
    assert forecast(stopped, JobProgress(50.0, None, at(3)), 30.0, at(4)) == Forecast(50.0)


def test_past_runs_are_of_that_command_and_queue(queue: Queue):
    for seconds in (100.0, 300.0, 200.0):
        ran(queue, seconds)
    ran(queue, 1.0, "other")
    ran(queue, 2.0, name="elsewhere")
    queue.enqueue("train", id="a")
    queue.enqueue("new", id="b")
    (job, _), (unknown, _) = claim(queue.engine, "w")
    assert job.claimed_at is not None
    forecasts = queue.forecasts()
    assert forecasts(job) == Forecast(eta=job.claimed_at + 200 * SECOND, by="past runs")
    assert forecasts(unknown) == Forecast()


def test_few_of_the_latest_runs_count(queue: Queue, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "RUNS", 2)
    for seconds in (1000.0, 10.0, 30.0):
        ran(queue, seconds)
    queue.enqueue("train", id="a")
    [(job, _)] = claim(queue.engine, "w")
    assert job.claimed_at is not None
    assert queue.forecasts()(job).eta == job.claimed_at + 20 * SECOND
    monkeypatch.setattr(module, "WINDOW", 1)
    assert queue.forecasts()(job).eta == job.claimed_at + 30 * SECOND


def test_what_waits_or_has_ended_has_none(queue: Queue):
    ran(queue, 100.0)
    [done] = queue.jobs()
    queue.enqueue("train", id="a")
    assert [queue.forecasts()(job) for job in (done, queue.job("a"))] == [Forecast(), Forecast()]


@pytest.mark.parametrize(
    "found, told",
    [
        (Forecast(40.0, "epoch 4", at(125)), "40 % epoch 4, ETA ~2m5s"),
        (Forecast(99.97), "99.9 %"),
        (Forecast(eta=at(0.2)), "ETA ~1s"),
        (Forecast(eta=at(1234)), "ETA ~21m"),
        (Forecast(eta=at(10_000)), "ETA ~2h50m"),
        (Forecast(), ""),
    ],
)
def test_an_estimate_is_told_roughly(found: Forecast, told: str):
    assert wording.progress(found, BEGIN) == told

"""A queue at one moment, as a screen shows it: on both engines."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl import Queue, filters, overview
from queuectl.overview import refreshed
from tests.support.lab import Lab


@pytest.fixture(params=["sqlite", "postgres"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    url = str(tmp_path / "q.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with Queue(url, actor="cli:ann@here") as queue:
        yield queue


def test_each_kind_of_job_has_its_list(lab: Lab):
    q = lab.queue
    q.enqueue("exit 3", id="broken", max_retries=0)
    q.enqueue("true", id="fine")
    lab.drain()
    q.enqueue("echo 40 half > $QUEUECTL_PROGRESS; sleep 600", id="long", timeout=None)
    lab.start()
    lab.until(lambda: overview.overview(q).running and overview.overview(q).running[0].forecast.percent == 40)
    q.enqueue("true", id="child", after=("long",))
    q.enqueue("true", id="held", held=True)
    seen = overview.overview(q)
    assert [each.job.id for each in seen.running] == ["long"]
    assert [job.id for job in seen.waiting] == ["held", "child"]
    assert [job.id for job in seen.ended] == ["broken"], "what completed is not shown, unless a filter names it"
    assert {wait.reason.kind: wait.jobs for wait in seen.waits} == {"held": 1, "dependency": 1}
    assert (seen.held, seen.workers, seen.counts["completed"]) == (1, 1, 1)


def test_a_filter_chooses_the_jobs(queue: Queue):
    queue.enqueue_many(["one", "two", "three"])
    queue.enqueue("four", queue="mail", priority=5)
    queue.cancel("2")
    found = overview.overview(queue, filters.parse("queue:mail"))
    assert [job.id for job in found.waiting] == ["4"]
    assert sum(found.counts.values()) == 4, "the sums are of all jobs"
    assert [job.id for job in overview.overview(queue, filters.parse("three")).waiting] == ["3"]
    cancelled = overview.overview(queue, filters.parse("state:cancelled"))
    assert ([job.id for job in cancelled.ended], cancelled.waiting) == (["2"], [])


def test_what_is_left_out_is_counted(queue: Queue, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(overview, "MOST", 2)
    queue.enqueue_many(["a", "b", "c", "d", "e"])
    for terms, ids, more in (("", ["1", "2"], 3), ("queue:default", ["1", "2"], None), ("e", ["5"], 0)):
        seen = overview.overview(queue, filters.parse(terms))
        assert ([job.id for job in seen.waiting], seen.more["waiting"]) == (ids, more), terms
    monkeypatch.setattr(overview, "LOOKED_AT", 4)
    seen = overview.overview(queue, filters.parse("e"))
    assert (seen.waiting, seen.more["waiting"]) == ([], None), "the fifth job was not looked at"


def test_reasons_of_many_are_those_of_queues(queue: Queue, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(overview, "SUMMED", 3)
    queue.enqueue_many(["a", "b", "c"])
    queue.pause("default", reason="lunch")
    [wait] = overview.overview(queue).waits
    assert (wait.jobs, wait.reason.kind, wait.reason.by) == (3, "paused", "cli:ann@here")
    queue.enqueue("d", queue="mail", held=True)
    [wait] = overview.overview(queue).waits
    assert (wait.jobs, wait.reason.kind) == (3, "paused"), "what is held is no queue's first job"


def test_what_did_not_change_is_not_read_again(queue: Queue):
    queue.enqueue("true")
    seen = overview.overview(queue)
    again = refreshed(queue, seen)
    assert again.waiting is seen.waiting
    queue.hold("1")
    assert refreshed(queue, again).held == 1

"""Every engine: the names that are suggested to a person who types, read by a connection that can't write."""

import pytest

from projections import suggestions
from projections.suggestions import Suggestions
from queuectl import Queue, engines
from queuectl.engines.base import Engine
from queuectl.errors import Absent, Unusable
from tests.support.engine_actions import add, claim, report, start_worker


def names(engine: Engine, question: str, *values: str) -> list[str]:
    with engines.read_only(engine.access) as store:
        return [each.name for each in getattr(Suggestions(store), question)(*values)]


@pytest.fixture
def jobs(engine: Engine) -> Engine:
    """A job of each kind, named for it."""
    add(engine, "done", "broken", "frozen", "runs", max_retries=0)
    leases = {job.id: lease for job, lease in claim(engine, "w1")}
    report(engine, leases["done"])
    report(engine, leases["broken"], "exit", exit_code=1)
    add(engine, "held", held=True)
    add(engine, "waits", queue="mail", tags={"exp": "3", "urgent": ""}, batch="night")
    with Queue(engine.access) as queue:
        queue.suspend("frozen")
    return engine


@pytest.mark.parametrize(
    "group, ids",
    [
        ("any", ["waits", "held", "runs", "frozen", "broken", "done"]),
        ("unended", ["waits", "held", "runs", "frozen"]),
        ("waiting", ["waits"]),
        ("unstarted", ["waits", "held"]),
        ("held", ["held"]),
        ("running", ["runs"]),
        ("suspended", ["frozen"]),
        ("dead", ["broken"]),
        ("ended", ["broken", "done"]),
    ],
)
def test_jobs_of_a_group_come_newest_first(jobs: Engine, group: str, ids: list[str]) -> None:
    assert names(jobs, "jobs", "", group) == ids
    assert {*suggestions.JOB_GROUPS} >= {group}


def test_a_job_is_suggested_with_its_command(jobs: Engine) -> None:
    with engines.read_only(jobs.access) as store:
        assert [each.text for each in Suggestions(store).jobs("brok")] == ["dead  true"]


def test_names_begin_as_they_are_typed(jobs: Engine) -> None:
    start_worker(jobs, "w1")
    assert names(jobs, "queues", "") == ["default", "mail"]
    assert names(jobs, "queues", "m") == ["mail"]
    assert names(jobs, "batches", "ni") == ["night"]
    assert names(jobs, "tags", "") == ["exp=3", "urgent"]
    assert names(jobs, "tags", "e") == ["exp=3"]
    assert names(jobs, "workers", "") == ["w1"]
    assert names(jobs, "hosts", "h") == ["here"]
    with Queue(jobs.access) as queue:
        queue.set_resource("gpu", 2)
        queue.schedules.add("nightly", "true", cron="@daily")
    assert names(jobs, "resources", "") == ["gpu"]
    assert names(jobs, "schedules", "n") == ["nightly"]


def test_an_old_job_is_found_among_many(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggestions, "SCANNED", 5)
    add(engine, "old-1", *(f"new-{number}" for number in range(9)))
    assert names(engine, "jobs", "") == ["new-8", "new-7", "new-6", "new-5", "new-4"]
    assert names(engine, "jobs", "old") == ["old-1"]
    assert names(engine, "jobs", "old", "unended") == ["old-1"]
    assert names(engine, "jobs", "old", "dead") == []


def test_no_more_than_a_screen_is_suggested(engine: Engine) -> None:
    add(engine, *(f"j{number:03}" for number in range(150)))
    found = names(engine, "jobs", "j")
    assert len(found) == suggestions.MOST
    assert found[0] == "j149"


def test_a_pattern_is_a_name_like_others(engine: Engine) -> None:
    add(engine, "a%b", "a_c", "axx", "a'd")
    assert names(engine, "jobs", "a%") == ["a%b"]
    assert names(engine, "jobs", "a_") == ["a_c"]
    assert names(engine, "jobs", "a'") == ["a'd"]


def test_it_can_not_write(engine: Engine) -> None:
    with pytest.raises(Unusable), engines.read_only(engine.access) as store:
        store.execute("delete from jobs returning 1")


def test_a_missing_database_is_not_made(engine: Engine) -> None:
    for url in (f"{engine.access}x", "postgresql://localhost:1/nowhere"):
        with pytest.raises(Unusable), engines.read_only(url):
            pass
    if "://" not in engine.access:
        with pytest.raises(Absent), engines.read_only(f"{engine.access}x"):
            pass

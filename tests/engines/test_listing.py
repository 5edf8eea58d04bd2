"""What every engine promises about lists of jobs, of now and of the past. No SQL, no type of a database, no path."""

from queuectl import decisions
from queuectl.engines.base import Engine, JobFilter, Write
from tests.engines.deeds import ACTOR, add, claim, report


def test_jobs_come_newest_first_in_pages(engine: Engine) -> None:
    for n in range(5):
        add(engine, f"j{n}", queue="even" if n % 2 == 0 else "odd")
    claim(engine, "w", 1)
    with engine.snapshot() as view:
        everything = view.jobs()
        assert [job.id for job in everything] == ["j4", "j3", "j2", "j1", "j0"]
        assert view.jobs(limit=2) == everything[:2]
        assert view.jobs(before=everything[1].seq) == everything[2:]
        assert view.jobs(where=JobFilter(queue="odd"), before=everything[1].seq) == everything[3:4]
        assert view.jobs(where=JobFilter(states=("pending",), queue="even"), limit=1) == everything[:1]


def test_jobs_are_filtered(engine: Engine) -> None:
    for n in range(5):
        add(engine, f"j{n}", queue="even" if n % 2 == 0 else "odd", max_retries=0)
    for (_, lease), cause in zip(claim(engine, "w", 4), (None, "exit", None), strict=False):
        report(engine, lease, cause)  # j0 and j2 completed, j1 died, j3 runs, j4 waits
    with engine.snapshot() as view:
        jobs = {job.id: job for job in view.jobs()}

    def listed(**where: object) -> list[str]:
        with engine.snapshot() as view, engine.past(view.head()[0], ("jobs",)) as past:
            wanted = JobFilter(**where)  # pyright: ignore[reportArgumentType]
            page = view.jobs(where=wanted)
            assert past.jobs(where=wanted) == page
            assert page == [job for job in jobs.values() if job in page]
            return [job.id for job in page]

    assert listed() == ["j4", "j3", "j2", "j1", "j0"]
    assert listed(queue="odd") == ["j3", "j1"]
    assert listed(states=("processing",)) == ["j3"]
    assert listed(states=("pending", "dead")) == ["j4", "j1"]
    assert listed(states=()) == []
    assert listed(states=("pending", "dead"), queue="odd") == ["j1"]
    enqueued = [jobs[f"j{n}"].enqueued_at for n in range(5)]
    assert listed(since=enqueued[2]) == ["j4", "j3", "j2"]
    assert listed(since=enqueued[2] + 1) == ["j4", "j3"]
    assert listed(until=enqueued[2]) == ["j2", "j1", "j0"]
    assert listed(until=enqueued[2] - 1) == ["j1", "j0"]
    assert listed(since=enqueued[1], until=enqueued[3], queue="odd") == ["j3", "j1"]
    died = jobs["j1"].finished_at
    assert died is not None
    assert listed(ended_since=0) == ["j2", "j1", "j0"], "what runs or waits has not ended"
    assert listed(ended_since=died) == ["j2", "j1"]
    assert listed(ended_since=died + 1) == ["j2"]
    assert listed(ended_since=died, states=("dead",)) == ["j1"]
    with engine.transaction() as tx:
        tx.append([Write("job:j1", jobs["j1"], decisions.requeue(jobs["j1"], tx.now, None, None))], ACTOR)
    with engine.snapshot() as view:
        assert [job.id for job in view.jobs(where=JobFilter(ended_since=died))] == ["j2"], "it has begun again"

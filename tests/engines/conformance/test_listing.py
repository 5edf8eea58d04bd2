"""Every engine: lists of jobs, present and past. No SQL, no type of a database, no path."""

import random

from projections.job_list import JobFilter
from projections.jobs import FINAL
from queuectl import decisions
from queuectl.clock import SECOND, now
from queuectl.engines.base import Engine
from queuectl.engines.view import Write
from tests.support.engine_actions import ACTOR, add, claim, policy, report


def ids(engine: Engine, limit: int | None = None, **where: object) -> list[str]:
    """What is listed now; the past of now is the same, and as many are counted."""
    wanted = JobFilter(**where)  # pyright: ignore[reportArgumentType]
    with engine.snapshot() as view, engine.past(view.head()[0], ("jobs", "counts")) as past:
        moment = now()
        seqs = view.job_seqs(wanted, moment, limit)
        assert list(past.job_seqs(wanted, moment, limit)) == list(seqs)
        if limit is None:
            assert view.count_jobs(wanted) == past.count_jobs(wanted) == len(seqs)
        page = view.jobs(seqs)
        assert past.jobs(seqs) == page
        assert [job.seq for job in page] == list(seqs)
        return [job.id for job in page]


def test_running_then_waiting_then_ended_jobs_are_listed(engine: Engine) -> None:
    assert ids(engine) == []
    with engine.transaction() as tx:
        due = [("low", -1, -9), ("second", 0, 0), ("first", 0, -5), ("high", 9, 0), ("tomorrow", 9, 86_400)]
        due += [("soon", -1, 3_000), ("soon too", 5, 3_000)]
        writes = [Write(f"job:{id}", None, [policy(tx.now + at * SECOND, priority=p)]) for id, p, at in due]
        tx.append(writes, ACTOR)
    add(engine, "retried", "later", "done", "dead", "runs", "runs too", priority=100, max_retries=0)
    leases = {lease.job: lease for _, lease in claim(engine, "w", 6)}
    for id, cause in (("dead", "exit"), ("done", None)):
        report(engine, leases[id], cause)
    for id in ("retried", "later"):
        report(engine, leases[id], "exit")
        with engine.transaction() as tx:
            job = tx.job(id)
            assert job is not None
            tx.append([Write(f"job:{id}", job, decisions.requeue(job, tx.now, None, None))], ACTOR)
    waiting = ["retried", "later", "high", "first", "second", "low", "soon too", "soon", "tomorrow"]
    listed = ids(engine)
    assert listed == ["runs", "runs too", *waiting, "done", "dead"]
    with engine.transaction() as tx:
        assert [job.id for job in tx.ready((), 100)] == waiting[:6], "as it will be claimed"
    for limit in range(len(listed)):
        assert ids(engine, limit) == listed[:limit]


def test_a_failed_job_is_listed_by_its_retry(engine: Engine) -> None:
    add(engine, "due", backoff_max=0.0)
    add(engine, "in a second", priority=5)
    for _, lease in claim(engine, "w", 2):
        report(engine, lease, "exit")
    add(engine, "new")
    assert ids(engine) == ["due", "new", "in a second"]
    assert ids(engine, states=("failed",)) == ["due", "in a second"]
    assert ids(engine, states=("pending",)) == ["new"]


def test_filters_and_limits_keep_the_order(engine: Engine) -> None:
    dice = random.Random(3)
    for n in range(60):
        at = dice.choice((0, -5 * SECOND, 3_000 * SECOND))
        add(engine, f"j{n}", queue=dice.choice("ab"), priority=dice.choice((0, 5)), delay=at, max_retries=0)
        if n % 3 == 0:
            for _, lease in claim(engine, "w", 1):
                if dice.random() < 0.8:
                    report(engine, lease, dice.choice(("exit", None)))
    with engine.snapshot() as view:
        moment = now()
        jobs = view.jobs(view.job_seqs(JobFilter(), moment))
    assert len(jobs) == 60
    ends = [job.finished_at for job in jobs if job.state in FINAL]
    assert ends == sorted(ends, key=lambda end: -(end or 0))
    everything = [job.id for job in jobs]
    for queue in "ab":
        assert ids(engine, queue=queue) == [job.id for job in jobs if job.queue == queue]
        assert ids(engine, 7, queue=queue) == ids(engine, queue=queue)[:7]
    for states in (("dead",), ("completed", "dead"), ("processing", "pending"), ("blocked",), ()):
        assert ids(engine, states=states) == [job.id for job in jobs if job.state in states]
    came = sorted(job.enqueued_at for job in jobs)
    for since, until in ((came[20], None), (None, came[20]), (came[20], came[40]), (came[20] + 1, came[21])):
        within = [job.id for job in jobs if (since or 0) <= job.enqueued_at <= (until or 1 << 62)]
        assert ids(engine, since=since, until=until) == within
    assert everything == ids(engine)


def test_ended_since_leaves_out_jobs_that_began_again(engine: Engine) -> None:
    for n in range(5):
        add(engine, f"j{n}", queue="even" if n % 2 == 0 else "odd", max_retries=0)
    for (_, lease), cause in zip(claim(engine, "w", 4), (None, "exit", None), strict=False):
        report(engine, lease, cause)  # j0 and j2 completed, j1 died, j3 runs, j4 waits
    with engine.snapshot() as view:
        died = view.job("j1")
    assert died is not None
    assert died.finished_at is not None
    assert ids(engine, ended_since=0) == ["j2", "j1", "j0"], "what runs or waits has not ended"
    assert ids(engine, ended_since=died.finished_at) == ["j2", "j1"]
    assert ids(engine, ended_since=died.finished_at + 1) == ["j2"]
    assert ids(engine, ended_since=died.finished_at, states=("dead", "pending")) == ["j1"]
    assert ids(engine, ended_since=died.finished_at, queue="odd") == ["j1"]
    with engine.transaction() as tx:
        tx.append([Write("job:j1", died, decisions.requeue(died, tx.now, None, None))], ACTOR)
    assert ids(engine, ended_since=died.finished_at) == ["j2"], "it has begun again"


def test_jobs_are_read_as_asked_without_missing_ones(engine: Engine) -> None:
    add(engine, "a", "b", "c")
    with engine.snapshot() as view:
        a, b, c = view.jobs([1, 2, 3])
        assert view.jobs([3, 99, 1]) == [c, a]
        assert view.jobs([]) == []
        assert b.id == "b"


def test_waiting_jobs_are_counted_by_queue(engine: Engine) -> None:
    add(engine, "a", "b", queue="q")
    add(engine, "c", queue="r", max_retries=0)
    [(_, lease)] = claim(engine, "w", 1, ["r"])
    with engine.snapshot() as view:
        assert view.waiting_by_queue() == {"q": 2}
    report(engine, lease, "exit")
    with engine.snapshot() as view, engine.past(3, ("jobs", "counts")) as past:
        assert view.waiting_by_queue() == {"q": 2}
        assert past.waiting_by_queue() == {"q": 2, "r": 1}

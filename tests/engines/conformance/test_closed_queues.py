"""Every engine: claims past queues that are closed, and jobs that are held or forced (R31)."""

from collections.abc import Callable, Sequence
from random import Random

from projections.jobs import Job
from projections.queues import ALL, stream
from queuectl import decisions
from queuectl.clock import SECOND
from queuectl.decisions import LimitChanges
from queuectl.engines.base import Engine
from queuectl.engines.view import Filter, Transaction, Write
from queuectl.events import Event, QueuePaused, Rate
from tests.support.engine_actions import ACTOR, add, claim, policy


def due(engine: Engine, limit: int = 100, queues: tuple[str, ...] = (), closed: tuple[str, ...] = ()) -> list[str]:
    with engine.transaction() as tx:
        return [job.id for job in tx.due(queues, limit, tx.now, closed)]


def on_job(engine: Engine, id: str, decide: Callable[[Job], Sequence[Event]]) -> None:
    with engine.transaction() as tx:
        job = tx.job(id)
        assert job is not None
        tx.append([Write(f"job:{id}", job, decide(job))], ACTOR)


def on_queue(tx: Transaction, name: str, changes: LimitChanges) -> None:
    state = tx.queue_state(name)
    tx.append([Write(stream(name), state, decisions.limit(state, changes))], ACTOR)


def test_closed_queues_are_passed_over(engine: Engine) -> None:
    add(engine, "a1", "a2", queue="a", priority=5)
    add(engine, "b1", queue="b")
    add(engine, "c1", queue="c", priority=9)
    assert due(engine, closed=("a",)) == ["c1", "b1"]
    assert due(engine, closed=("a", "c")) == ["b1"]
    assert due(engine, closed=("a", "b", "c")) == []
    assert due(engine, queues=("a", "b"), closed=("a",)) == ["b1"]
    assert due(engine, queues=("a",), closed=("a",)) == []


def test_a_long_closed_queue_hides_nothing(engine: Engine) -> None:
    """The order is that of claims, whichever way the jobs are found."""
    dice = Random(7)
    with engine.transaction() as tx:
        for number in range(600):
            queue = dice.choice(("shut", "shut", "shut", "a", "b", "c"))
            moment = tx.now - dice.randint(0, 50)
            tx.append(
                [Write(f"job:j{number}", None, [policy(moment, queue=queue, priority=dice.choice((0, 0, 1)))])], ACTOR
            )

    def order(job: Job) -> tuple[int, int, int]:
        return -job.priority, job.run_at, job.seq

    with engine.transaction() as tx:
        everything = tx.due((), 1000, tx.now)
        assert everything == sorted(everything, key=order)
        opened = [job.id for job in everything if job.queue != "shut"]
    for limit in (1, 3, 40, len(opened), 1000):
        assert due(engine, limit, closed=("shut",)) == opened[:limit]


def test_held_jobs_are_not_due(engine: Engine) -> None:
    add(engine, "one", "two")
    on_job(engine, "one", decisions.hold)
    assert due(engine) == ["two"]
    with engine.snapshot() as view:
        assert view.held_jobs() == 1
        assert view.counts() == {"pending": 2}
        assert view.waiting_by_queue() == {"default": 1}
    on_job(engine, "one", decisions.release)
    assert due(engine) == ["one", "two"]


def test_forced_jobs_come_first_whatever_is_closed(engine: Engine) -> None:
    add(engine, "first", priority=9)
    add(engine, "later", queue="shut", delay=3600 * SECOND)
    on_job(engine, "later", decisions.force)
    assert due(engine, closed=("shut",)) == ["later", "first"]
    assert due(engine, 1) == ["later"]
    claim(engine, "w", 1)
    assert due(engine) == ["first"]


def test_next_due_looks_past_closed_queues(engine: Engine) -> None:
    add(engine, "early", queue="shut", delay=SECOND)
    add(engine, "held", queue="a", delay=2 * SECOND)
    add(engine, "late", queue="b", delay=3 * SECOND)
    on_job(engine, "held", decisions.hold)
    with engine.snapshot() as view:
        late = view.job("late")
        assert late is not None
        assert view.next_due((), ("shut",)) == late.run_at
        assert view.next_due(("shut",), ("shut",)) is None
        assert view.next_due(("a",)) is None


def test_gates_know_what_runs_and_when(engine: Engine) -> None:
    with engine.transaction() as tx:
        on_queue(tx, "a", LimitChanges(concurrency=2, rate=Rate(1, 60.0)))
    add(engine, "one", queue="a")
    with engine.transaction() as tx:
        job, gate = tx.job("one"), tx.gates()["a"]
        assert job is not None
        assert (gate.processing, gate.arrival) == (0, None)
        tx.append([Write("job:one", job, decisions.claim(job, "w", tx.now, gate))], ACTOR)
        claimed = tx.gates()["a"]
        assert (claimed.processing, claimed.arrival) == (1, tx.now + 60 * SECOND)
        assert claimed.is_closed(tx.now)
        assert not claimed.is_closed(tx.now + 60 * SECOND)


def test_all_queues_have_a_state_of_their_own(engine: Engine) -> None:
    with engine.transaction() as tx:
        tx.append([Write(stream(ALL), None, decisions.pause(None, "lunch"))], ACTOR)
    with engine.transaction() as tx:
        state = tx.queue_state(ALL)
        assert state is not None
        assert (state.name, state.paused_reason, state.is_paused(tx.now)) == (ALL, "lunch", True)
        assert tx.queue_state("default") is None


def test_events_of_a_queue_are_also_its_own(engine: Engine) -> None:
    add(engine, "a1", queue="a")
    add(engine, "b1", queue="b")
    with engine.transaction() as tx:
        for name in ("a", "b", ALL):
            tx.append([Write(stream(name), None, [QueuePaused()])], ACTOR)
    with engine.snapshot() as view:
        assert [record.stream for record in view.events(where=Filter(queue="a"))] == ["job:a1", "queue:a", "queues"]
        assert [record.stream for record in view.events(where=Filter(queue="c"))] == ["queues"]

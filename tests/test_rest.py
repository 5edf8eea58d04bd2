"""At rest (R46): what keeps `--drain` and `wait` going, and what does not."""

from collections.abc import Iterator

import pytest

from queuectl import Queue, clock
from queuectl.decisions import Outcome, Release, Report
from queuectl.rest import at_rest, live_jobs, live_members
from queuectl.workers.turn import TurnWriter
from tests.support.shell import Shell


@pytest.fixture
def queue(queuectl: Shell) -> Iterator[Queue]:
    with Queue(queuectl.folder / "q.db") as queue:
        yield queue


def rests(queue: Queue, *queues: str) -> bool:
    with queue.engine.snapshot() as view:
        return at_rest(view, queues, clock.now(), 0)


def live(queue: Queue) -> int:
    with queue.engine.snapshot() as view:
        return live_jobs(view)


def test_held_jobs_wait_for_a_person(queue: Queue) -> None:
    assert rests(queue)
    id = queue.enqueue("true", held=True)
    assert rests(queue)
    assert live(queue) == 0
    queue.start(id)
    assert not rests(queue), "it was asked to start"
    queue.hold(id)
    queue.release(id)
    assert not rests(queue)
    assert live(queue) == 1


def test_a_forced_job_beyond_what_exists_rests(queue: Queue) -> None:
    """It passes the hold, and still waits until somebody provides more."""
    id = queue.enqueue("true", needs={"gpu": 2}, held=True)
    queue.start(id)
    assert rests(queue)
    queue.enqueue("true", after=(id,))
    assert (rests(queue), live(queue)) == (True, 0), "what waits for it does so as well"
    queue.set_resource("gpu", 2)
    assert not rests(queue)


def test_what_no_worker_can_give_keeps_no_drain(queue: Queue) -> None:
    queue.set_resource("gpu", indices="0-3")
    queue.enqueue("true", needs={"gpu": 3})
    TurnWriter(queue, "w1", (), queue.home.identity()).start(1, resources={"gpu": "0-1"})
    assert (rests(queue), live(queue)) == (True, 1), "a worker elsewhere may give it"
    TurnWriter(queue, "w2", (), "elsewhere").start(1)
    assert not rests(queue)


def test_a_retry_beyond_what_exists_rests(queue: Queue) -> None:
    queue.set_resource("gpu", 2)
    writer = TurnWriter(queue, "w1", (), queue.home.identity())
    writer.start(1)
    for need in (2, 1):
        queue.enqueue("false", needs={"gpu": need}, max_retries=1)
        [claim] = writer.turn([], [], 1).claims
        writer.turn([Report(claim.lease, Outcome(cause="exit", exit_code=1))], [], 0)
        assert not rests(queue)
        queue.set_resource("gpu", 1)
        assert rests(queue) == (need == 2)


def test_a_batch_rests_beside_what_cannot_start(queue: Queue) -> None:
    id = queue.enqueue("true", needs={"gpu": 2}, held=True, batch="b")
    queue.enqueue("true", after=(id,), batch="b")
    queue.start(id)
    with queue.engine.snapshot() as view:
        assert live_members(view, "b", ()) == 0
    queue.set_resource("gpu", 2)
    with queue.engine.snapshot() as view:
        assert live_members(view, "b", ()) == 1


def test_what_depends_on_the_asker_is_no_part(queue: Queue) -> None:
    queue.enqueue("true", id="asker", batch="b")
    queue.enqueue("true", after=("asker",), batch="b")
    writer = TurnWriter(queue, "w1", (), queue.home.identity())
    writer.start(1)
    writer.turn([], [], 1)
    asker = queue.job("asker")
    with queue.engine.snapshot() as view:
        assert (live_members(view, "b", ()), live_members(view, "b", [asker])) == (2, 0)
        assert (live_jobs(view), live_jobs(view, [asker])) == (2, 0)
        assert (at_rest(view, (), clock.now(), 0), at_rest(view, (), clock.now(), 0, [asker])) == (False, True)


def test_forced_jobs_are_live_past_holds(queue: Queue) -> None:
    queue.enqueue("true", id="held", held=True)
    queue.enqueue("true", id="shut", queue="b")
    queue.pause("b")
    assert live(queue) == 0
    queue.start("held")
    assert live(queue) == 1
    queue.start("shut")
    assert live(queue) == 2


def test_hold_takes_a_start_back(queue: Queue) -> None:
    id = queue.enqueue("true", held=True)
    queue.start(id)
    assert queue.hold(id) == [id]
    assert rests(queue)
    assert queue.hold(id) == []


def test_only_a_pause_without_end_is_rest(queue: Queue) -> None:
    queue.enqueue("true", queue="a")
    queue.enqueue("true", queue="b")
    queue.pause("a", seconds=60)
    queue.pause("b")
    assert (rests(queue, "a"), rests(queue, "b"), rests(queue)) == (False, True, False)
    assert live(queue) == 1
    queue.pause()
    assert rests(queue)
    assert live(queue) == 0


def test_limits_and_delays_are_told_apart(queue: Queue) -> None:
    queue.enqueue("true", queue="a", delay=3600)
    assert rests(queue), "its user asked for the delay"
    assert live(queue) == 1, "but whoever waits for all waits for it"
    queue.enqueue("true", queue="b")
    queue.limit("b", rate="1/h")
    assert not rests(queue)


def test_what_could_not_be_started_is_no_rest(queue: Queue) -> None:
    """Nobody asked for its delay."""
    id = queue.enqueue("true", queue="a")
    after = queue.enqueue("true", queue="b", after=(id,))
    writer = TurnWriter(queue, "w1", (), queue.home.identity())
    writer.start(1)
    [claim] = writer.turn([], [], 1).claims
    writer.turn([], [Release(claim.lease, "no memory", repeats=True)], 0)

    assert (rests(queue), rests(queue, "a"), rests(queue, "b")) == (False, False, False)
    queue.pause("a")
    assert rests(queue)
    queue.resume("a")
    queue.hold(id)
    assert rests(queue)
    queue.cancel(after)


def test_a_drain_ends_beside_held_and_paused_jobs(queuectl: Shell) -> None:
    queuectl("enqueue", "--hold", "true")
    queuectl("enqueue", "--queue", "shut", "true")
    queuectl("enqueue", "--queue", "slow", "true")
    queuectl("enqueue", "--queue", "slow", "true")
    queuectl("queue", "set", "slow", "--rate", "2/s")
    queuectl("pause", "shut")
    queuectl("worker", "start", "--drain").ok()
    status = queuectl("status").ok().json
    assert (status["completed"], status["pending"], status["held"]) == (2, 2, 1)

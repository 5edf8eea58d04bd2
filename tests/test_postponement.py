"""What can't be started just now is due again later, and ever later."""

import pytest
from msgspec.structs import replace

from queuectl import decisions
from queuectl.clock import SECOND, micros, text
from queuectl.decisions import Outcome, Stop
from queuectl.events import Cancelled, Enqueued, Released
from tests.support import ends
from tests.support.histories import BEGIN, Command, World


def claimed() -> World:
    """A job that a worker has claimed."""
    world = World()
    policy = Enqueued(command="x", run_at=text(BEGIN), cwd="/", max_retries=9, backoff_base=2.0, backoff_max=60.0)
    world.do(Command("enqueue", policy=policy))
    world.do(Command("claim"))
    return world


def put_off(world: World) -> float | None:
    """For how many seconds the job is postponed that a worker gives back, because it can't start it."""
    if (job := world.job("1")) is not None and job.state != "processing":
        world.do(Command("claim"))
    step = world.do(Command("release", again=True))
    assert step is not None
    [event] = step.events
    assert isinstance(event, Released)
    return (micros(event.not_before) - world.now) / SECOND if event.not_before is not None else None


def test_what_cannot_start_is_postponed_ever_longer() -> None:
    world = claimed()
    assert put_off(world) == 10
    job = world.job("1")
    assert job is not None
    assert (job.state, job.attempt, job.postponed, job.run_at) == ("pending", 0, 1, world.now + 10 * SECOND)
    assert put_off(world) == 20
    world.do(Command("claim"))
    world.do(Command("release"))  # for another reason: neither here nor there
    assert [put_off(world) for _ in range(4)] == [40, 60, 60, 60]


@pytest.mark.parametrize("end", ["failed", "interrupted", "requeued"])
def test_a_start_ends_the_postponements(end: str) -> None:
    world = claimed()
    assert [put_off(world) for _ in range(2)] == [10, 20]
    world.do(Command("claim"))
    if end == "requeued":
        world.do(Command("cancel"))
        world.do(Command("release"))
        world.do(Command("requeue"))
    else:
        stop = Stop("cli:ann@here") if end == "interrupted" else None
        world.do(Command("report", outcome=Outcome(cause="exit", exit_code=1, stop=stop)))
    assert put_off(world) == 10


def test_what_is_forced_or_cancelled_is_not_postponed() -> None:
    job = claimed().job("1")
    assert job is not None
    lease = decisions.lease(job)
    assert ends.release(replace(job, forced=True), lease, None, BEGIN, repeats=True) == [Released(attempt=1)]
    cancelled = replace(job, cancel_requested=True)
    assert ends.release(cancelled, lease, None, BEGIN, repeats=True) == [Released(attempt=1), Cancelled()]

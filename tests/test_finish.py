"""All ends of a transaction, decided together (R32)."""

from pathlib import Path
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections.jobs import Job
from queuectl import Queue, Spec, decisions
from queuectl.decisions import Cancel, Ending, Lease, Outcome, Refusal, Release, Report, finish
from queuectl.errors import NotFound, Refused
from queuectl.events import Event
from tests.support.histories import BEGIN, Command, World

FAILED = Outcome(cause="exit", exit_code=1)


def held(count: int) -> tuple[World, dict[str, Job]]:
    """Jobs 1 to `count`, all of them claimed."""
    world = World()
    for _ in range(count):
        world.do(Command("enqueue"))
    for number in range(count):
        world.do(Command("claim", job=number))
    return world, jobs(world)


def jobs(world: World) -> dict[str, Job]:
    return {id: job for id in world.ids if (job := world.job(id)) is not None}


def decided(endings: list[Ending], known: dict[str, Job]) -> tuple[dict[str, list[str]], list[Lease]]:
    """The types of events by job, and the leases that were fenced."""
    ends = finish(endings, known.get, BEGIN, lambda: 0.5)
    return {end.job.id: [event.type for event in end.events] for end in ends.jobs}, ends.fenced


def test_every_job_is_decided_and_listed_once() -> None:
    _, known = held(4)
    one, two, three, four = map(decisions.lease, known.values())
    endings = [Report(three, Outcome()), Release(one), Refusal(two, ["TOKEN"]), Report(four, FAILED)]
    assert decided(endings, known) == (
        {"3": ["completed"], "1": ["released"], "2": ["failed", "dead"], "4": ["failed", "retried"]},
        [],
    )


def test_a_second_end_follows_the_first() -> None:
    world, known = held(1)
    lease = decisions.lease(known["1"])
    assert decided([Report(lease, FAILED), Cancel("1")], known) == ({"1": ["failed", "retried", "cancelled"]}, [])
    assert decided([Report(lease, FAILED), Release(lease)], known) == ({"1": ["failed", "retried"]}, [lease])
    assert decided([Cancel("1"), Cancel("1")], known) == ({"1": ["cancel_requested"]}, [])
    assert decided([Cancel("1"), Release(lease)], known) == ({"1": ["cancel_requested", "released", "cancelled"]}, [])
    world.do(Command("cancel"))
    assert decided([Cancel("1")], jobs(world)) == ({}, [])


def test_reports_of_gone_jobs_are_fenced() -> None:
    _, known = held(2)
    one, two = map(decisions.lease, known.values())
    del known["1"]
    assert decided([Report(one, FAILED), Report(two, Outcome())], known) == ({"2": ["completed"]}, [one])


def test_only_completed_jobs_need_no_secrets() -> None:
    _, known = held(3)
    known = {id: msgspec.structs.replace(job, secrets=("TOKEN",)) for id, job in known.items()}
    one, two, three = map(decisions.lease, known.values())
    ends = finish([Report(one, Outcome()), Report(two, FAILED), Release(three)], known.get, BEGIN, lambda: 0.5)
    assert ends.forget == ["1"]


@settings(max_examples=50)
@given(st.integers(0, 2**32))
def test_together_is_as_one_after_another(seed: int) -> None:
    pick = Random(seed)
    world, known = held(3)
    leases = [decisions.lease(job) for job in known.values()]
    endings: list[Ending] = []
    for _ in range(8):
        lease = pick.choice(leases)
        outcome = pick.choice([Outcome(), FAILED, Outcome(cause="lost")])
        endings.append(pick.choice([Report(lease, outcome), Release(lease), Refusal(lease, ["A"]), Cancel(lease.job)]))
    events: dict[str, list[Event]] = {}
    fenced: list[Lease] = []
    refused = False
    for ending in endings:
        try:
            ends = finish([ending], jobs(world).get, BEGIN, lambda: 0.5)
        except Refused:
            refused = True
            break
        fenced += ends.fenced
        for end in ends.jobs:
            world.append(f"job:{end.job.id}", end.events)
            events.setdefault(end.job.id, []).extend(end.events)
    try:
        ends = finish(endings, known.get, BEGIN, lambda: 0.5)
    except Refused:
        assert refused
    else:
        assert (refused, {end.job.id: end.events for end in ends.jobs}, ends.fenced) == (False, events, fenced)


def test_the_first_cancel_that_fails_is_named(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        queue.enqueue_many([Spec(command="true", id="a"), Spec(command="true", id="b")])
        queue.cancel("b")
        with pytest.raises(Refused):
            queue.cancel("a", "b", "never")
        with pytest.raises(NotFound):
            queue.cancel("a", "never", "b")
        assert queue.cancel("a", "a", "b", "never", among=["pending"]) == ["a"]


def test_an_end_is_appended_once_for_each_job(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        queue.enqueue("true", id="a")
        with queue.engine.transaction() as tx:
            ends = tx.end([Cancel("a"), Release(Lease("a", 1, 2)), Release(Lease("gone", 1, 2))], "test", {})
        assert ends.fenced == [Lease("a", 1, 2), Lease("gone", 1, 2)]
        assert [record.type for record in queue.events(job="a")] == ["enqueued", "cancelled"]

"""Why a job does not start: each reason with its figures, and the commands that remove it."""

import shlex
from collections.abc import Iterator

import pytest
from freezegun import freeze_time

from projections.jobs import Job
from queuectl import Queue
from queuectl.admission import NOTHING, Facts, Reason, Servers, reasons
from queuectl.clock import SECOND
from queuectl.decisions import Outcome, Report
from queuectl.disk import Disk
from queuectl.errors import NotFound, Refused
from queuectl.workers.turn import TurnWriter
from tests.support.engine_actions import policy
from tests.support.histories import BEGIN
from tests.support.lab import Lab
from tests.support.shell import Shell

LOW = Disk(free=3 << 30, floor=4 << 30)


@pytest.fixture
def queue(queuectl: Shell) -> Iterator[Queue]:
    with Queue(queuectl.folder / "q.db") as queue:
        yield queue


def waiting(seq: int = 1, run_at: int = BEGIN, state: str = "pending", priority: int = 0, **more: str) -> Job:
    """A job that waits, as one that was enqueued at the beginning."""
    asked = policy(run_at, **more)
    return Job(seq, f"j{seq}", 1, state, "gpu", priority, run_at, asked, BEGIN, "cli:ann@here", "true", 3, None)


def kinds(job: Job, facts: Facts) -> list[str]:
    return [reason.kind for reason in reasons(job, facts, BEGIN)]


def test_only_waiting_jobs_have_reasons() -> None:
    for state in ("processing", "completed", "dead", "cancelled"):
        with pytest.raises(Refused, match=f"is {state}, not waiting"):
            reasons(waiting(state=state), NOTHING, BEGIN)


def test_a_wish_for_later_is_no_backoff() -> None:
    due = BEGIN + SECOND
    assert reasons(waiting(run_at=due, reason="after lunch"), NOTHING, BEGIN) == [
        Reason(
            kind="delayed",
            text="not due",
            since=BEGIN,
            by="cli:ann@here",
            why="after lunch",
            frees="queuectl start j1",
            when=due,
        )
    ]
    facts = Facts(failed_at={"j1": BEGIN - SECOND})
    [backoff] = reasons(waiting(run_at=due, state="failed"), facts, BEGIN)
    assert backoff == Reason(
        kind="backoff", text="its retry is not due", since=BEGIN - SECOND, frees="queuectl start j1", when=due
    )
    assert reasons(waiting(run_at=due), NOTHING, due) == []


def test_every_reason_is_given_in_order() -> None:
    assert kinds(waiting(run_at=BEGIN + 1), Facts(LOW, ())) == ["delayed", "disk", "no_worker"]
    taken = Servers(queues=(), slots=2, free=0, first=(waiting(seq=1),))
    assert kinds(waiting(seq=2, state="failed"), Facts(LOW, (taken,))) == ["disk", "busy", "priority"]
    assert kinds(waiting(), Facts(LOW, (taken,))) == ["disk", "busy"]
    assert kinds(waiting(run_at=BEGIN + 1), Facts(None, (taken,))) == ["delayed"]


def test_a_free_slot_goes_to_the_first_jobs() -> None:
    first, second = waiting(seq=1), waiting(seq=2, priority=1)
    full, free = (Servers(queues=("gpu",), slots=1, free=free, first=(second,)) for free in (0, 1))
    elsewhere = Servers(queues=("mail",), slots=9, free=9)
    assert kinds(second, Facts(None, (full, free, elsewhere))) == []
    [reason] = reasons(first, Facts(None, (free, elsewhere)), BEGIN)
    assert (reason.kind, reason.text) == ("priority", "these start before it: j2")
    assert kinds(first, Facts(None, (Servers(queues=("gpu",), slots=2, free=2, first=(second, first)),))) == []
    assert kinds(first, Facts(None, (Servers(queues=(), slots=1, free=1),))) == [], "nothing starts before it"
    keeping = Servers(queues=(), slots=2, free=1, kept_for=waiting(seq=3, priority=2))
    [reason] = reasons(first, Facts(None, (keeping, free)), BEGIN)
    assert (reason.kind, reason.behind) == ("priority", ("j2",))


def test_workers_that_hold_back_are_told_apart() -> None:
    first, second = waiting(seq=1), waiting(seq=2)
    back = Servers(queues=(), slots=2, free=2, first=(first, second), holds_back="load 8.10, limit 4")
    [reason] = reasons(first, Facts(None, (back,)), BEGIN)
    assert (reason.kind, reason.text, reason.since, reason.when) == (
        "host",
        "the workers of the queue gpu hold back: load 8.10, limit 4",
        None,
        None,
    )
    assert kinds(waiting(run_at=BEGIN + 1), Facts(None, (back,))) == ["delayed"]
    taken = Servers(queues=("gpu",), slots=1, free=0, first=(first,))
    assert kinds(first, Facts(None, (back, taken))) == ["host"]
    full = Servers(queues=(), slots=2, free=0, first=(first,), holds_back="load 8.10, limit 4")
    assert kinds(first, Facts(None, (full, taken))) == ["busy"], "the load may have fallen when a slot is free"
    free = Servers(queues=(), slots=1, free=1, first=(first,))
    assert kinds(first, Facts(None, (back, free))) == []
    assert kinds(second, Facts(None, (back, free))) == ["priority"]


def test_busy_slots_have_an_estimated_end() -> None:
    taken = Servers(queues=(), slots=2, free=0, first=(waiting(),), full_since=BEGIN - SECOND, next_end=BEGIN + 5)
    [reason] = reasons(waiting(), Facts(None, (taken,)), BEGIN)
    assert (reason.since, reason.when, reason.estimated) == (BEGIN, BEGIN + 5, True)
    [reason] = reasons(waiting(), Facts(None, (taken,)), BEGIN + 9)
    assert reason.when == BEGIN + 9, "it is overdue, so it may be any moment"


def test_estimates_come_from_finished_jobs(lab: Lab) -> None:
    writer = TurnWriter(lab.queue, "w", (), lab.queue.home.identity())
    with freeze_time("2027-01-15T08:00:00Z") as clock:
        lab.queue.enqueue_many(["true"] * 4)
        lab.queue.enqueue("false", id="fails", priority=1, backoff_base=60.0)
        writer.start(1)
        for seconds, cause in ((9.0, "exit"), (2.0, None), (4.0, None)):
            [claim] = writer.turn([], [], 1, look=True).claims
            clock.tick(1)
            writer.turn([Report(claim.lease, Outcome(cause=cause, run_seconds=seconds))], [], 0)
        [claim] = writer.turn([], [], 1, look=True).claims
        [busy] = lab.queue.reasons("4")
        since = claim.job.claimed_at
        assert since is not None
        assert (busy.kind, busy.since, busy.when, busy.estimated) == ("busy", since, since + 4 * SECOND, True)
        [backoff] = lab.queue.reasons("fails")
        assert backoff.kind == "backoff"
        assert backoff.since is not None
        assert backoff.since // SECOND == BEGIN // SECOND + 1


def test_reasons_are_asked_of_jobs_that_exist(queue: Queue) -> None:
    with pytest.raises(NotFound):
        queue.reasons("never")
    queue.enqueue("true", id="a")
    assert [reason.kind for reason in queue.reasons("a")] == ["no_worker"]
    queue.cancel("a")
    with pytest.raises(Refused):
        queue.reasons("a")


def test_the_named_commands_quote_ids(queue: Queue, queuectl: Shell) -> None:
    id = queue.enqueue("true", id="a b; $(id)", held=True, delay=3600.0)
    for kind in ("held", "delayed"):
        first, *_ = queue.reasons(id)
        assert (first.kind, first.frees is not None) == (kind, True)
        queuectl(*shlex.split(first.frees or "")[1:]).ok()
    assert [reason.kind for reason in queue.reasons(id)] == ["no_worker"]


def test_the_named_commands_are_real(queue: Queue, queuectl: Shell) -> None:
    queue.set_config("disk-floor", "900T")
    queue.enqueue("true", id="a", queue="it's")
    low, unserved = queue.reasons("a")
    assert low.frees is not None
    assert unserved.frees is not None
    queuectl(*shlex.split(low.frees)[1:]).ok()
    assert [reason.kind for reason in queue.reasons("a")] == ["no_worker"]
    queuectl(*shlex.split(unserved.frees)[1:], "--drain").ok()
    assert queue.job("a").state == "completed"

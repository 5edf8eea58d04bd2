"""The queue as it was: what `status` and `list` say of a moment is what they said then."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.decisions import Outcome
from queuectl.documents import job_document
from queuectl.errors import NotFound
from queuectl.events import encode
from queuectl.units import Then
from queuectl.workers.ledger import Claim, Ledger, Report

MOMENTS = 100


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        queue.engine.synchronize("normal")
        yield queue


def act(queue: Queue, ledger: Ledger, held: list[Claim], dice: random.Random) -> None:
    """Something happens."""
    waiting = [job.id for job in queue.jobs(state="pending")]
    final = [job.id for state in ("completed", "dead", "cancelled") for job in queue.jobs(state=state)]
    what = dice.choice(("enqueue", "enqueue", "claim", "claim", "report", "report", "cancel", "retry", "purge", "set"))
    if what == "claim":
        held += ledger.turn([], [], dice.randint(1, 3)).claims
    elif what == "report" and held:
        claim = held.pop(dice.randrange(len(held)))
        cause = dice.choice((None, None, "exit", "timeout"))
        ledger.turn([Report(claim.job, claim.lease, Outcome(cause=cause, exit_code=0 if cause is None else 3))], [], 0)
    elif what == "cancel" and waiting:
        queue.cancel(dice.choice(waiting))
    elif what == "retry" and final:
        queue.retry(dice.choice(final))
    elif what == "purge" and final:
        queue.purge(dice.choice(final))
    elif what == "set":
        queue.set_config("max-retries", str(dice.randint(0, 5)))
    else:
        queue.enqueue("true", queue=dice.choice(("default", "mail")), priority=dice.randint(0, 2), max_retries=1)


def listed(queue: Queue, then: Then | None = None) -> list[bytes]:
    """Every job, as a document."""
    return [encode(job_document(job)) for job in queue.jobs(then=then)]


def test_what_is_said_of_a_hundred_moments_is_what_was_said_then(queue: Queue) -> None:
    dice = random.Random(7)
    ledger = Ledger(queue, "w1", (), "here")
    ledger.start(3)
    held: list[Claim] = []
    said: list[tuple[Then, Then, dict[str, object], dict[str, object], list[bytes]]] = []
    while len(said) < MOMENTS:
        act(queue, ledger, held, dice)
        now = queue.status()
        said.append((Then(seq=now.seq), Then(at=now.at), now.json(), queue.status("mail").json(), listed(queue)))
    ledger.stop("drained")

    for seq, at, whole, mail, jobs in said:
        assert queue.status(then=seq).json() == queue.status(then=at).json() == whole
        assert queue.status("mail", then=seq).json() == mail
        if seq.seq is not None and seq.seq % 7 == 0:
            assert listed(queue, seq) == jobs


def test_within_a_transaction_too_every_event_is_a_moment(queue: Queue) -> None:
    queue.enqueue_many(["true"] * 5)
    assert [queue.status(then=Then(seq=seq)).total for seq in range(1, 7)] == [1, 2, 3, 4, 5, 5]
    at = queue.status().at
    assert queue.status(then=Then(at=at)).total == 5
    assert queue.status(then=Then(at=at + 10**12)).seq == 5, "nothing has happened since"


def test_before_the_log_began_nothing_was_there(queue: Queue) -> None:
    with pytest.raises(NotFound, match="the log had not begun at that moment"):
        queue.status(then=Then(at=1))
    queue.enqueue("true")
    for then in (Then(at=queue.status().at - 1), Then(seq=0)):
        with pytest.raises(NotFound, match="the log had not begun at that moment"):
            next(queue.jobs(then=then))


def test_looking_back_drops_none_of_the_locks_of_this_process(queue: Queue) -> None:
    """It opens the live file a second time, by the same SQLite, which knows what is still locked (R6)."""
    queue.enqueue("true")
    files = {os.stat(path).st_ino for path in queue.place.guarded}

    def locks() -> list[str]:
        lines = Path("/proc/locks").read_text().splitlines()
        mine = [line.split()[1:] for line in lines if line.split()[4] == str(os.getpid())]
        return sorted(" ".join(words) for words in mine if int(words[4].rpartition(":")[2]) in files)

    before = locks()
    assert before
    queue.status(then=Then(seq=1))
    assert locks() == before


def test_looking_back_changes_nothing_and_keeps_nobody_from_writing(queue: Queue) -> None:
    queue.enqueue_many(["true"] * 3)
    past = queue.jobs(then=Then(seq=2))
    assert next(past).id == "2"
    assert queue.enqueue("true") == "4"
    assert [job.id for job in past] == ["1"]
    assert queue.check() == []
    assert [job.id for job in queue.jobs()] == ["4", "3", "2", "1"]

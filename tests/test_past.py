"""The past: `status` and `list` of a moment give the answers that they gave then."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from msgspec.json import decode

from queuectl import Queue
from queuectl.audit.archive import archive
from queuectl.clock import now
from queuectl.decisions import Outcome, Report
from queuectl.documents import job_document
from queuectl.errors import NotFound, QueueError
from queuectl.events import encode
from queuectl.units import Then
from queuectl.workers.turn import Claim, TurnWriter

MOMENTS = 100


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        queue.engine.set_durability("normal")
        yield queue


def act(queue: Queue, writer: TurnWriter, held: list[Claim], dice: random.Random) -> None:
    """Carry out one random command."""
    waiting = [job.id for job in queue.jobs(state="pending")]
    final = [job.id for state in ("completed", "dead", "cancelled") for job in queue.jobs(state=state)]
    what = dice.choice(("enqueue", "enqueue", "claim", "claim", "report", "report", "cancel", "retry", "purge", "set"))
    if what == "claim":
        held += writer.turn([], [], dice.randint(1, 3)).claims
    elif what == "report" and held:
        claim = held.pop(dice.randrange(len(held)))
        cause = dice.choice((None, None, "exit", "timeout"))
        writer.turn([Report(claim.lease, Outcome(cause=cause, exit_code=0 if cause is None else 3))], [], 0)
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


class Said(NamedTuple):
    """The answers given at one moment."""

    seq: Then
    at: Then
    whole: dict[str, object]
    mail: dict[str, object]
    jobs: list[bytes]

    def still(self, queue: Queue) -> bool:
        """Whether the same answers are given now for that moment."""
        return (
            queue.status(then=self.seq).json() == queue.status(then=self.at).json() == self.whole
            and queue.status("mail", then=self.seq).json() == self.mail
        )


def story(queue: Queue, dice: random.Random) -> list[Said]:
    """Carry out a hundred random commands; return the answers after each."""
    said: list[Said] = []
    held: list[Claim] = []
    writer, idle = (TurnWriter(queue, worker, (), "here") for worker in ("w1", "idle"))
    writer.start(3)
    idle.start(1)
    while len(said) < MOMENTS:
        if len(said) == MOMENTS // 4:
            idle.stop("drained")
        act(queue, writer, held, dice)
        status = queue.status()
        said.append(
            Said(Then(seq=status.seq), Then(at=status.at), status.json(), queue.status("mail").json(), listed(queue))
        )
    writer.stop("drained")
    return said


def test_a_hundred_past_moments_are_answered_as_then(queue: Queue) -> None:
    for said in story(queue, random.Random(7)):
        assert said.still(queue)
        if said.seq.seq is not None and said.seq.seq % 7 == 0:
            assert listed(queue, said.seq) == said.jobs


def test_past_answers_stay_after_an_archive(queue: Queue, tmp_path: Path) -> None:
    dice = random.Random(8)
    story_of = story(queue, dice)
    head = queue.status().seq
    before = {seq: queue.status(then=Then(seq=seq)).json() for seq in dice.sample(range(1, head), 20)}
    jobs = {seq: listed(queue, Then(seq=seq)) for seq in before}

    archive(queue, str(tmp_path / "1.gz"), story_of[40].at.at or 0)
    archive(queue, str(tmp_path / "2.gz"), story_of[80].at.at or 0, {"completed", "cancelled"})

    gone = {record.stream for record in queue.events(type="archived")}
    assert "worker:idle" in gone
    assert len(gone) > 5
    assert all(said.still(queue) for said in story_of)
    for seq, said in before.items():
        assert queue.status(then=Then(seq=seq)).json() == said
        if any(f"job:{decode(line)['id']}" in gone for line in jobs[seq]):
            with pytest.raises(NotFound, match=r"of these jobs w.* archived since, in .*\.gz"):
                listed(queue, Then(seq=seq))
        else:
            assert listed(queue, Then(seq=seq)) == jobs[seq]
    assert queue.status().json() == queue.status(then=Then(seq=queue.status().seq)).json()
    assert queue.check() == []


def test_a_past_list_names_archives_of_missing_jobs(queue: Queue, tmp_path: Path) -> None:
    ids = queue.enqueue_many(["true"] * 4)
    queue.enqueue("true", queue="mail")
    then = Then(seq=queue.status().seq)
    queue.cancel(ids[1], ids[2])
    archive(queue, str(tmp_path / "a.gz"), now())

    told = f"2 of these jobs were archived since, in {tmp_path}/a.gz"
    wanted: dict[str, Any]
    came = queue.job("1").enqueued_at
    for wanted in (
        {}, {"state": "pending"}, {"queue": "default"}, {"since": came}, {"until": came}, {"limit": 3},
    ):  # fmt: skip
        with pytest.raises(NotFound, match=r"archived since, in .*a\.gz"):
            list(queue.jobs(then=then, **wanted))
    with pytest.raises(NotFound, match=told):
        list(queue.jobs(then=then))
    for wanted in (
        {"state": "cancelled"}, {"queue": "mail"}, {"since": came + 1}, {"until": came - 1}, {"ended_since": 0},
    ):  # fmt: skip
        list(queue.jobs(then=then, **wanted))
    assert [job.id for job in queue.jobs()] == ["1", "4", "5"]


def test_a_past_list_filters_archived_jobs_by_end(queue: Queue, tmp_path: Path) -> None:
    first, second, third = queue.enqueue_many(["true"] * 3)
    queue.cancel(first)
    queue.cancel(second)
    ended = queue.job(first).finished_at
    then = Then(seq=queue.status().seq)
    queue.cancel(third)
    before = [job.id for job in queue.jobs(then=then, ended_since=ended)]
    archive(queue, str(tmp_path / "a.gz"), (ended or 0) + 1)
    assert before == [second, first]
    with pytest.raises(NotFound, match="1 of these jobs was archived since"):
        list(queue.jobs(then=then, ended_since=ended))
    assert [job.id for job in queue.jobs(then=then, ended_since=(ended or 0) + 1)] == [second]


def test_jobs_archived_during_folding_are_counted_once(queue: Queue, tmp_path: Path) -> None:
    queue.enqueue_many(["true"] * 1500)
    then = Then(seq=queue.status().seq)
    queue.cancel(*map(str, range(1, 1501)))
    cut: list[int] = []

    def progress(done: int, total: int) -> None:
        if not cut:
            cut.append(done)
            with Queue(queue.url) as other:
                archive(other, str(tmp_path / "a.gz"), now())

    assert queue.status(then=then, progress=progress).json()["pending"] == 1500
    assert cut == [1000]
    cut.clear()
    queue.enqueue_many(["true"] * 1500)
    past = queue.jobs(then=Then(seq=queue.status().seq))
    next(past)
    queue.cancel("2000")
    archive(queue, str(tmp_path / "b.gz"), now())
    with pytest.raises(QueueError, match="jobs were archived while they were listed: ask again"):
        list(past)


def test_every_event_of_a_transaction_is_a_moment(queue: Queue) -> None:
    queue.enqueue_many(["true"] * 5)
    assert [queue.status(then=Then(seq=seq)).total for seq in range(1, 7)] == [1, 2, 3, 4, 5, 5]
    at = queue.status().at
    assert queue.status(then=Then(at=at)).total == 5
    assert queue.status(then=Then(at=at + 10**12)).seq == 5, "nothing has happened since"


def test_a_moment_before_the_first_event_is_refused(queue: Queue) -> None:
    with pytest.raises(NotFound, match="the log had not begun at that moment"):
        queue.status(then=Then(at=1))
    queue.enqueue("true")
    for then in (Then(at=queue.status().at - 1), Then(seq=0)):
        with pytest.raises(NotFound, match="the log had not begun at that moment"):
            next(queue.jobs(then=then))


def test_reading_the_past_drops_no_locks(queue: Queue) -> None:
    """It opens the live file a second time, by the same SQLite, which knows what is still locked (R6)."""
    queue.enqueue("true")
    files = {os.stat(path).st_ino for path in queue.engine.files}

    def locks() -> list[str]:
        lines = Path("/proc/locks").read_text().splitlines()
        mine = [line.split()[1:] for line in lines if line.split()[4] == str(os.getpid())]
        return sorted(" ".join(words) for words in mine if int(words[4].rpartition(":")[2]) in files)

    before = locks()
    assert before
    queue.status(then=Then(seq=1))
    assert locks() == before


def test_reading_the_past_changes_and_blocks_nothing(queue: Queue) -> None:
    queue.enqueue_many(["true"] * 3)
    past = queue.jobs(then=Then(seq=2))
    assert next(past).id == "1"
    assert queue.enqueue("true") == "4"
    assert [job.id for job in past] == ["2"]
    assert queue.check() == []
    assert [job.id for job in queue.jobs()] == ["1", "2", "3", "4"]

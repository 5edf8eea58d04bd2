"""Resources with real workers: what jobs are granted and told, what is given back, and slots of one worker."""

import itertools
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue, Spec
from queuectl.errors import Invalid, Refused
from queuectl.events import Claimed, WorkerStarted
from queuectl.workers.turn import TurnWriter
from tests.support.lab import Lab

STAMP = "date +%s%N >>{0}.begin; sleep 0.15; date +%s%N >>{0}.end"


def granted(queue: Queue, id: str) -> dict[str, Any]:
    [claim] = [record.event for record in queue.events(job=id) if isinstance(record.event, Claimed)]
    return claim.granted


def output(queue: Queue, id: str) -> str:
    return Path(queue.output(id)).read_text().strip()


def test_jobs_are_told_their_pieces(lab: Lab) -> None:
    lab.queue.set_resource("gpu", indices="0-1")
    lab.queue.set_resource("port", indices="20000-20003")
    show = "echo $CUDA_VISIBLE_DEVICES/$ROCR_VISIBLE_DEVICES/$QUEUECTL_GPU/$QUEUECTL_PORT; sleep 0.2"
    ids = [lab.queue.enqueue(show, needs={"gpu": 1}) for _ in range(6)]
    both = lab.queue.enqueue(show, needs={"gpu": 2, "port": 3})
    plain = lab.queue.enqueue(show)

    lab.drain(slots=4, count=2)

    assert {output(lab.queue, id) for id in ids} == {"0/0/0/", "1/1/1/"}
    assert output(lab.queue, both) == "0,1/0,1/0,1/20000,20001,20002"
    assert output(lab.queue, plain) == "///"
    assert granted(lab.queue, both) == {"gpu": (0, 1), "port": (20000, 20001, 20002)}
    assert lab.queue.check() == []


def test_no_piece_is_granted_twice(lab: Lab) -> None:
    lab.queue.set_resource("gpu", indices="0-1")
    ids = [lab.queue.enqueue("sleep 0.05", needs={"gpu": 1}) for _ in range(30)]

    lab.drain(slots=3, count=3)

    spans = sorted(
        (attempt.claimed_at, attempt.ended_at or 0, granted(lab.queue, id)["gpu"])
        for id in ids
        for attempt in lab.queue.attempts(id)
    )
    assert len(spans) == 30
    for (_, ended, [piece]), (claimed, _, [other]) in itertools.combinations(spans, 2):
        assert piece != other or ended <= claimed
    assert any(claimed < ended for (_, ended, _), (claimed, _, _) in itertools.pairwise(spans)), "two at a time"


def test_what_workers_offer_is_not_unset(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        TurnWriter(queue, "w", (), queue.home.identity()).start(1, resources={"gpu": "0-1"})
        assert queue.unset_resources(["gpu", "db"]) == ["db"]


def test_an_unset_resource_is_a_lock(lab: Lab) -> None:
    for _ in range(3):
        lab.queue.enqueue(STAMP.format("lock"), needs={"db": 1}, cwd=str(lab.folder))

    lab.drain(slots=3, count=2)

    begins, ends = (
        [int(line) for line in (lab.folder / f"lock.{name}").read_text().split()] for name in ("begin", "end")
    )
    assert all(end < begin for end, begin in zip(ends, begins[1:], strict=False))


def test_workers_offer_what_their_host_has(lab: Lab) -> None:
    ids = [lab.queue.enqueue("echo $QUEUECTL_GPU", needs={"gpu": 1}) for _ in range(4)]

    lab.drain(slots=4, resources={"gpu": "5,7"})

    assert {output(lab.queue, id) for id in ids} <= {"5", "7"}
    [started] = lab.records("worker_started")
    assert isinstance(started.event, WorkerStarted)
    assert started.event.resources == {"gpu": "5,7"}


def test_another_worker_goes_on_when_a_grant_ends(lab: Lab) -> None:
    """The end of a job that has a lock wakes the worker that has passed over another one."""
    lab.start(queues=["a"])
    lab.start(queues=["b"])
    first = lab.queue.enqueue("sleep 0.5", queue="a", needs={"db": 1})
    lab.processing(first)
    second = lab.queue.enqueue("true", queue="b", needs={"db": 1})
    lab.queue.wait(first, second, timeout=20)
    [one], [two] = lab.queue.attempts(first), lab.queue.attempts(second)
    early, late = sorted((one, two), key=lambda attempt: attempt.claimed_at)
    assert early.ended_at is not None
    assert 0 <= late.claimed_at - early.ended_at < 2_000_000


def test_a_heavy_job_takes_several_slots(lab: Lab) -> None:
    heavy = [lab.queue.enqueue("sleep 0.1", slots=3) for _ in range(2)]
    light = [lab.queue.enqueue("sleep 0.1", slots=2) for _ in range(3)]

    lab.drain(slots=4)

    spans = [
        (attempt.claimed_at, attempt.ended_at or 0, 3 if id in heavy else 2)
        for id in (*heavy, *light)
        for attempt in lab.queue.attempts(id)
    ]
    for moment, _, _ in spans:
        assert sum(slots for begin, end, slots in spans if begin <= moment < end) <= 4


def test_drain_leaves_what_only_a_person_starts(lab: Lab) -> None:
    wide = lab.queue.enqueue("true", slots=3)
    beyond = lab.queue.enqueue("true", needs={"gpu": 9}, held=True)
    lab.queue.release(beyond)

    lab.drain(slots=2)

    assert [lab.queue.job(id).state for id in (wide, beyond)] == ["pending", "pending"]


def test_lowering_takes_nothing_from_holders(lab: Lab) -> None:
    lab.queue.set_resource("mem", 4)
    worker = lab.start(slots=4)
    held = lab.queue.enqueue("sleep 1", needs={"mem": 3})
    lab.until(lambda: lab.queue.job(held).state == "processing")
    lab.queue.set_resource("mem", 1)
    small = lab.queue.enqueue("true", needs={"mem": 1})
    lab.queue.wait(held, small, timeout=20)
    assert lab.queue.job(held).state == "completed"
    [before], [after] = lab.queue.attempts(held), lab.queue.attempts(small)
    assert before.ended_at is not None
    assert after.claimed_at >= before.ended_at
    assert worker.poll() is None


def test_what_can_never_be_is_refused(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        queue.set_resource("gpu", 4)
        head = queue.status().seq
        with pytest.raises(Refused, match="gpu=5, and there are 4: "):
            queue.enqueue("true", needs={"gpu": 5})
        with pytest.raises(Refused, match="lock=2, and there is 1: "):
            queue.enqueue_many(["true", Spec(command="true", needs={"lock": 2})])
        for needs in ({"gpu": 0}, {"gpu": -1}, {"slots": 2}, {"a b": 1}, {"gpu": 1 << 60}):
            with pytest.raises(Invalid):
                queue.enqueue("true", needs=needs)
        for indices in ("0-", "3-1", "-1", "x", "", "0-999999999"):
            with pytest.raises(Invalid):
                queue.set_resource("gpu", indices=indices)
        with pytest.raises(Invalid, match="QUEUECTL_DB"):
            queue.set_resource("db", indices="0-1")
        assert queue.status().seq == head

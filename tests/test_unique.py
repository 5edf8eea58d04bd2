"""Unique keys and `--if-absent`: what is asked for twice is there once."""

import json
from pathlib import Path

import pytest

from queuectl import Queue, Spec
from queuectl.decisions import Outcome, Report
from queuectl.errors import Exists, Invalid, Refused
from queuectl.spec import build
from queuectl.workers.turn import TurnWriter
from tests.support.shell import Shell


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(tmp_path / "q.db")


def end(queue: Queue, *, ok: bool = True) -> None:
    """Claim the first job and end it."""
    writer = TurnWriter(queue, "w1", (), queue.home.identity())
    with queue.engine.snapshot() as view:
        known = view.worker("w1")
    if known is None:
        writer.start(1)
    [claim] = writer.turn([], [], 1).claims
    writer.turn([Report(claim.lease, Outcome(exit_code=0) if ok else Outcome(cause="exit", exit_code=1))], [], 0)


def test_the_same_is_added_once(queue: Queue) -> None:
    first = queue.enqueue("make report", unique="report")
    assert queue.enqueue("make report", unique="report") == first
    assert [record.type for record in queue.events()].count("enqueued") == 1
    end(queue)
    assert queue.enqueue("make report", unique="report") != first


def test_a_retry_still_to_come_keeps_the_key(queue: Queue) -> None:
    first = queue.enqueue("false", unique="k", max_retries=1)
    end(queue, ok=False)
    assert queue.job(first).state == "failed"
    assert queue.enqueue("false", unique="k") == first


@pytest.mark.parametrize("other", [{"cwd": "/"}, {"command": "rm report"}])
def test_another_command_is_refused(queue: Queue, other: dict[str, str]) -> None:
    first = queue.enqueue("make report", unique="report")
    wanted = build({"command": "make report", "unique": "report", **other})
    with pytest.raises(Exists, match=f"job {first} has the key 'report' and runs another command") as caught:
        queue.enqueue(wanted)
    assert caught.value.job == first
    with pytest.raises(Exists, match=f"job {first} has the key 'report' and is pending"):
        queue.enqueue("make report", unique="report", on_duplicate="fail")


def test_a_waiting_job_is_replaced(queue: Queue) -> None:
    queue.enqueue("true", id="before")
    first = queue.enqueue("make report", unique="report", after=("before",))
    assert queue.enqueue("make all", unique="report", on_duplicate="replace", priority=7) == first
    job = queue.job(first)
    assert (job.command, job.priority, job.state, job.watching) == ("make all", 7, "pending", None)
    queue.enqueue("make all", unique="report", on_duplicate="replace", after=("before",))
    assert queue.job(first).state == "blocked"
    assert queue.check() == []


def test_no_replacement_needs_more_than_exists(queue: Queue) -> None:
    id = queue.enqueue("make all", unique="report")
    with pytest.raises(Refused, match="gpu=2, and there is 1"):
        queue.enqueue("make all", unique="report", on_duplicate="replace", needs={"gpu": 2})
    assert queue.job(id).policy.needs == {}


def test_a_running_job_is_not_replaced(queue: Queue) -> None:
    first = queue.enqueue("make report", unique="report")
    writer = TurnWriter(queue, "w1", (), queue.home.identity())
    writer.start(1)
    writer.turn([], [], 1)
    with pytest.raises(Exists, match="can't be replaced any more"):
        queue.enqueue("make all", unique="report", on_duplicate="replace")
    assert queue.enqueue("make report", unique="report") == first


def test_a_retry_yields_to_the_new_holder(queue: Queue) -> None:
    first = queue.enqueue("false", unique="k", max_retries=0)
    other = queue.enqueue("false", id="other", max_retries=0)
    end(queue, ok=False)
    end(queue, ok=False)
    second = queue.enqueue("false", unique="k")
    with pytest.raises(Exists, match=f"job {second} has its unique key 'k' by now"):
        queue.retry(first)
    assert queue.retry(first, other, among=("dead",)) == [other]


@pytest.mark.parametrize("cascade", [False, True])
def test_what_depends_on_the_passed_over_stays(queue: Queue, cascade: bool) -> None:
    first = queue.enqueue("false", unique="k", max_retries=0)
    child = queue.enqueue("true", after=(first,))
    grandchild = queue.enqueue("true", after=(child,))
    other = queue.enqueue("false", id="other", max_retries=0)
    end(queue, ok=False)
    end(queue, ok=False)
    queue.enqueue("false", unique="k")
    assert queue.retry(grandchild, child, first, other, among=("dead", "cancelled"), cascade=cascade) == [other]
    assert [queue.job(id).state for id in (first, child, grandchild)] == ["dead", "cancelled", "cancelled"]


def test_who_is_passed_over_counts_as_ended(queue: Queue) -> None:
    first = queue.enqueue("false", max_retries=0)
    child = queue.enqueue("true", after=(first,))
    end(queue, ok=False)
    assert queue.retry(first, child, among=("cancelled",)) == []
    assert queue.job(child).state == "cancelled"


def test_within_one_call_the_first_counts(queue: Queue) -> None:
    ids = queue.enqueue_many([
        Spec(command="a", unique="k", name="first"),
        Spec(command="b", after=("@second",)),
        Spec(command="a", unique="k", name="second"),
    ])  # fmt: skip
    assert ids[0] == ids[2]
    assert queue.job(ids[1]).policy.after == (ids[0],)
    with pytest.raises(Refused, match="'k2' is given to two jobs that run different commands"):
        queue.enqueue_many([Spec(command="a", unique="k2"), Spec(command="b", unique="k2")])


@pytest.mark.parametrize("gone", [False, True])
def test_an_own_id_is_there_once(queue: Queue, gone: bool) -> None:
    assert queue.enqueue("true", id="order-17", if_absent=True) == "order-17"
    if gone:
        queue.cancel("order-17")
        queue.purge("order-17")
    assert queue.enqueue("false", id="order-17", if_absent=True) == "order-17"
    assert [record.type for record in queue.events()].count("enqueued") == 1
    with pytest.raises(Exists, match="there is a job 'order-17' already"):
        queue.enqueue("true", id="order-17")
    with pytest.raises(Invalid, match="an id of your own"):
        queue.enqueue("true", if_absent=True)


def test_an_own_id_twice_in_one_call(queue: Queue) -> None:
    spec = Spec(command="true", id="order-17", if_absent=True)
    assert queue.enqueue_many([spec, spec]) == ["order-17", "order-17"]
    assert [record.type for record in queue.events()].count("enqueued") == 1
    with pytest.raises(Refused, match="id 'order-18' is given twice"):
        queue.enqueue_many([Spec(command="true", id="order-18")] * 2)


def test_the_second_of_a_call_can_fail(queue: Queue) -> None:
    with pytest.raises(Refused, match="'k' is given to two jobs, and the second is to fail"):
        queue.enqueue_many([Spec(command="a", unique="k", on_duplicate="fail")] * 2)
    assert [*queue.jobs()] == []


def test_a_replacement_can_be_held(queue: Queue) -> None:
    queue.enqueue("a", unique="k")
    queue.enqueue("b", unique="k", on_duplicate="replace", held=True)
    queue.enqueue("c", unique="k", on_duplicate="replace")
    assert (queue.job("1").command, queue.job("1").held) == ("c", True)
    assert queue.check() == []


def test_a_duplicate_of_no_key_is_refused(queue: Queue) -> None:
    with pytest.raises(Invalid, match="on_duplicate: is for a job with a unique key"):
        queue.enqueue("true", on_duplicate="replace")


def test_the_command_line_tells_what_was_there(queuectl: Shell) -> None:
    first = queuectl("enqueue", "--unique", "k", "true").ok().lines[0]
    again = queuectl("enqueue", "--unique", "k", "--json", "true").ok().json
    assert (again["id"], again["deduplicated"]) == (first, True)
    assert "deduplicated" not in queuectl("enqueue", "--json", "true").ok().json
    told = queuectl("enqueue", "--unique", "k", "false").refused(3)
    assert told.startswith(f"unique: job {first} has the key 'k' and runs another command: true; choose another key")
    line = json.dumps({"command": "true", "unique": "k"})
    (queuectl.folder / "jobs").write_text(f"{line}\n" * 3)
    assert queuectl("enqueue", "--file", "jobs").ok().lines == [first] * 3
    queuectl("enqueue", "--unique", "", "true").refused(2)

"""Editing: what was asked is changed where nothing of it has been done yet, all or none, and the log says it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from queuectl import Queue
from queuectl.clock import SECOND, now
from queuectl.decisions import Outcome, Report
from queuectl.errors import Invalid, NotFound, Refused
from queuectl.options import EDITABLE, OPTIONS, is_editable
from queuectl.workers.turn import Claim, TurnWriter

DONE, FAILED = Outcome(exit_code=0), Outcome(cause="exit", exit_code=1)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db", actor="test") as queue:
        yield queue
        assert queue.check() == []


@pytest.fixture
def worker(queue: Queue) -> TurnWriter:
    writer = TurnWriter(queue, "w1", (), queue.home.identity())
    writer.start(8)
    return writer


def claim(worker: TurnWriter) -> Claim:
    [claim] = worker.turn([], [], 1).claims
    return claim


def edits(queue: Queue, id: str) -> list[dict[str, Any]]:
    """What the edits of a job have changed."""
    return [msgspec.json.decode(record.data)["changes"] for record in queue.events(job=id, type="edited")]


def test_a_waiting_job_becomes_another(queue: Queue, worker: TurnWriter) -> None:
    id = queue.enqueue("false", priority=3)
    assert queue.edit(id, command="true", priority=1, timeout=None, reason="typo") == [id]
    assert edits(queue, id) == [{"command": ["false", "true"], "priority": [3, 1], "timeout": [60.0, None]}]
    [edited] = queue.events(type="edited")
    assert msgspec.json.decode(edited.data)["reason"] == "typo"
    job = claim(worker).job
    assert (job.command, job.priority, job.timeout, job.attempt) == ("true", 1, None, 1)
    assert job.policy.reason is None, "the reason of the edit is not that of the job"


def test_what_is_so_already_is_no_edit(queue: Queue) -> None:
    id = queue.enqueue("true", tags={"exp": "3"}, env={"A": "1"}, secrets={"TOKEN": "x"})
    before = queue.job(id).version
    assert queue.edit(id, command="true", tags={"exp": "3"}, secrets={"TOKEN": "x"}, queue="default") == []
    assert queue.edit(id, reason="none") == []
    assert queue.job(id).version == before


def test_several_get_the_change_or_none(queue: Queue, worker: TurnWriter) -> None:
    first, second = queue.enqueue("true"), queue.enqueue("true", priority=5)
    assert claim(worker).job.id == second
    with pytest.raises(Refused, match=f"job {second} is processing: its command can't be changed"):
        queue.edit(first, second, command="false")
    with pytest.raises(NotFound):
        queue.edit(first, "gone", command="false")
    assert edits(queue, first) == []
    assert queue.edit(first, second, tags={"exp": "4"}) == [first, second]
    assert queue.edit(first, second, "gone", among=("pending",), command="false") == [first]


@pytest.mark.parametrize("name", ["command", "argv", *(name for name in EDITABLE if name != "reason")])
def test_later_phases_allow_less(queue: Queue, worker: TurnWriter, name: str) -> None:
    """Each field while the job is blocked, waits, runs and has ended; what is refused changes nothing."""
    values: dict[str, Any] = {
        "command": "false", "argv": ("ls",), "queue": "other", "priority": 2, "delay": 5.0, "at": now(),
        "max_retries": 7, "backoff_base": 3.0, "backoff_max": 9.0, "jitter": 0.5, "backoff": (1.0,), "timeout": 9.0,
        "on_lost": "dead", "keep_children": True, "nice": 1, "memory_limit": 1 << 30, "grace": 1.0,
        "stop_signal": "INT", "ok_codes": (3,), "no_retry_codes": (4,), "needs": {"db": 1}, "slots": 2,
        "after": ("p2",), "after_any": ("p2",), "after_failure": ("p2",), "tags": {"x": "1"}, "cwd": "/",
        "stdin": "/etc/hostname", "shell": "/bin/bash", "env": {"A": "1"}, "env_in_log": ("A",),
        "secrets": {"TOKEN": "x"}, "split_output": True, "on_complete": "a", "on_failure": "b", "on_end": "c",
    }  # fmt: skip
    change: Any = {name: values[name]}
    told: list[str] = []

    def tried(id: str) -> bool:
        before = queue.job(id)
        try:
            changed = queue.edit(id, **change)
        except Refused as error:
            told.append(str(error))
            return queue.job(id) != before
        assert changed == ([id] if name != "env_in_log" else []), "it only lets another option through"
        return True

    queue.enqueue("true", id="p1", held=True)
    queue.enqueue("true", id="p2", held=True)
    queue.enqueue("true", id="blocked", after=("p1",))
    queue.enqueue("true", id="ended", priority=2)
    ended = claim(worker)
    worker.turn([Report(ended.lease, DONE)], [], 0)
    queue.enqueue("true", id="running")
    assert claim(worker).job.id == "running"
    queue.enqueue("true", id="waiting")
    found = [tried(id) for id in ("blocked", "waiting", "running", "ended")]
    assert found == [is_editable(name, phase) for phase in ("blocked", "waiting", "running", "ended")]
    assert found[0]
    key = next((option.key for option in OPTIONS if option.name == name), "command")
    assert all(f"its {key} can't be changed" in each for each in told)


def test_only_tags_and_limits_outlast_the_start() -> None:
    names = [option.name for option in OPTIONS]
    running = [name for name in names if is_editable(name, "running")]
    assert running == [
        "max_retries", "timeout", "on_lost", "tags", "on_complete", "on_failure", "on_end", "reason",
    ]  # fmt: skip
    assert [name for name in names if is_editable(name, "ended")] == ["tags", "reason"]
    never = {"id", "name", "held", "unique", "on_duplicate", "if_absent"}
    assert never <= {name for name in names if name not in EDITABLE}


def test_what_is_refused_says_what_to_do(queue: Queue, worker: TurnWriter) -> None:
    id = queue.enqueue("true", id="a b")
    held = claim(worker)
    with pytest.raises(Refused) as running:
        queue.edit(id, command="false")
    assert str(running.value) == (
        "job a b is processing: its command can't be changed while it runs, only max-retries, timeout, on-lost and "
        "4 more, and once it has ended `queuectl retry 'a b' --command …` does that"
    )
    worker.turn([Report(held.lease, DONE)], [], 0)
    with pytest.raises(Refused) as ended:
        queue.edit(id, memory_limit=None)
    assert str(ended.value) == (
        "job a b is completed: its memory-limit can't be changed any more, only tag; "
        "`queuectl retry 'a b' --memory-limit …` runs it again so"
    )
    with pytest.raises(Refused, match=r"its queue can't be changed any more, only tag$"):
        queue.edit(id, queue="other")


@pytest.mark.parametrize("name", ["id", "unique", "held", "nonsense"])
def test_what_no_edit_changes_is_named(queue: Queue, name: str) -> None:
    change: Any = {name: "x"}
    with pytest.raises(Invalid, match=f"{name} can't be changed; what can: after, "):
        queue.edit(queue.enqueue("true"), **change)


def test_mappings_are_added_to_or_replaced(queue: Queue) -> None:
    id = queue.enqueue("true", tags={"exp": "3", "urgent": ""}, env={"A": "1", "B": "2"})
    queue.edit(id, tags={"exp": "4"}, env={"A": "9"})
    assert queue.job(id).policy.tags == {"exp": "4", "urgent": ""}
    assert queue.job(id).policy.env == {"A": "9", "B": "2"}
    queue.edit(id, tags={}, env={"C": "3"}, whole=("tags", "env"))
    assert (queue.job(id).policy.tags, queue.job(id).policy.env) == ({}, {"C": "3"})


def test_a_job_that_changed_is_not_overwritten(queue: Queue) -> None:
    id = queue.enqueue("true")
    read = queue.job(id)
    queue.edit(id, priority=1)
    with pytest.raises(Refused, match=f"job {id} has changed since it was read"):
        queue.edit(id, version=read.version, priority=2)
    assert queue.edit(id, version=queue.job(id).version, priority=3) == [id]
    with pytest.raises(Invalid, match="version: is that of one job"):
        queue.edit(id, queue.enqueue("true"), version=1, priority=4)


def test_a_retry_is_put_off_by_itself_alone(queue: Queue, worker: TurnWriter) -> None:
    id = queue.enqueue("false", backoff=(3600.0,))
    asked = queue.job(id).run_at
    worker.turn([Report(claim(worker).lease, FAILED)], [], 0)
    due = queue.job(id).run_at
    queue.edit(id, priority=4)
    assert (queue.job(id).state, queue.job(id).run_at) == ("failed", due)
    queue.edit(id, delay=7200.0)
    assert queue.job(id).run_at - due > 3000 * SECOND
    queue.edit(id, at=asked)
    assert claim(worker).job.attempt == 2


def test_a_moved_job_waits_in_its_new_queue(queue: Queue) -> None:
    id = queue.enqueue("true")
    queue.edit(id, queue="night")
    mail = TurnWriter(queue, "w2", ("night",), queue.home.identity())
    mail.start(1)
    assert queue.status("default").counts["pending"] == 0
    assert queue.status("night").counts["pending"] == 1
    assert claim(mail).job.id == id


def test_secret_values_are_given_anew(queue: Queue, worker: TurnWriter) -> None:
    id = queue.enqueue("true", secrets={"TOKEN": "old"})
    assert queue.edit(id, secrets={"TOKEN": "new"}) == [id]
    assert queue.edit(id, secrets={"OTHER": "value"}) == [id]
    assert edits(queue, id) == [{"secrets": [["TOKEN"]] * 2}, {"secrets": [["TOKEN"], ["OTHER", "TOKEN"]]}]
    assert claim(worker).secrets == {"TOKEN": "new", "OTHER": "value"}
    assert not any("new" in record.data or "value" in record.data for record in queue.events(type="edited"))


def test_what_comes_together_is_checked_as_a_whole(queue: Queue) -> None:
    id = queue.enqueue("true", secrets={"TOKEN": "x"}, ok_codes=(3,), tags={str(n): "" for n in range(100)})
    words = queue.enqueue(["true"])
    before = queue.job(id)
    for wrong, told in (
        ({"env": {"TOKEN": "x"}, "env_in_log": ("TOKEN",)}, "TOKEN as a secret and not as one"),
        ({"no_retry_codes": (3,)}, "exit code 3 is among"),
        ({"tags": {"more": ""}}, "tag: 101 of them"),
        ({"needs": {"db": 2}}, "db=2, and there is 1"),
    ):
        change: Any = wrong
        with pytest.raises((Invalid, Refused), match=told):
            queue.edit(id, **change)
    with pytest.raises(Invalid, match="is given as words, and run without a shell"):
        queue.edit(words, shell="/bin/bash")
    assert queue.job(id) == before
    queue.hold(id)
    assert queue.edit(id, needs={"db": 2}) == [id], "a held job may need what is to come"


def test_fewer_retries_count_for_what_runs(queue: Queue, worker: TurnWriter) -> None:
    id = queue.enqueue("false", max_retries=3)
    held = claim(worker)
    queue.edit(id, max_retries=0)
    worker.turn([Report(held.lease, FAILED)], [], 0)
    assert queue.job(id).state == "dead"


def test_a_retry_is_checked_as_an_edit(queue: Queue) -> None:
    id = queue.enqueue(["true"])
    queue.cancel(id)
    with pytest.raises(Invalid, match="is given as words"):
        queue.retry(id, shell="/bin/bash")
    with pytest.raises(Refused, match="db=2, and there is 1"):
        queue.retry(id, needs={"db": 2})
    queue.retry(id, command="false", reason="again")
    assert [record.type for record in queue.events(job=id)][-2:] == ["edited", "requeued"]
    assert edits(queue, id) == [{"command": [None, "false"], "argv": [["true"], None]}]


def test_a_replaced_job_has_the_new_secrets(queue: Queue, worker: TurnWriter) -> None:
    id = queue.enqueue("true", unique="k")
    assert queue.enqueue("false", unique="k", on_duplicate="replace", secrets={"TOKEN": "x"}) == id
    assert claim(worker).secrets == {"TOKEN": "x"}


# -- what it depends on ----------------------------------------------------------------------------------------------


@pytest.fixture
def chain(queue: Queue) -> Queue:
    """Of a, b and c each waits for the one before; p waits for nobody, and d for it."""
    for id, after in (("a", ("p",)), ("b", ("a",)), ("c", ("b",)), ("d", ("p",))):
        if id == "a":
            queue.enqueue("true", id="p")
        queue.enqueue("true", id=id, after=after)
    return queue


def run(queue: Queue, worker: TurnWriter) -> list[str]:
    """Run all that may start; the ids in the order in which they did."""
    order: list[str] = []
    while claims := worker.turn([], [], 1).claims:
        order.append(claims[0].job.id)
        worker.turn([Report(claims[0].lease, DONE)], [], 0)
    return order


def states(queue: Queue) -> dict[str, str]:
    return {job.id: job.state for job in queue.jobs()}


def test_a_blocked_job_waits_for_others(chain: Queue, worker: TurnWriter) -> None:
    chain.edit("a", after=("d",))
    assert edits(chain, "a") == [{"after": [["p"], ["d"]], "watching": ["p", "d"]}]
    assert chain.job("a").watching == "d"
    assert run(chain, worker) == ["p", "d", "a", "b", "c"]


def test_where_all_is_met_it_starts(chain: Queue, worker: TurnWriter) -> None:
    chain.edit("b", after=())
    assert (chain.job("b").state, chain.job("b").watching) == ("pending", None)
    worker.turn([Report(claim(worker).lease, DONE)], [], 0)
    chain.edit("c", after=("p",))
    assert chain.job("c").state == "pending"
    with pytest.raises(Refused, match="its after can't be changed any more: only while it is blocked"):
        chain.edit("c", after=("a",))
    assert {*run(chain, worker)} == {"a", "b", "c", "d"}


@pytest.mark.parametrize(
    "id, kind, parents, told",
    [
        ("a", "after", ("c",), "after: a -> c -> b -> a: they wait for each other"),
        ("a", "after_any", ("p", "c"), "after: a -> c -> b -> a: they wait for each other"),
        ("a", "after_failure", ("a",), "after: a -> a: it waits for itself"),
        ("b", "after", ("nobody",), "after: there is no job 'nobody'"),
        ("b", "after", ("@a",), "after: there is no job '@a'"),
    ],
)
def test_what_can_never_be_met_is_refused(
    chain: Queue, id: str, kind: str, parents: tuple[str, ...], told: str
) -> None:
    before = {job.id: job for job in chain.jobs()}
    change: Any = {kind: parents}
    with pytest.raises(Invalid) as caught:
        chain.edit("d", id, **change)
    assert str(caught.value).startswith(told)
    assert {job.id: job for job in chain.jobs()} == before


def test_a_circle_through_ended_jobs_is_refused(chain: Queue, worker: TurnWriter) -> None:
    """They could be run again together, and would wait for each other then."""
    assert run(chain, worker) == ["p", "a", "b", "c", "d"]
    chain.retry("p", "a")
    assert states(chain) == {"p": "pending", "a": "blocked", "b": "completed", "c": "completed", "d": "completed"}
    with pytest.raises(Invalid, match="after: a -> c -> b -> a: they wait for each other"):
        chain.edit("a", after=("c",))


def test_a_job_that_would_never_start_is_refused(chain: Queue) -> None:
    chain.enqueue("true", id="f", held=True)
    chain.cancel("f")
    with pytest.raises(Refused, match="job b would never start: of what it depends on, f is cancelled"):
        chain.edit("b", after=("f",))
    chain.edit("b", after=(), after_failure=("f",))
    assert chain.job("b").state == "pending"


def test_another_option_leaves_its_wait_alone(chain: Queue, worker: TurnWriter) -> None:
    chain.edit("a", priority=7)
    assert edits(chain, "a") == [{"priority": [0, 7]}]
    assert run(chain, worker) == ["p", "a", "b", "c", "d"]


def test_no_job_waits_for_its_own_batch(queue: Queue) -> None:
    queue.enqueue("true", id="p", held=True)
    queue.enqueue("true", id="a", batch="night", after=("p",))
    queue.enqueue("true", id="b", after=("batch:night",))
    for parents, words in ((("batch:night",), "a -> batch:night"), (("b",), "a -> b -> batch:night")):
        with pytest.raises(Invalid, match=f"after: {words}, of which it is: they wait for each other"):
            queue.edit("a", after=parents)
    with pytest.raises(Invalid, match="after: there is no batch 'day'"):
        queue.edit("a", after=("batch:day",))
    queue.enqueue("true", id="c", batch="day")
    assert queue.edit("a", after=("batch:day",)) == ["a"]
    assert queue.job("a").watching == "c"


def test_a_replaced_job_does_not_wait_for_itself(queue: Queue) -> None:
    queue.enqueue("true", id="a", unique="k")
    queue.enqueue("true", id="b", after=("a",))
    with pytest.raises(Invalid, match="after: a -> b -> a: they wait for each other"):
        queue.enqueue("true", unique="k", on_duplicate="replace", after=("b",))
    assert queue.job("a").state == "pending"

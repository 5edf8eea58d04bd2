"""Batches: jobs of one name are counted, waited for, halted and run again together."""

from pathlib import Path

import pytest

from queuectl import Spec
from queuectl.audit.archive import archive
from queuectl.cli.ui.event_wording import event_text
from queuectl.clock import now
from queuectl.decisions import Outcome, Release, Report
from queuectl.engines import dependants
from queuectl.errors import Deadline, Invalid, NotFound, Refused
from queuectl.halt import halt_rule
from tests.support.one_worker import FAILED, OneWorker


@pytest.fixture
def one(tmp_path: Path) -> OneWorker:
    return OneWorker(tmp_path)


def counts(one: OneWorker, batch: str) -> dict[str, int]:
    return {state: jobs for state, jobs in one.queue.batch(batch).counts.items() if jobs}


def events(one: OneWorker, batch: str) -> list[str]:
    with one.queue.engine.snapshot() as view:
        return [record.type for record in view.stream(f"batch:{batch}")]


# -- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rule, counts, met",
    [
        ("soon,fail=2", {"dead": 1, "cancelled": 5}, False),
        ("soon,fail=2", {"dead": 2}, True),
        ("now,success=1", {"dead": 9}, False),
        ("now,success=1", {"completed": 1}, True),
        ("soon,done=3", {"dead": 1, "cancelled": 1, "completed": 1}, True),
        ("now,fail=10%", {"dead": 9}, False),
        ("now,fail=10%", {"dead": 1, "completed": 9}, True),
        ("now,fail=10%", {"dead": 1, "completed": 10}, False),
        ("now,fail=100%", {"dead": 9, "completed": 1}, False),
    ],
)
def test_a_rule_is_met_by_present_counts(rule: str, counts: dict[str, int], met: bool) -> None:
    assert halt_rule(rule).is_met(counts) is met


@pytest.mark.parametrize(
    "text",
    ["", "3", "soon", "later,fail=1", "soon,fail", "soon,fail=0", "soon,fail=-1", "now,fail=101%", "now,fail=x%"],
)
def test_what_is_no_rule_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="halt: "):
        halt_rule(text)


def test_a_rule_is_written_one_way() -> None:
    assert str(halt_rule(" soon , fail = 10 % ")) == "soon,fail=10%"


# -- what belongs to a batch -----------------------------------------------------------------------------------------


def test_a_batch_begins_with_its_first_job(one: OneWorker) -> None:
    with pytest.raises(NotFound):
        one.queue.batch("b")
    one.queue.enqueue_many([Spec(command="true", batch="b")] * 3)
    one.add("d", batch="b")
    assert (events(one, "b"), counts(one, "b")) == (["batch_opened"], {"pending": 4})
    assert [job.id for job in one.queue.jobs(batch="b", state="pending")] == ["1", "2", "3", "d"]
    assert one.queue.check() == []


def test_what_was_refused_opens_no_batch(one: OneWorker) -> None:
    with pytest.raises(Refused):
        one.queue.enqueue_many(
            [Spec(command="true", batch="b"), Spec(command="true", id="x"), Spec(command="true", id="x")]
        )
    assert one.queue.batches() == []


def test_another_rule_for_a_batch_is_refused(one: OneWorker) -> None:
    one.add("a", batch="b", halt="soon,fail=1")
    one.add("same", batch="b", halt="soon,fail=1")
    with pytest.raises(Refused, match="has the rule soon,fail=1, not now,fail=1"):
        one.add("c", batch="b", halt="now,fail=1")
    one.add("d", batch="plain")
    with pytest.raises(Refused, match="opened without a rule"):
        one.add("e", batch="plain", halt="now,fail=1")
    with pytest.raises(Refused, match="two rules"):
        one.queue.enqueue_many(
            [Spec(command="true", batch="n", halt="soon,fail=1"), Spec(command="true", batch="n", halt="soon,fail=2")]
        )
    with pytest.raises(Invalid, match="give --batch"):
        one.add("f", halt="now,fail=1")
    assert one.states() == {"a": "pending", "same": "pending", "d": "pending"}


def test_archived_jobs_count_and_purged_ones_do_not(one: OneWorker, tmp_path: Path) -> None:
    for id in ("a", "b", "c"):
        one.add(id, batch="x")
    one.run()
    one.queue.purge("c")
    assert counts(one, "x") == {"completed": 2}
    assert archive(one.queue, str(tmp_path / "old.gz"), now()).jobs == 3
    assert counts(one, "x") == {"completed": 2}
    assert one.queue.check() == []
    one.queue.replay()
    assert counts(one, "x") == {"completed": 2}


def test_no_job_is_archived_while_others_run(one: OneWorker, tmp_path: Path) -> None:
    for id in ("a", "b", "alone"):
        one.add(id, batch="x" if id != "alone" else None)
    one.claim()
    one.end("a", "alone")
    assert archive(one.queue, str(tmp_path / "1.gz"), now()).jobs == 1
    one.end("b")
    assert archive(one.queue, str(tmp_path / "2.gz"), now()).jobs == 2


# -- halting ---------------------------------------------------------------------------------------------------------


def test_soon_cancels_what_waits_and_nothing_else(one: OneWorker) -> None:
    for id in ("a", "b", "c"):
        one.add(id, batch="x", halt="soon,fail=1")
    one.add("held", batch="x", held=True)
    one.add("blocked", batch="x", after=("b",))
    one.add("other")
    assert one.claim(2) == ["a", "b"]
    one.end("a", outcome=FAILED)
    assert one.states() == {
        "a": "dead", "b": "processing", "c": "cancelled", "held": "cancelled", "blocked": "cancelled",
        "other": "pending",
    }  # fmt: skip
    job = one.queue.job("c")
    assert (job.cause, job.error) == ("halt", "its batch x was halted")
    one.end("b")
    assert counts(one, "x") == {"completed": 1, "dead": 1, "cancelled": 3}
    assert events(one, "x") == ["batch_opened", "batch_halted"]
    assert one.queue.check() == []


def test_now_ends_what_runs_as_well(one: OneWorker) -> None:
    for id in ("a", "b"):
        one.add(id, batch="x", halt="now,success=1")
    one.claim()
    one.end("a")
    assert one.queue.job("b").cancel_requested
    one.end("b", outcome=Outcome(cause="cancel", signal=15))
    job = one.queue.job("b")
    assert (job.state, job.cause) == ("cancelled", "halt")
    told = [event_text(record) for record in one.queue.events(job="b", type="cancel_requested")]
    assert told == ["asked to be cancelled: its batch was halted"]


def test_what_runs_is_not_tried_again(one: OneWorker) -> None:
    one.queue.enqueue("true", id="a", max_retries=0, batch="x", halt="soon,fail=1")
    for id in ("fails", "given-back"):
        one.queue.enqueue("true", id=id, max_retries=3, batch="x")
    one.claim()
    one.end("a", outcome=FAILED)
    lease = one.held.pop("given-back").lease
    one.writer.turn([], [Release(lease, "not started in time")], 0, holding=[one.held["fails"].lease])
    one.end("fails", outcome=FAILED)
    assert one.types("fails")[-3:] == ["failed", "retried", "cancelled"]
    assert counts(one, "x") == {"dead": 1, "cancelled": 2}


def test_ends_of_one_turn_halt_once(one: OneWorker) -> None:
    one.queue.enqueue_many([Spec(command="true", max_retries=0, batch="x", halt="soon,fail=1")] * 10)
    ids = one.claim(5)
    one.end(*ids, outcome=FAILED)
    assert counts(one, "x") == {"dead": 5, "cancelled": 5}
    assert events(one, "x") == ["batch_opened", "batch_halted"]


def test_nothing_joins_a_halted_batch(one: OneWorker) -> None:
    one.add("a", batch="x", halt="soon,fail=1")
    one.claim()
    one.end("a", outcome=FAILED)
    with pytest.raises(Refused, match="batch x is halted"):
        one.add("b", batch="x")


def test_many_are_cancelled_a_part_at_a_time(one: OneWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependants, "MOST", 10)
    one.add("a", batch="x", halt="soon,fail=1", priority=1)
    rest = one.queue.enqueue_many([Spec(command="true", batch="x")] * 25)
    one.queue.enqueue_many([Spec(command="true", after=(id,)) for id in rest])
    one.claim(1)
    one.writer.turn([Report(one.held.pop("a").lease, FAILED)], [], 0)
    assert counts(one, "x") == {"dead": 1, "cancelled": 5, "pending": 20}
    assert one.claim() == [], "what is left starts no more"
    assert {reason.kind for reason in one.queue.reasons(rest[-1])} >= {"halted"}
    with pytest.raises(Refused, match="not all of its jobs are cancelled yet"):
        one.queue.retry("a")
    one.cascade(True)
    assert set(one.states().values()) == {"dead", "cancelled"}
    assert events(one, "x") == ["batch_opened", "batch_halted", "cascaded"]
    assert one.queue.check() == []


def test_no_job_of_a_rule_is_claimed_ahead(tmp_path: Path) -> None:
    one = OneWorker(tmp_path, slots=1)
    one.queue.enqueue_many([Spec(command="true", batch="x", halt="soon,fail=1")] * 5)
    turn = one.writer.turn([], [], 4, free=1)
    assert ([claim.job.id for claim in turn.claims], turn.slots_wanted) == (["1"], True)


# -- run again -------------------------------------------------------------------------------------------------------


def test_a_retry_takes_what_died_and_was_halted(one: OneWorker) -> None:
    for id in ("a", "b", "c"):
        one.add(id, batch="x", halt="soon,fail=1")
    one.add("behind", batch="x", after=("a",))
    one.add("outside", after=("a",))
    one.queue.cancel("b")
    one.claim(1)
    one.end("a", outcome=FAILED)
    assert one.queue.retry(batch="x") == ["a", "c", "behind"]
    assert one.states() == {
        "a": "pending", "b": "cancelled", "c": "pending", "behind": "blocked", "outside": "cancelled",
    }  # fmt: skip
    assert events(one, "x") == ["batch_opened", "batch_halted", "batch_reopened"]
    one.add("more", batch="x")
    one.run()
    assert counts(one, "x") == {"completed": 4, "cancelled": 1}


def test_with_cascade_a_retry_goes_beyond_it(one: OneWorker) -> None:
    one.add("a", batch="x")
    one.add("outside", after=("batch:x",))
    one.claim()
    one.end("a", outcome=FAILED)
    assert one.queue.retry(batch="x", cascade=True) == ["a", "outside"]
    assert one.run() == ["a", "outside"]


def test_one_job_run_again_opens_its_batch(one: OneWorker) -> None:
    one.add("a", batch="x", halt="soon,fail=1")
    one.add("b", batch="x")
    one.claim(1)
    one.end("a", outcome=FAILED)
    one.queue.retry("a")
    assert not one.queue.batch("x").state.is_halted
    one.claim()
    one.end("a", outcome=FAILED)
    assert one.queue.batch("x").state.is_halted


def test_a_retry_of_no_batch_is_refused(one: OneWorker) -> None:
    with pytest.raises(Invalid, match="give it or ids"):
        one.queue.retry("a", batch="y")
    with pytest.raises(NotFound, match="no batch 'x'"):
        one.queue.retry(batch="x")


# -- after a batch ---------------------------------------------------------------------------------------------------


def test_a_job_starts_after_a_whole_batch(one: OneWorker) -> None:
    one.queue.enqueue_many([Spec(command="true", batch="x")] * 3)
    one.add("after", after=("batch:x",))
    one.add("late", batch="x")
    assert one.run() == ["1", "2", "3", "late", "after"]
    assert one.queue.check() == []


def test_a_failure_in_a_batch_decides_at_once(one: OneWorker) -> None:
    for id in ("a", "b"):
        one.add(id, batch="x")
    one.add("all", after=("batch:x",))
    one.add("ends", after_any=("batch:x",))
    one.add("clean", after_failure=("batch:x",))
    one.claim()
    one.end("a", outcome=FAILED)
    assert [one.states()[id] for id in ("all", "ends", "clean")] == ["cancelled", "blocked", "pending"]
    assert one.queue.job("all").error == "a ended so that it never starts"
    one.end("b")
    assert one.states()["ends"] == "pending"


def test_a_batch_that_completed_needs_no_clean_up(one: OneWorker) -> None:
    one.add("a", batch="x")
    one.add("clean", after_failure=("batch:x",))
    one.run()
    assert one.states() == {"a": "completed", "clean": "cancelled"}


def test_a_batch_that_is_archived_still_counts(one: OneWorker, tmp_path: Path) -> None:
    one.add("a", batch="good")
    one.add("b", batch="bad")
    one.claim()
    one.end("a")
    one.end("b", outcome=FAILED)
    archive(one.queue, str(tmp_path / "old.gz"), now())
    one.add("then", after=("batch:good",))
    assert one.run() == ["then"]
    one.add("new", batch="bad")
    with pytest.raises(Refused, match="batch:bad is dead"):
        one.add("never", after=("batch:bad",))


def test_many_wait_for_a_batch_of_many(one: OneWorker) -> None:
    one.queue.enqueue_many([Spec(command="true", batch="x")] * 60)
    one.queue.enqueue_many([Spec(command="true", after=("batch:x",))] * 60)
    one.run()
    assert set(one.states().values()) == {"completed"}
    moves = list(one.queue.events(type="waiting_for"))
    assert moves == [], "all end in the order in which they were expected to"


@pytest.mark.parametrize(
    "specs, words",
    [
        ([{"batch": "x", "after": ("batch:x",)}], "1 -> batch:x -> 1: it waits for itself"),
        (
            [{"name": "a", "batch": "x", "after": ("@b",)}, {"name": "b", "after": ("batch:x",)}],
            "a -> b -> batch:x -> a: they wait for each other",
        ),
    ],
)
def test_a_circle_through_a_batch_is_refused(one: OneWorker, specs: list[dict[str, object]], words: str) -> None:
    with pytest.raises(Invalid, match=words):
        one.queue.enqueue_many([Spec(command="true", **spec) for spec in specs])  # pyright: ignore[reportArgumentType]
    assert one.states() == {}


def test_joining_an_awaited_batch_makes_no_circle(one: OneWorker) -> None:
    one.add("a", batch="x")
    one.add("b", after=("batch:x",), batch="y")
    one.add("c", after=("batch:y",))
    with pytest.raises(Invalid, match="new -> c -> batch:y -> b -> batch:x, which it would join"):
        one.add("new", batch="x", after=("c",))
    one.add("fine", batch="x", after=("a",))
    assert one.run() == ["a", "fine", "b", "c"]
    with pytest.raises(Invalid, match="which it would join"):
        one.add("new", batch="x", after=("c",))  # a retry of c would wait for it


def test_an_unknown_batch_is_no_dependency(one: OneWorker) -> None:
    with pytest.raises(Invalid, match="after: there is no batch 'x'"):
        one.add("a", after=("batch:x",))


# -- waiting ---------------------------------------------------------------------------------------------------------


def test_one_waits_for_a_batch_until_it_rests(one: OneWorker) -> None:
    for id in ("a", "b"):
        one.add(id, batch="x")
    one.add("other")
    with pytest.raises(Deadline, match="2 jobs: 2 pending"):
        one.queue.wait(batch="x", timeout=0)
    one.queue.hold("b")
    with pytest.raises(Deadline):
        one.queue.wait(batch="x", timeout=0)
    one.claim(1)
    one.end("a")
    assert [job.id for job in one.queue.wait(batch="x", timeout=0)] == ["a"], "b waits for a person"
    one.queue.release("b")
    one.queue.pause()
    assert [job.id for job in one.queue.wait(batch="x", timeout=0)] == ["a"]
    one.queue.start("b")
    with pytest.raises(Deadline):
        one.queue.wait(batch="x", timeout=0)


def test_blocked_jobs_of_a_batch_are_live(one: OneWorker) -> None:
    one.add("before")
    one.add("a", batch="x", after=("before",))
    with pytest.raises(Deadline, match="1 job: 1 blocked"):
        one.queue.wait(batch="x", timeout=0)
    one.queue.hold("before")
    assert one.queue.wait(batch="x", timeout=0) == []


def test_a_batch_is_part_of_filters(one: OneWorker) -> None:
    one.add("a", batch="night-1")
    one.add("b", batch="night-2")
    one.add("c")
    assert [job.id for job in one.queue.jobs(where="batch:night-1")] == ["a"]
    assert [job.id for job in one.queue.jobs(where="batch:night-*")] == ["a", "b"]
    assert [job.id for job in one.queue.jobs(where="-batch:night-1")] == ["b", "c"]
    assert [job.id for job in one.queue.jobs(where="batch:night-1", batch="night-2")] == []


def test_a_replaced_job_stays_in_its_batch(one: OneWorker) -> None:
    one.queue.enqueue("true", unique="k", batch="x")
    one.queue.enqueue("false", unique="k", on_duplicate="replace", batch="y")
    assert (one.queue.job("1").command, one.queue.job("1").batch) == ("false", "x")
    assert [batch.name for batch in one.queue.batches()] == ["x"]

"""Dependencies: jobs start after those that they depend on, and none is forgotten (R32)."""

from pathlib import Path
from random import Random

import pytest

from projections.dependencies import DEPENDENCY_KINDS, DependencyQuestions, Parent
from projections.jobs import FINAL, Job
from queuectl import Spec
from queuectl.decisions import Report, standing
from queuectl.engines import dependants
from queuectl.errors import Invalid, NotFound, Refused
from queuectl.labels import WrongJobs
from tests.support.one_worker import DONE, FAILED, OneWorker


@pytest.fixture
def one(tmp_path: Path) -> OneWorker:
    return OneWorker(tmp_path)


def test_a_job_starts_after_those_before_it(one: OneWorker) -> None:
    one.add("a")
    one.add("b", after=("a",))
    one.add("c", after=("a", "b"))
    assert one.states() == {"a": "pending", "b": "blocked", "c": "blocked"}
    assert one.run() == ["a", "b", "c"]
    assert one.types("c") == ["enqueued", "unblocked", "claimed", "completed"], "it watched the last one only"
    assert one.queue.check() == []


def test_parents_that_end_together_unblock_once(one: OneWorker) -> None:
    parents = one.queue.enqueue_many([Spec(command="true")] * 64)
    one.add("child", after=tuple(parents))
    assert len(one.claim()) == 64
    one.end(*parents)
    assert one.types("child") == ["enqueued", "unblocked"]
    assert one.claim() == ["child"]


def test_what_never_starts_is_cancelled_with_all_behind(one: OneWorker) -> None:
    one.add("a")
    for id, parent in (("b", "a"), ("c", "b"), ("d", "c")):
        one.add(id, after=(parent,))
    one.add("any", after_any=("c",))
    one.add("clean", after_failure=("a",))
    one.claim()
    one.end("a", outcome=FAILED)
    assert one.states() == {
        "a": "dead", "b": "cancelled", "c": "cancelled", "d": "cancelled", "any": "pending", "clean": "pending",
    }  # fmt: skip
    found = one.queue.job("d")
    assert (found.cause, found.error) == ("dependency", "c ended so that it never starts")
    assert one.queue.check() == []


def test_a_clean_up_is_cancelled_when_all_complete(one: OneWorker) -> None:
    one.add("a")
    one.add("b")
    one.add("clean", after_failure=("a", "b"))
    one.run()
    assert one.states()["clean"] == "cancelled"


def test_a_failure_starts_the_clean_up(one: OneWorker) -> None:
    one.add("a")
    one.add("b")
    one.add("clean", after_failure=("a", "b"))
    one.claim()
    one.end("a", outcome=FAILED)
    assert one.claim() == ["clean"]


def test_a_failed_attempt_is_no_end(one: OneWorker) -> None:
    one.queue.enqueue("true", id="a", max_retries=1, backoff_base=1.0)
    one.add("b", after=("a",))
    one.claim()
    one.end("a", outcome=FAILED)
    assert one.states() == {"a": "failed", "b": "blocked"}


def test_a_parent_that_ended_decides_at_once(one: OneWorker) -> None:
    one.add("done")
    one.add("dead")
    one.claim()
    one.end("done")
    one.end("dead", outcome=FAILED)
    one.add("x", after=("done",), after_any=("dead",))
    assert one.states()["x"] == "pending"
    with pytest.raises(Refused, match="job y would never start: of what it depends on, dead is dead"):
        one.add("y", after=("done", "dead"))
    assert "y" not in one.states()


def test_retries_take_along_what_was_cancelled(one: OneWorker) -> None:
    one.add("a")
    one.add("b", after=("a",))
    one.add("c", after=("b",))
    one.add("by-hand", after=("a",))
    one.queue.cancel("by-hand")
    one.claim()
    one.end("a", outcome=FAILED)
    with pytest.raises(Refused, match=r"queuectl retry a --cascade"):
        one.queue.retry("b")
    assert one.queue.retry("a", cascade=True) == ["a", "b", "c"]
    assert one.states() == {"a": "pending", "b": "blocked", "c": "blocked", "by-hand": "cancelled"}
    assert one.run() == ["a", "b", "c"]
    assert one.queue.retry("c", ignore_dependencies=True) == ["c"]


def test_only_named_jobs_ignore_their_dependencies(one: OneWorker) -> None:
    one.add("a")
    one.add("b", after=("a",))
    one.add("c", after=("b",))
    one.claim()
    one.end("a", outcome=FAILED)
    assert one.queue.retry("b", ignore_dependencies=True, cascade=True) == ["b", "c"]
    assert one.states() == {"a": "dead", "b": "pending", "c": "blocked"}


def test_a_cascade_passes_over_what_never_starts(one: OneWorker) -> None:
    for id in ("a", "b"):
        one.add(id)
    one.add("of-a", after=("a",))
    one.add("of-both", after=("a", "b"))
    one.add("last", after=("of-both",))
    one.claim()
    for id in ("a", "b"):
        one.end(id, outcome=FAILED)
    assert one.queue.retry("a", cascade=True, command="echo again") == ["a", "of-a"]
    assert [one.queue.job(id).command for id in ("a", "of-a")] == ["echo again", "true"]
    assert one.queue.cancelled_because(["a"]) == ["of-both", "last"]
    assert one.states()["last"] == "cancelled"


def test_the_first_wrong_id_is_named(one: OneWorker) -> None:
    one.add("a")
    with pytest.raises(Refused, match="job a is pending"):
        one.queue.retry("a", "never")
    with pytest.raises(NotFound, match="never"):
        one.queue.retry("never", "a")


def test_a_parent_retried_meanwhile_is_unfinished(one: OneWorker) -> None:
    one.add("a")
    one.add("b")
    one.add("child", after=("a", "b"))
    one.claim(1)
    one.end("a")
    one.queue.retry("a")
    one.claim()
    one.end("b")
    assert one.queue.job("child").watching == "a"


@pytest.mark.parametrize("gone", ["purge", "archive"])
def test_a_gone_parent_counts_as_it_ended(one: OneWorker, tmp_path: Path, gone: str) -> None:
    from queuectl.audit.archive import archive

    one.add("a")
    one.add("b")
    one.add("child", after=("a", "b"))
    one.claim()
    one.end("a")
    if gone == "purge":
        one.queue.purge("a")
    else:
        archive(one.queue, str(tmp_path / "old.gz"), 1 << 62)
    one.add("late", after=("a",))
    assert one.states()["late"] == "pending"
    one.end("b")
    assert one.states()["child"] == "pending"


def test_references_within_a_file_come_in_any_order(one: OneWorker) -> None:
    deploy, build, test = one.queue.enqueue_many([
        Spec(command="deploy", after=("@build", "@test")),
        Spec(command="make", name="build"),
        Spec(command="make test", name="test", after=("@build",)),
    ])  # fmt: skip
    assert one.queue.job(deploy).watching == test
    assert one.run() == [build, test, deploy]


@pytest.mark.parametrize("specs, wrong, places", [
    ([("a", "@b"), ("b", "@c"), ("c", "@a")], "a -> b -> c -> a: they wait for each other", (0, 1, 2)),
    ([("x", ""), ("a", "@a")], "a -> a: it waits for itself", (1,)),
    ([("a", "@b")], "no job here has the name 'b'", (0,)),
    ([("a", ""), ("a", "")], "'a' is given twice", (0, 1)),
    ([("a", ""), ("b", "nothing")], "there is no job 'nothing'", (1,)),
])  # fmt: skip
def test_wrong_references_add_nothing(
    one: OneWorker, specs: list[tuple[str, str]], wrong: str, places: tuple[int, ...]
) -> None:
    with pytest.raises(WrongJobs, match=wrong) as caught:
        one.queue.enqueue_many([
            Spec(command="true", name=name, after=(after,) if after else ()) for name, after in specs
        ])  # fmt: skip
    assert caught.value.places == places
    assert one.states() == {}


def test_an_own_id_is_no_parent(one: OneWorker) -> None:
    with pytest.raises(Invalid, match="a -> a: it waits for itself"):
        one.add("a", after=("a",))


def test_a_held_job_stays_held_when_unblocked(one: OneWorker) -> None:
    one.add("a")
    one.add("b", after=("a",))
    one.queue.hold("b")
    with pytest.raises(Refused, match="it can't start before a has ended"):
        one.queue.start("b")
    one.run()
    assert one.states()["b"] == "pending"
    one.queue.release("b")
    assert one.run() == ["b"]


def test_many_dependants_are_left_for_later(one: OneWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependants, "MOST", 10)
    one.add("a")
    children = one.queue.enqueue_many([Spec(command="true", after=("a",))] * 25)
    one.queue.enqueue_many([Spec(command="true", after=(child,)) for child in children])
    one.claim()
    one.writer.turn([Report(one.held.pop("a").lease, FAILED)], [], 0)
    a = one.queue.job("a")
    assert (a.state, a.cascading) == ("dead", True)
    for refused in (one.queue.retry, one.queue.purge):
        with pytest.raises(Refused, match="not all jobs that depend on it have been looked at"):
            refused("a")
    assert one.writer.turn([], [], 1).cascading, "an idle worker finds it"
    one.queue.cascade()
    assert set(one.states().values()) == {"dead", "cancelled"}
    assert one.types("a")[-1] == "cascaded"
    assert len(one.queue.retry("a", cascade=True)) == 51
    assert len(one.run()) == 51
    assert one.queue.check() == []


def test_a_graph_looks_at_each_job_once(one: OneWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(20):
        one.add(f"n{number}", after=(f"n{number - 1}",) if number else ())
    children, asked = DependencyQuestions.children, list[str]()

    def counted(self: DependencyQuestions, parent: str) -> list[Job]:
        asked.append(parent)
        return children(self, parent)

    monkeypatch.setattr(DependencyQuestions, "children", counted)
    assert len(one.queue.graph().edges) == 19
    assert len(asked) == len({*asked}) <= 20


# -- random graphs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(12))
def test_random_graphs_come_to_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """No job starts before it may, none is forgotten, and each that waits has a reason that is true."""
    pick = Random(number)
    monkeypatch.setattr(dependants, "MOST", pick.choice((1, 3, 1000)))
    one = OneWorker(tmp_path, slots=4)
    for step in range(120):
        match pick.choice(("add", "add", "claim", "claim", "end", "end", "end", "cancel", "retry", "purge")):
            case "add":
                ids = list(one.states())
                after = {
                    kind: tuple(pick.sample(ids, min(len(ids), pick.choice((0, 0, 1, 2))))) for kind in DEPENDENCY_KINDS
                }
                try:
                    one.add(f"j{step}", **after)
                except Refused:
                    assert any(one.queue.job(id).state in FINAL for ids in after.values() for id in ids)
            case "claim":
                for id in one.claim(pick.choice((1, 2))):
                    assert_may_start(one, one.queue.job(id))
            case "end":
                ids = [id for id in one.held if pick.random() < 0.6]
                one.end(*ids, outcome=pick.choice((DONE, FAILED)))
            case "cancel" | "retry" | "purge" as verb:
                change(one, verb, pick)
        assert_waiting_is_true(one)
    for _ in range(400):
        one.end(*one.held)
        one.claim(4)
        assert_waiting_is_true(one)
    assert all(state in FINAL for state in one.states().values())
    assert one.queue.check() == []


def change(one: OneWorker, verb: str, pick: Random) -> None:
    if not (ids := [id for id in one.states() if id not in one.held]):
        return
    id = pick.choice(ids)
    try:
        if verb == "cancel":
            one.queue.cancel(id)
        elif verb == "purge":
            one.queue.purge(id)
        else:
            one.queue.retry(id, cascade=pick.random() < 0.5)
    except Refused:
        pass


def assert_may_start(one: OneWorker, job: Job) -> None:
    """What it depends on had ended as it has to when it was unblocked: later it may have been sent back."""
    with one.queue.engine.snapshot() as view:
        records = view.stream(f"job:{job.id}")
    free = max(record.seq for record in records if record.type in ("enqueued", "requeued", "unblocked"))
    parents = [(kind, id) for kind in DEPENDENCY_KINDS for id in getattr(job.policy, kind)]
    states = {id: state_at(one, id, free) for _, id in parents}
    found = standing([Parent(id, kind, states[id]) for kind, id in parents])
    assert (found.watching, found.never) == (None, ()), (job.id, states)


def state_at(one: OneWorker, id: str, seq: int) -> str:
    """The state of a job at an event of the log; as it had ended, where it was purged."""
    known = [moment for moment in one.queue.history(id) if moment.record.seq <= seq and moment.job is not None]
    assert known[-1].job is not None
    return known[-1].job.state


def assert_waiting_is_true(one: OneWorker) -> None:
    jobs = {job.id: job for job in one.queue.jobs()}
    for job in jobs.values():
        assert (job.state == "blocked") == (job.watching is not None)
        if job.watching is not None:
            assert one.queue.reasons(job.id)[0].kind == "dependency"
            assert job.watching in jobs
            assert jobs[job.watching].state not in FINAL, "it would wait for ever"
        assert not job.cascading

"""Dependencies: jobs start after those that they depend on, and none is forgotten (R32)."""

from pathlib import Path
from random import Random

import pytest

from projections.dependencies import DEPENDENCY_KINDS, Parent
from projections.jobs import FINAL, Job
from queuectl import Queue, Spec
from queuectl.decisions import Outcome, Report, standing
from queuectl.engines import dependants
from queuectl.errors import Invalid, NotFound, Refused
from queuectl.labels import WrongJobs
from queuectl.workers.turn import Claim, TurnWriter

DONE, FAILED = Outcome(exit_code=0), Outcome(cause="exit", exit_code=1)


class Bench:
    """A queue with one worker that has no processes."""

    def __init__(self, folder: Path, slots: int = 64) -> None:
        self.queue = Queue(folder / "q.db", actor="test")
        self.queue.engine.set_durability("normal")
        self.writer = TurnWriter(self.queue, "w1", (), self.queue.home.identity())
        self.writer.start(slots)
        self.held: dict[str, Claim] = {}

    def add(self, id: str, **fields: object) -> str:
        return self.queue.enqueue(Spec(command="true", id=id, max_retries=0, **fields))  # pyright: ignore[reportArgumentType]

    def claim(self, want: int = 64) -> list[str]:
        claims = self.writer.turn([], [], want, holding=[claim.lease for claim in self.held.values()]).claims
        self.held |= {claim.job.id: claim for claim in claims}
        return [claim.job.id for claim in claims]

    def end(self, *ids: str, outcome: Outcome = DONE) -> None:
        reports = [Report(self.held.pop(id).lease, outcome) for id in ids]
        turn = self.writer.turn(reports, [], 0, holding=[claim.lease for claim in self.held.values()], look=True)
        assert turn.fenced == []
        self.cascade(turn.cascading)

    def cascade(self, left: bool) -> None:
        while left:
            with self.queue.engine.transaction() as tx:
                left = tx.cascade("worker:w1")

    def run(self) -> list[str]:
        """Claim and end all that may start, in the order in which it does."""
        order: list[str] = []
        while ids := self.claim():
            order += ids
            self.end(*ids)
        return order

    def states(self) -> dict[str, str]:
        return {job.id: job.state for job in self.queue.jobs()}

    def types(self, id: str) -> list[str]:
        with self.queue.engine.snapshot() as view:
            return [record.type for record in view.stream(f"job:{id}")]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_a_job_starts_after_those_before_it(bench: Bench) -> None:
    bench.add("a")
    bench.add("b", after=("a",))
    bench.add("c", after=("a", "b"))
    assert bench.states() == {"a": "pending", "b": "blocked", "c": "blocked"}
    assert bench.run() == ["a", "b", "c"]
    assert bench.types("c") == ["enqueued", "unblocked", "claimed", "completed"], "it watched the last one only"
    assert bench.queue.check() == []


def test_parents_that_end_together_unblock_once(bench: Bench) -> None:
    parents = bench.queue.enqueue_many([Spec(command="true")] * 64)
    bench.add("child", after=tuple(parents))
    assert len(bench.claim()) == 64
    bench.end(*parents)
    assert bench.types("child") == ["enqueued", "unblocked"]
    assert bench.claim() == ["child"]


def test_what_never_starts_is_cancelled_with_all_behind(bench: Bench) -> None:
    bench.add("a")
    for id, parent in (("b", "a"), ("c", "b"), ("d", "c")):
        bench.add(id, after=(parent,))
    bench.add("any", after_any=("c",))
    bench.add("clean", after_failure=("a",))
    bench.claim()
    bench.end("a", outcome=FAILED)
    assert bench.states() == {
        "a": "dead", "b": "cancelled", "c": "cancelled", "d": "cancelled", "any": "pending", "clean": "pending",
    }  # fmt: skip
    found = bench.queue.job("d")
    assert (found.cause, found.error) == ("dependency", "c ended so that it never starts")
    assert bench.queue.check() == []


def test_a_clean_up_is_cancelled_when_all_complete(bench: Bench) -> None:
    bench.add("a")
    bench.add("b")
    bench.add("clean", after_failure=("a", "b"))
    bench.run()
    assert bench.states()["clean"] == "cancelled"


def test_a_failure_starts_the_clean_up(bench: Bench) -> None:
    bench.add("a")
    bench.add("b")
    bench.add("clean", after_failure=("a", "b"))
    bench.claim()
    bench.end("a", outcome=FAILED)
    assert bench.claim() == ["clean"]


def test_a_failed_attempt_is_no_end(bench: Bench) -> None:
    bench.queue.enqueue("true", id="a", max_retries=1, backoff_base=1.0)
    bench.add("b", after=("a",))
    bench.claim()
    bench.end("a", outcome=FAILED)
    assert bench.states() == {"a": "failed", "b": "blocked"}


def test_a_parent_that_ended_decides_at_once(bench: Bench) -> None:
    bench.add("done")
    bench.add("dead")
    bench.claim()
    bench.end("done")
    bench.end("dead", outcome=FAILED)
    bench.add("x", after=("done",), after_any=("dead",))
    assert bench.states()["x"] == "pending"
    with pytest.raises(Refused, match="job y would never start: of what it depends on, dead is dead"):
        bench.add("y", after=("done", "dead"))
    assert "y" not in bench.states()


def test_retries_take_along_what_was_cancelled(bench: Bench) -> None:
    bench.add("a")
    bench.add("b", after=("a",))
    bench.add("c", after=("b",))
    bench.add("by-hand", after=("a",))
    bench.queue.cancel("by-hand")
    bench.claim()
    bench.end("a", outcome=FAILED)
    with pytest.raises(Refused, match=r"queuectl retry a --cascade"):
        bench.queue.retry("b")
    assert bench.queue.retry("a", cascade=True) == ["a", "b", "c"]
    assert bench.states() == {"a": "pending", "b": "blocked", "c": "blocked", "by-hand": "cancelled"}
    assert bench.run() == ["a", "b", "c"]
    assert bench.queue.retry("c", ignore_dependencies=True) == ["c"]


def test_the_first_wrong_id_is_named(bench: Bench) -> None:
    bench.add("a")
    with pytest.raises(Refused, match="job a is pending"):
        bench.queue.retry("a", "never")
    with pytest.raises(NotFound, match="never"):
        bench.queue.retry("never", "a")


def test_a_parent_retried_meanwhile_is_unfinished(bench: Bench) -> None:
    bench.add("a")
    bench.add("b")
    bench.add("child", after=("a", "b"))
    bench.claim(1)
    bench.end("a")
    bench.queue.retry("a")
    bench.claim()
    bench.end("b")
    assert bench.queue.job("child").watching == "a"


@pytest.mark.parametrize("gone", ["purge", "archive"])
def test_a_gone_parent_counts_as_it_ended(bench: Bench, tmp_path: Path, gone: str) -> None:
    from queuectl.audit.archive import archive

    bench.add("a")
    bench.add("b")
    bench.add("child", after=("a", "b"))
    bench.claim()
    bench.end("a")
    if gone == "purge":
        bench.queue.purge("a")
    else:
        archive(bench.queue, str(tmp_path / "old.gz"), 1 << 62)
    bench.add("late", after=("a",))
    assert bench.states()["late"] == "pending"
    bench.end("b")
    assert bench.states()["child"] == "pending"


def test_references_within_a_file_come_in_any_order(bench: Bench) -> None:
    deploy, build, test = bench.queue.enqueue_many([
        Spec(command="deploy", after=("@build", "@test")),
        Spec(command="make", name="build"),
        Spec(command="make test", name="test", after=("@build",)),
    ])  # fmt: skip
    assert bench.queue.job(deploy).watching == test
    assert bench.run() == [build, test, deploy]


@pytest.mark.parametrize("specs, wrong, places", [
    ([("a", "@b"), ("b", "@c"), ("c", "@a")], "a -> b -> c -> a: they wait for each other", (0, 1, 2)),
    ([("x", ""), ("a", "@a")], "a -> a: it waits for itself", (1,)),
    ([("a", "@b")], "no job here has the name 'b'", (0,)),
    ([("a", ""), ("a", "")], "'a' is given twice", (0, 1)),
    ([("a", ""), ("b", "nothing")], "there is no job 'nothing'", (1,)),
])  # fmt: skip
def test_wrong_references_add_nothing(
    bench: Bench, specs: list[tuple[str, str]], wrong: str, places: tuple[int, ...]
) -> None:
    with pytest.raises(WrongJobs, match=wrong) as caught:
        bench.queue.enqueue_many([
            Spec(command="true", name=name, after=(after,) if after else ()) for name, after in specs
        ])  # fmt: skip
    assert caught.value.places == places
    assert bench.states() == {}


def test_an_own_id_is_no_parent(bench: Bench) -> None:
    with pytest.raises(Invalid, match="a -> a: it waits for itself"):
        bench.add("a", after=("a",))


def test_a_held_job_stays_held_when_unblocked(bench: Bench) -> None:
    bench.add("a")
    bench.add("b", after=("a",))
    bench.queue.hold("b")
    with pytest.raises(Refused, match="it can't start before a has ended"):
        bench.queue.start("b")
    bench.run()
    assert bench.states()["b"] == "pending"
    bench.queue.release("b")
    assert bench.run() == ["b"]


def test_many_dependants_are_left_for_later(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependants, "MOST", 10)
    bench.add("a")
    children = bench.queue.enqueue_many([Spec(command="true", after=("a",))] * 25)
    bench.queue.enqueue_many([Spec(command="true", after=(child,)) for child in children])
    bench.claim()
    bench.writer.turn([Report(bench.held.pop("a").lease, FAILED)], [], 0)
    a = bench.queue.job("a")
    assert (a.state, a.cascading) == ("dead", True)
    for refused in (bench.queue.retry, bench.queue.purge):
        with pytest.raises(Refused, match="not all jobs that depend on it have been looked at"):
            refused("a")
    assert bench.writer.turn([], [], 1).cascading, "an idle worker finds it"
    bench.queue.cascade()
    assert set(bench.states().values()) == {"dead", "cancelled"}
    assert bench.types("a")[-1] == "cascaded"
    assert len(bench.queue.retry("a", cascade=True)) == 51
    assert len(bench.run()) == 51
    assert bench.queue.check() == []


# -- random graphs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(12))
def test_random_graphs_come_to_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    """No job starts before it may, none is forgotten, and each that waits has a reason that is true."""
    pick = Random(number)
    monkeypatch.setattr(dependants, "MOST", pick.choice((1, 3, 1000)))
    bench = Bench(tmp_path, slots=4)
    for step in range(120):
        match pick.choice(("add", "add", "claim", "claim", "end", "end", "end", "cancel", "retry", "purge")):
            case "add":
                ids = list(bench.states())
                after = {
                    kind: tuple(pick.sample(ids, min(len(ids), pick.choice((0, 0, 1, 2))))) for kind in DEPENDENCY_KINDS
                }
                try:
                    bench.add(f"j{step}", **after)
                except Refused:
                    assert any(bench.queue.job(id).state in FINAL for ids in after.values() for id in ids)
            case "claim":
                for id in bench.claim(pick.choice((1, 2))):
                    assert_may_start(bench, bench.queue.job(id))
            case "end":
                ids = [id for id in bench.held if pick.random() < 0.6]
                bench.end(*ids, outcome=pick.choice((DONE, FAILED)))
            case "cancel" | "retry" | "purge" as verb:
                change(bench, verb, pick)
        assert_waiting_is_true(bench)
    for _ in range(400):
        bench.end(*bench.held)
        bench.claim(4)
        assert_waiting_is_true(bench)
    assert all(state in FINAL for state in bench.states().values())
    assert bench.queue.check() == []


def change(bench: Bench, verb: str, pick: Random) -> None:
    if not (ids := [id for id in bench.states() if id not in bench.held]):
        return
    id = pick.choice(ids)
    try:
        if verb == "cancel":
            bench.queue.cancel(id)
        elif verb == "purge":
            bench.queue.purge(id)
        else:
            bench.queue.retry(id, cascade=pick.random() < 0.5)
    except Refused:
        pass


def assert_may_start(bench: Bench, job: Job) -> None:
    """What it depends on had ended as it has to when it was unblocked: later it may have been sent back."""
    with bench.queue.engine.snapshot() as view:
        records = view.stream(f"job:{job.id}")
    free = max(record.seq for record in records if record.type in ("enqueued", "requeued", "unblocked"))
    parents = [(kind, id) for kind in DEPENDENCY_KINDS for id in getattr(job.policy, kind)]
    states = {id: state_at(bench, id, free) for _, id in parents}
    found = standing([Parent(id, kind, states[id]) for kind, id in parents])
    assert (found.watching, found.never) == (None, ()), (job.id, states)


def state_at(bench: Bench, id: str, seq: int) -> str:
    """The state of a job at an event of the log; as it had ended, where it was purged."""
    known = [moment for moment in bench.queue.history(id) if moment.record.seq <= seq and moment.job is not None]
    assert known[-1].job is not None
    return known[-1].job.state


def assert_waiting_is_true(bench: Bench) -> None:
    jobs = {job.id: job for job in bench.queue.jobs()}
    for job in jobs.values():
        assert (job.state == "blocked") == (job.watching is not None)
        if job.watching is not None:
            assert bench.queue.reasons(job.id)[0].kind == "dependency"
            assert job.watching in jobs
            assert jobs[job.watching].state not in FINAL, "it would wait for ever"
        assert not job.cascading

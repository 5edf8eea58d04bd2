"""Callbacks: jobs that the ends of others add, each end once, and outside the limits of their queues."""

from collections import Counter
from pathlib import Path

import pytest

from projections.jobs import Job
from queuectl import Queue, Spec
from queuectl.decisions import DEEPEST, Outcome, Release, Report
from queuectl.engines import dependants
from queuectl.errors import Invalid
from queuectl.events import CALLBACK_PRIORITY, Enqueued, Recorded, Trigger
from queuectl.rest import at_rest
from tests.support.one_worker import FAILED, OneWorker

ALL_THREE = {"on_complete": "complete", "on_failure": "failure", "on_end": "end"}


@pytest.fixture
def one(tmp_path: Path) -> OneWorker:
    return OneWorker(tmp_path)


def told(one: OneWorker, id: str) -> list[tuple[str, str | None]]:
    """The callbacks of a job: the command of each, and the end of which it tells."""
    return [(job.command, trigger(job).event) for job in one.queue.callbacks(id)]


def trigger(job: Job) -> Trigger:
    assert job.policy.trigger is not None
    return job.policy.trigger


def added(one: OneWorker) -> list[str]:
    """The commands of all callbacks, as they came."""
    return [job.command for job in sorted(one.queue.jobs(), key=lambda job: job.seq) if job.past_limits]


# -- which ends have which -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "outcome, lines",
    [
        (Outcome(exit_code=0), [("complete", "completed"), ("end", "completed")]),
        (FAILED, [("failure", "dead"), ("end", "dead")]),
    ],
)
def test_each_end_has_its_own(one: OneWorker, outcome: Outcome, lines: list[tuple[str, str]]) -> None:
    one.add("a", **ALL_THREE)
    one.claim()
    one.end("a", outcome=outcome)
    assert told(one, "a") == lines


def test_a_failure_with_retries_left_is_none(one: OneWorker) -> None:
    one.queue.enqueue(Spec(command="true", id="a", max_retries=1, **ALL_THREE))  # pyright: ignore[reportArgumentType]
    one.claim()
    one.end("a", outcome=FAILED)
    assert (one.queue.job("a").state, told(one, "a")) == ("failed", [])


def test_a_retry_that_ends_tells_again(one: OneWorker) -> None:
    one.add("a", on_end="end")
    one.claim()
    one.end("a", outcome=FAILED)
    one.queue.retry("a")
    one.run()
    assert told(one, "a") == [("end", "dead"), ("end", "completed")]


@pytest.mark.parametrize("state", ["pending", "blocked", "held"])
def test_a_cancel_of_what_waits_is_an_end(one: OneWorker, state: str) -> None:
    one.add("parent")
    one.add("a", **ALL_THREE, after=("parent",) if state == "blocked" else (), held=state == "held")
    one.queue.cancel("a")
    assert told(one, "a") == [("end", "cancelled")]


def test_what_runs_tells_once_it_is_gone(one: OneWorker) -> None:
    one.add("a", **ALL_THREE)
    one.claim()
    one.queue.cancel("a")
    assert told(one, "a") == []
    one.end("a", outcome=Outcome(cause="cancel", signal=15))
    assert told(one, "a") == [("end", "cancelled")]


def test_to_cancel_the_dead_ends_nothing(one: OneWorker) -> None:
    one.add("a", on_end="end")
    one.claim()
    one.end("a", outcome=FAILED)
    one.queue.cancel("a")
    assert told(one, "a") == [("end", "dead")]


def test_cascades_and_halts_tell_too(one: OneWorker) -> None:
    one.add("first", batch="b", halt="soon,fail=1")
    one.add("child", after=("first",), on_end="child")
    one.add("member", batch="b", on_end="member", slots=64)
    one.add("grandchild", after=("child",), on_end="grandchild")
    one.claim(1)
    one.end("first", outcome=FAILED)
    assert {id: told(one, id) for id in ("child", "member", "grandchild")} == {
        "child": [("child", "cancelled")],
        "member": [("member", "cancelled")],
        "grandchild": [("grandchild", "cancelled")],
    }


def test_every_death_has_the_callback_of_the_queue(one: OneWorker) -> None:
    one.queue.set_config("on-dead", "page")
    one.add("a", on_failure="mine")
    one.add("b")
    one.claim()
    one.end("a", outcome=FAILED)
    one.end("b")
    assert (told(one, "a"), told(one, "b")) == ([("mine", "dead"), ("page", "dead")], [])


def test_the_death_of_a_callback_has_none(one: OneWorker) -> None:
    one.queue.set_config("on-dead", "page")
    one.queue.set_config("max-retries", "0")
    one.add("a")
    one.claim()
    one.end("a", outcome=FAILED)
    [callback] = one.claim()
    one.end(callback, outcome=FAILED)
    assert (one.queue.job(callback).state, told(one, callback)) == ("dead", [])


# -- what they are ---------------------------------------------------------------------------------------------------


def test_it_has_folder_and_queue_of_its_job(one: OneWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUECTL_MAX_RETRIES", "9")
    one.queue.set_config("timeout", "5m")
    fields = {"queue": "q", "cwd": "/usr", "env": {"A": "1"}, "secrets": {"S": "x"}, "on_end": "end", "batch": "b"}
    one.add("a", **fields)
    one.queue.cancel("a")
    [job] = one.queue.callbacks("a")
    policy = job.policy
    assert (job.queue, policy.cwd, policy.env, job.secrets, job.batch) == ("q", "/usr", {"A": "1"}, (), None)
    assert (job.max_retries, job.timeout, job.priority) == (3, 300.0, CALLBACK_PRIORITY), "what is stored, no variables"


def test_callbacks_go_before_all_else(one: OneWorker) -> None:
    one.add("a", on_end="end")
    one.claim()
    one.add("b", priority=2**31 - 1)
    one.end("a")
    assert one.claim() == ["1", "b"]


def test_an_edit_changes_what_a_running_job_has(one: OneWorker) -> None:
    one.add("a", on_end="before", on_complete="gone")
    one.claim()
    one.queue.edit("a", on_end="after", on_complete=None)
    one.end("a")
    assert told(one, "a") == [("after", "completed")]


def test_they_stop_at_a_depth(one: OneWorker) -> None:
    id = one.add("a", on_end="end")
    for number in range(1, DEEPEST + 1):
        one.claim()
        one.end(id)
        [callback] = one.queue.callbacks(id)
        id = callback.id
        if number < DEEPEST:
            one.queue.edit(id, on_end="end")
    with pytest.raises(Invalid, match="on_end: 8 callbacks have led to this job"):
        one.queue.edit(id, on_end="end")


def test_none_is_enqueued_too_deep(one: OneWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Inside a callback a job may have callbacks, as long as not too many have led to it."""
    monkeypatch.setenv("QUEUECTL_DB", one.queue.url)
    one.add("j0", on_end="end")
    one.claim()
    one.end("j0")
    for number in range(1, DEEPEST + 1):
        [callback] = one.claim()
        monkeypatch.setenv("QUEUECTL_JOB_ID", callback)
        monkeypatch.setenv("QUEUECTL_ATTEMPT", "1")
        if number == DEEPEST:
            with pytest.raises(Invalid, match="on_end: 8 callbacks have led to this job"):
                one.add(f"j{number}", on_end="end")
            return
        id = one.add(f"j{number}", on_end="end")
        one.claim()
        one.end(callback)
        one.end(id)


# -- limits and pauses -----------------------------------------------------------------------------------------------


def test_limits_neither_hold_nor_count_them(one: OneWorker) -> None:
    one.queue.limit("default", concurrency=1, rate="1/h", burst=2)
    one.add("a", on_end="end", on_complete="complete")
    one.add("b")
    one.add("c")
    assert one.claim() == ["a"]
    one.end("a")
    assert one.claim() == ["1", "2", "b"], "two callbacks run, and b has the slot and the last token"
    one.end("b")
    assert one.claim() == [], "the rate"
    one.queue.limit("default", rate=None)
    assert one.claim() == ["c"], "the callbacks still run"


def test_a_full_queue_lets_them_pass(one: OneWorker) -> None:
    one.queue.limit("default", concurrency=1)
    one.add("a")
    one.add("b", on_end="end", held=True)
    assert one.claim() == ["a"]
    one.queue.cancel("b")
    assert one.queue.reasons("1") == []
    assert one.claim() == ["1"]


def test_a_pause_by_death_lets_messages_pass(one: OneWorker) -> None:
    one.queue.limit("default", pause_on_failure=True)
    one.add("a", on_failure="tell")
    one.add("b")
    one.claim(1)
    one.end("a", outcome=FAILED)
    assert one.queue.queue("default").is_paused
    with one.queue.engine.snapshot() as view:
        assert not at_rest(view, (), 1 << 62, 0), "a worker that drains runs it"
    assert one.run() == ["1"]
    with one.queue.engine.snapshot() as view:
        assert at_rest(view, (), 1 << 62, 0)


@pytest.mark.parametrize("queue", ["default", None])
def test_a_pause_by_a_person_holds_them(one: OneWorker, queue: str | None) -> None:
    one.add("a", on_end="end")
    one.claim()
    one.queue.pause(queue)
    one.end("a")
    assert one.claim() == []
    assert one.queue.reasons("1")[0].kind == "paused"
    with one.queue.engine.snapshot() as view:
        assert at_rest(view, (), 1 << 62, 0)
    one.queue.resume(queue)
    assert one.claim() == ["1"]


# -- many at once ----------------------------------------------------------------------------------------------------


def test_those_of_many_are_added_in_parts(one: OneWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependants, "MOST", 10)
    ids = one.queue.enqueue_many([Spec(command="true", on_end="end")] * 45)
    one.queue.cancel(*ids)
    assert [told(one, id) for id in ids] == [[("end", "cancelled")]] * 45
    callbacks = [record for record in one.queue.events(type="enqueued") if _tells(record)]
    assert max(Counter(record.at for record in callbacks).values()) == 10, "a transaction has one moment"
    assert one.queue.check() == []


def _tells(record: Recorded) -> bool:
    return isinstance(record.event, Enqueued) and record.event.trigger is not None


@pytest.mark.parametrize("room", [1, 10])
def test_a_death_cancelled_meanwhile_still_tells(one: OneWorker, room: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dependants, "MOST", 1)
    one.add("a", on_failure="failure", on_end="end")
    one.claim()
    reports = [Report(one.held.pop("a").lease, FAILED)]
    turn = one.writer.turn(reports, [], 0)
    assert (turn.cascading, told(one, "a")) == (True, [])
    monkeypatch.setattr(dependants, "MOST", room)
    one.queue.cancel("a")
    assert told(one, "a") == [("failure", "dead"), ("end", "dead")]


# -- nothing left to do ----------------------------------------------------------------------------------------------


def test_coming_to_rest_is_told_once(one: OneWorker) -> None:
    one.queue.set_config("on-empty", "empty")
    one.add("a", on_end="end")
    one.add("b")
    one.claim()
    one.end("a")
    assert added(one) == ["end"]
    one.end("b")
    assert added(one) == ["end", "empty"], "the callback that still waits is aside"
    one.run()
    assert added(one) == ["end", "empty"]
    one.add("c")
    one.run()
    assert added(one) == ["end", "empty", "empty"]
    [last] = [job for job in one.queue.jobs() if job.command == "empty" and job.id == "3"]
    assert (last.triggered_by, last.policy.cwd, last.queue) == ("empty", "/", "default")


def test_a_retry_to_come_is_something_to_do(one: OneWorker) -> None:
    one.queue.set_config("on-empty", "empty")
    one.queue.enqueue("true", id="a")
    one.claim()
    one.end("a", outcome=FAILED)
    assert added(one) == []


@pytest.mark.parametrize("how", ["cancel", "hold", "pause", "pause all", "edit"])
def test_a_person_may_bring_it_to_rest(one: OneWorker, how: str) -> None:
    one.queue.set_config("on-empty", "empty")
    one.queue.set_resource("gpu", 2)
    one.add("a")
    match how:
        case "cancel":
            one.queue.cancel("a")
        case "hold":
            one.queue.hold("a")
        case "edit":
            one.queue.edit("a", needs={"gpu": 2})
            assert added(one) == []
            one.queue.set_resource("gpu", 1)
        case _:
            one.queue.pause("default" if how == "pause" else None)
    assert added(one) == ["empty"]
    one.queue.pause("other")
    one.queue.set_config("on-empty", None)
    assert added(one) == ["empty"], "it was at rest before"


def test_recovered_and_given_back_jobs_count(one: OneWorker) -> None:
    one.queue.set_config("on-empty", "empty")
    one.add("a")
    one.claim()
    one.queue.cancel("a")
    one.writer.turn([], [Release(one.held.pop("a").lease, "cancelled")], 0)
    assert added(one) == ["empty"]


def test_a_fenced_report_brings_nothing_to_rest(one: OneWorker) -> None:
    one.add("a")
    one.claim()
    lease = one.held.pop("a").lease
    one.writer.turn([Report(lease, Outcome())], [], 0)
    one.queue.set_config("on-empty", "empty")
    one.writer.turn([Report(lease, Outcome())], [], 0)
    assert added(one) == []


def test_settings_of_the_environment_are_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUEUECTL_ON_DEAD", "page")
    with Queue(tmp_path / "q.db") as queue:
        assert (queue.config()["on-dead"].text, queue.config()["on-dead"].source) == ("none", "default")

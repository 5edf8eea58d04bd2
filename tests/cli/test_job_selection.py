"""`cancel`, `retry` and `dlq` of all jobs of a kind: which they are, and the question before it."""

import io
from collections.abc import Callable, Iterator

import pytest

from queuectl import Queue
from tests.support.shell import Answer, Shell

Inside = Callable[..., Answer]


@pytest.fixture
def queue(queuectl: Shell) -> Iterator[Queue]:
    with Queue(queuectl.folder / "q.db") as queue:
        for id in ("a", "b"):
            queue.enqueue("true", id=id, queue="mail")
        queue.enqueue("true", id="c")
        yield queue


def states(queue: Queue) -> dict[str, str]:
    return {job.id: job.state for job in queue.jobs()}


def test_jobs_are_selected_by_state_and_queue(queue: Queue, inside: Inside):
    assert inside("cancel", "--queue", "mail").ok().out == "a  cancelled\nb  cancelled\n"
    assert inside("retry", "--state", "cancelled,dead", "--queue", "mail", "--timeout", "none").ok().out
    assert states(queue) == {"a": "pending", "b": "pending", "c": "pending"}
    assert queue.job("a").timeout is None
    assert len(inside("cancel", "--all", "--json").ok().ndjson) == 3
    answer = inside("cancel", "--all").ok()
    assert (answer.out, answer.err) == ("", "queuectl: no job matches\n"), "what has ended is not meant by all"
    assert len(inside("retry", "--all").ok().lines) == 3


def test_a_cascade_tells_what_stays_cancelled(queue: Queue, inside: Inside):
    for id, after in {"d": ("a", "b"), "e": ("d",), "f": ("a",)}.items():
        queue.enqueue("true", id=id, after=after)
    inside("cancel", "a", "b").ok()
    answer = inside("retry", "a", "--cascade").ok()
    assert answer.out == "a  pending\nf  blocked\n"
    assert answer.err == "queuectl: still cancelled: d, e; `queuectl retry ID` says why\n"
    assert inside("retry", "d").refused(3).startswith("job d would never start: of what it depends on, b is cancelled")


@pytest.mark.parametrize(
    "words, told",
    [
        (["cancel"], "cancel needs an ID, or --all, --where, --state or --queue"),
        (["dlq", "retry"], "dlq retry needs an ID, or --all or --where"),
        (["start"], "start needs an ID\n"),
        (["cancel", "--where", " "], "--where: is empty, which is all there are: give --all for these"),
        (["retry", "a", "--all"], "give IDs or --all, --where, --state or --queue, not both"),
        (
            ["retry", "--state", "pending"],
            "--state: retry is for jobs that are dead, cancelled, completed, not pending",
        ),
        (["cancel", "--state", "done"], "--state: 'done' is not a state"),
    ],
)
def test_a_change_needs_a_valid_selection(inside: Inside, queue: Queue, words: list[str], told: str):
    assert f"{inside(*words).refused(2)}\n".startswith(told)
    assert set(states(queue).values()) == {"pending"}


def test_a_terminal_asks_for_confirmation(
    queue: Queue, inside: Inside, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("queuectl.cli.ui.output.stderr_is_terminal", lambda: True)

    def answering(text: str, *words: str) -> Answer:
        typed = io.StringIO(text)
        typed.isatty = lambda: True  # pyright: ignore[reportAttributeAccessIssue]
        monkeypatch.setattr("sys.stdin", typed)
        return inside(*words)

    answer = answering("\n", "cancel", "--all")
    assert (answer.out, answer.err) == ("", "queuectl: cancel 3 jobs? [y/N] queuectl: nothing was changed\n")
    assert set(states(queue).values()) == {"pending"}
    assert answering("y\n", "cancel", "--queue", "default").ok().out == "c  cancelled\n"
    assert answering("", "cancel", "--all", "-y").ok().err == ""
    assert answering("", "retry", "a").ok().err == "", "whoever names jobs is not asked"


def test_jobs_changed_meanwhile_are_skipped(queue: Queue):
    queue.cancel("a", "b")
    assert queue.retry("a") == ["a"]
    assert queue.retry("a", "b", "gone", among=("cancelled", "dead")) == ["b"]
    assert [record.subject for record in queue.events(type="requeued")] == ["a", "b"]

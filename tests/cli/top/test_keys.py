"""Each key of `queuectl top` does what it says, with the reason that is typed: the log shows it."""

from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from queuectl import Queue
from tests.support.lab import Lab
from tests.support.top_screen import TopScreen, drive


@pytest.fixture(params=["sqlite", "postgres"])
def queue(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Queue]:
    url = str(tmp_path / "q.db") if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with Queue(url, actor="cli:ann@here") as queue:
        yield queue


def last(queue: Queue) -> tuple[str, str, str | None, str]:
    """Subject and type of the last event, with the reason it has, and its actor."""
    record = [*queue.events()][-1]
    return record.subject, record.type, getattr(record.event, "reason", None), record.actor


def pressed(queue: Queue, key: str, type: str) -> Callable[[TopScreen], Awaitable[None]]:
    """Steps that press a key on the first job that waits, give a reason, and wait for an event of this type."""

    async def steps(screen: TopScreen) -> None:
        await screen.until("Waiting 1")
        await screen.press("tab", key)
        await screen.until("a reason, or none")
        await screen.press("text:why", "enter")
        await screen.until(lambda: last(queue)[1] == type)

    return steps


@pytest.mark.parametrize(
    "key, type, subject",
    [
        ("h", "held", "a"), ("s", "forced", "a"), ("c", "cancelled", "a"), ("p", "queue_paused", "default"),
        ("P", "queue_paused", ""),
    ],
)  # fmt: skip
def test_a_key_changes_what_waits(queue: Queue, key: str, type: str, subject: str):
    queue.enqueue("true", id="a")
    drive(queue.engine.access, pressed(queue, key, type))
    assert last(queue) == (subject, type, "why", "cli:ann@here")


def test_a_second_time_a_key_takes_it_back(queue: Queue):
    queue.enqueue("true", id="a")
    queue.hold("a")
    queue.pause("default")
    queue.pause()

    async def steps(screen: TopScreen) -> None:
        await screen.until("Waiting 1")
        await screen.press("tab")
        for key, done in (("h", "a was let go"), ("P", "all queues resumed"), ("p", "queue default resumed")):
            await screen.press(key, "enter")
            await screen.until(done)

    drive(queue.engine.access, steps)
    assert [(each.subject, each.type) for each in queue.events(after=4)] == [
        ("a", "unheld"), ("", "queue_resumed"), ("default", "queue_resumed")
    ]  # fmt: skip


def test_escape_changes_nothing(queue: Queue):
    queue.enqueue("true", id="a")

    async def steps(screen: TopScreen) -> None:
        await screen.until("Waiting 1")
        await screen.press("tab", "c", "text:why", "escape")
        await screen.until(lambda: "cancel a" not in screen.text)
        assert "c Cancel" in screen.footer

    drive(queue.engine.access, steps)
    assert last(queue)[1] == "enqueued"


def test_what_died_is_retried(lab: Lab):
    lab.queue.enqueue("exit 3", id="broken", max_retries=0)
    lab.drain()

    async def steps(screen: TopScreen) -> None:
        await screen.until("broken +exit 3")
        await screen.press("shift+tab", "shift+tab", "r")
        await screen.press("enter")
        await screen.until("broken runs again")

    drive(lab.database, steps)
    assert last(lab.queue) == ("broken", "requeued", None, "cli:ann@here")


def test_what_runs_is_suspended_continued_and_cancelled(lab: Lab):
    lab.queue.enqueue("sleep 600", id="long", timeout=None)
    lab.start()
    lab.processing("long")

    async def steps(screen: TopScreen) -> None:
        await screen.until("Running 1")
        await screen.press("u", "enter")
        await screen.until("long +[0-9a-z]+, suspended")
        await screen.press("u", "enter")
        await screen.until("long goes on")
        await screen.until(r"long +\d+m?s? +sleep")
        await screen.press("c", "text:enough", "enter")
        await screen.until("Running 0")

    drive(lab.database, steps)
    types = [each for each in lab.log("long") if each not in ("enqueued", "claimed")]
    assert types == ["suspended", "continued", "cancel_requested", "cancelled"]
    assert getattr(lab.records("cancel_requested")[0].event, "reason", None) == "enough"


def test_a_refusal_is_one_line(queue: Queue):
    queue.enqueue("true", id="a")

    async def steps(screen: TopScreen) -> None:
        await screen.until("Waiting 1")
        await screen.press("tab", "h")
        queue.cancel("a")
        await screen.press("enter")
        await screen.until("hold a: job a is cancelled")

    drive(queue.engine.access, steps)


def test_read_only_has_no_keys_that_change(queue: Queue):
    queue.enqueue("true", id="a")
    before = last(queue)

    async def steps(screen: TopScreen) -> None:
        await screen.until("Waiting 1")
        await screen.press("tab", "c", "h", "p", "P", "s", "e", "enter")
        await screen.until("its history")
        await screen.press("escape")
        await screen.until("Details")
        assert "read-only" in screen.text
        assert "Cancel" not in screen.footer
        await screen.press("question_mark")
        await screen.until("Keys")
        assert "cancel" not in screen.text

    drive(queue.engine.access, steps, read_only=True)
    assert last(queue) == before

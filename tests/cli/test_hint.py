"""What commands that wait say of why a job does not start: on a terminal any reason, else that no worker will come."""

import os
import pty
import subprocess
from collections.abc import Iterator
from pathlib import Path
from select import select

import pytest

from queuectl import Queue
from queuectl.admission import Reason
from queuectl.cli.ui import hint, wording
from queuectl.clock import monotonic
from queuectl.workers.turn import TurnWriter
from tests.support.engine_actions import claim
from tests.support.shell import Shell


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "hints.db", actor="cli:ann@here") as queue:
        yield queue


class Hint:
    """A hint that looks whenever it is asked to."""

    def __init__(self, queue: Queue, *ids: str, terminal: bool = True, has_worker: bool = False) -> None:
        self.told: list[str] = []
        self._say = hint.WaitHint(queue, ids, self.told.append, terminal=terminal, has_worker=has_worker)

    def look(self, times: int = 1) -> list[str]:
        """What is told in so many looks."""
        self.told.clear()
        for _ in range(times):
            self._say()
        return self.told


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hint, "PATIENCE", 0.0)
    monkeypatch.setattr(hint, "PIPED", 0.0)
    monkeypatch.setattr(hint.clock, "monotonic", lambda: 0.0)


def test_each_reason_is_told_once(queue: Queue) -> None:
    queue.enqueue("true", id="a", queue="gpu", held=True)
    queue.pause("gpu", reason="deploy")
    say = Hint(queue, "a")
    assert say.look(3) == ["waiting: held by cli:ann@here; `queuectl release a` frees it"]
    queue.release("a")
    assert say.look() == [], "it may be of a moment"
    paused = "waiting: the queue gpu is paused by cli:ann@here: deploy; `queuectl resume gpu` frees it"
    assert say.look(2) == [paused]
    queue.hold("a")
    say.look(2)
    queue.release("a")
    assert say.look(3) == [paused], "again, after another one"
    queue.cancel("a")
    assert say.look(2) == []


def test_several_jobs_are_summed_up(queue: Queue) -> None:
    queue.enqueue_many(["true"] * 3)
    queue.enqueue("true", id="h", held=True)
    TurnWriter(queue, "w", (), "").start(1)
    queue.pause("default", seconds=3600)
    say = Hint(queue, "1", "2", "3", "h", "gone")
    [paused, held] = say.look(2)
    assert paused.startswith("waiting: 3 jobs: the queue default is paused by cli:ann@here until ")
    assert paused.endswith("; `queuectl resume default` frees them")
    assert held == "waiting: 1 job: held; `queuectl release h` frees it"
    queue.resume("default")
    assert say.look(3) == [], "that they run in turn is no news"


def test_the_first_job_of_each_queue_is_asked(queue: Queue) -> None:
    queue.enqueue_many(["true"] * 3)
    queue.enqueue("true", queue="later", delay=3600)
    unserved, later = Hint(queue).look(2)
    assert unserved.startswith("waiting: 3 jobs: no worker serves the queue default; `queuectl worker start")
    assert later.startswith("waiting: 1 job: not due until ")


@pytest.mark.parametrize("ids", [["a"], []])
def test_without_a_terminal_only_missing_workers_are_told(queue: Queue, ids: list[str]) -> None:
    queue.enqueue("true", id="a", queue="gpu")
    queue.pause("gpu")
    assert Hint(queue, *ids, terminal=False).look(3) == []
    queue.resume("gpu")
    [told] = Hint(queue, *ids, terminal=False).look(3)
    assert "no worker serves the queue gpu; `queuectl worker start --queue gpu` frees it" in told
    assert [*queue.unserved()] == ["gpu"]
    assert Hint(queue, *ids, terminal=False, has_worker=True).look(3) == []


def test_a_job_that_waits_inside_says_why(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.limit("one", concurrency=1)
    queue.enqueue("true", id="outer", queue="one")
    queue.enqueue("true", id="inner", queue="one")
    claim(queue.engine, "w", 1)
    assert Hint(queue, "inner", terminal=False).look(3) == []
    monkeypatch.setenv("QUEUECTL_JOB_ID", "outer")
    monkeypatch.setenv("QUEUECTL_DB", queue.engine.url)
    [told] = Hint(queue, "inner", terminal=False).look(3)
    assert "1 job runs in the queue one, and 1 may" in told


@pytest.mark.parametrize(
    "kind, text, sentence",
    [
        ("held", "held", "held by ann until 09:00:00: lunch"),
        ("paused", "all queues are paused", "all queues are paused by ann until 09:00:00: lunch"),
        ("delayed", "not due", "not due until 09:00:00"),
        ("backoff", "its retry is not due", "its retry is not due until 09:00:00 (lunch)"),
        ("rate", "the queue mail starts 1/m", "the queue mail starts 1/m: the next at 09:00:00"),
        ("busy", "all slots are taken", "all slots are taken until about 09:00:00"),
    ],
)
def test_a_reason_is_a_sentence(monkeypatch: pytest.MonkeyPatch, kind: str, text: str, sentence: str) -> None:
    monkeypatch.setattr(wording, "local_time", lambda at, now: "09:00:00")
    reason = Reason(kind=kind, text=text, by="ann", why="lunch", when=1)
    assert wording.reason_sentence(reason) == sentence


def on_terminal(queuectl: Shell, *words: str, until: str) -> str:
    """What a command prints to stderr, a terminal, up to these words; then it is killed."""
    ours, theirs = pty.openpty()
    env = queuectl.env | {"TERM": "xterm"}
    with subprocess.Popen(
        queuectl.command(*words), cwd=queuectl.folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=theirs,
    ) as process:  # fmt: skip
        os.close(theirs)
        told, deadline = b"", monotonic() + 30
        while until.encode() not in told:
            assert select([ours], [], [], max(0.0, deadline - monotonic()))[0], told
            told += os.read(ours, 4096)
        process.terminate()
    os.close(ours)
    return told.decode()


@pytest.mark.parametrize("words", [("wait", "a"), ("logs", "-f", "a")])
def test_waiting_commands_say_why_on_a_terminal(queuectl: Shell, words: tuple[str, ...]) -> None:
    queuectl("enqueue", "--id", "a", "--queue", "gpu", "true").ok()
    queuectl("pause", "gpu", "--reason", "deploy").ok()
    told = on_terminal(queuectl, *words, until="frees it")
    assert "queuectl: waiting: the queue gpu is paused by cli:" in told
    assert ": deploy; `queuectl resume gpu` frees it" in told


def test_run_says_why_on_a_terminal(queuectl: Shell) -> None:
    queuectl("pause", "gpu").ok()
    told = on_terminal(queuectl, "run", "--queue", "gpu", "true", until="frees it")
    assert "waiting: the queue gpu is paused by cli:" in told
    assert "no worker" not in told

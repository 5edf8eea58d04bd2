"""Workers of several hosts on the command line: `worker list`, `recover` and `recover --gone` (R48)."""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from freezegun import freeze_time

from queuectl import Queue
from queuectl.workers.turn import TurnWriter
from tests.support.other_host import many_hosts, worker_on
from tests.support.shell import Answer

Inside = Callable[..., Answer]


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with many_hosts(), Queue(tmp_path / "q.db") as queue:
        yield queue


def rows(answer: Answer) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in answer.ok().out.splitlines()]


def test_workers_of_several_hosts_show_leases(queue: Queue, inside: Inside) -> None:
    with freeze_time("2026-11-24T12:00:00Z"):
        worker_on(queue, "b", "far", claims=0)
    with freeze_time("2026-11-24T12:01:00Z"):
        TurnWriter(queue, "here", (), queue.home.identity()).start(1)
    with freeze_time("2026-11-24T12:00:20Z"):
        heads, far, here = rows(inside("worker", "list"))
        assert heads == ["ID", "STATE", "PID", "HOST", "SLOTS", "QUEUES", "STARTED", "LEASE", "RUNS"]
        assert far[:2] == ["far", "running"], "it can't be seen, and was heard"
        assert far[-1] == "40s left"
        assert here[0] == "here"
        [document, _] = inside("worker", "list", "--json").ok().ndjson
        assert (document["alive"], document["lease"], document["lease_left"]) == (None, 60.0, 40.0)
    with freeze_time("2026-11-24T12:01:10Z"):
        _, far, _ = rows(inside("worker", "list"))
        assert (far[1], far[-1]) == ("silent", "not heard for 1m10s")
        assert next(iter(inside("worker", "list", "--json").ok().ndjson))["lease_left"] == 0.0


def test_workers_of_one_host_show_no_lease(queue: Queue, inside: Inside) -> None:
    TurnWriter(queue, "here", (), queue.home.identity()).start(1)
    assert "LEASE" not in rows(inside("worker", "list"))[0]


def test_recover_names_silent_hosts_only(queue: Queue, inside: Inside) -> None:
    with freeze_time("2026-11-24T12:00:00Z"):
        queue.enqueue("true")
        worker_on(queue, "node b", "far")
    with freeze_time("2026-11-24T12:00:50Z"):
        assert inside("recover").ok().err == ""
    with freeze_time("2026-11-24T12:01:10Z"):
        said = inside("recover").ok().err
    assert said == (
        "queuectl: worker far (on node b) can't be seen from here, and holds 1 job; if it lives no more, bring back"
        " what it holds: queuectl recover --gone 'node b'\n"
    )


def test_a_gone_host_is_recovered_with_a_reason(queue: Queue, inside: Inside) -> None:
    id = queue.enqueue("true")
    worker_on(queue, "b", "far")
    heads, *table = rows(inside("recover", "--gone", "b", "--reason", "burnt"))
    assert heads == ["worker far is dead"]
    assert table[1][:5] == [id, "1", "far", "failed", "failed"]
    [lost] = queue.events(type="worker_lost")
    assert lost.actor.startswith("cli:")
    assert "which is gone (burnt)" in lost.data


@pytest.mark.parametrize(
    "words, code, told",
    [
        (["--gone", "x"], 1, "no worker is up on a host 'x'; there are some on b\n"),
        (["--gone", os.uname().nodename], 3, f"{os.uname().nodename} is this host: its dead workers are"),
        (["--gone", "b", "--hung"], 2, "--hung, --gone: give one of them\n"),
        (["--reason", "why"], 2, "--reason: goes with --gone\n"),
    ],
)
def test_a_wrong_host_is_refused(queue: Queue, inside: Inside, words: list[str], code: int, told: str) -> None:
    worker_on(queue, "b", "far", claims=0)
    assert f"{inside('recover', *words).refused(code)}\n".startswith(told)
    assert queue.workers()[0].live


def test_a_terminal_asks_before_a_takeover(queue: Queue, inside: Inside, monkeypatch: pytest.MonkeyPatch) -> None:
    queue.enqueue("true")
    worker_on(queue, "b", "far")
    monkeypatch.setattr("queuectl.cli.ui.output.stderr_is_terminal", lambda: True)

    def answering(text: str, *words: str) -> Answer:
        typed = io.StringIO(text)
        typed.isatty = lambda: True  # pyright: ignore[reportAttributeAccessIssue]
        monkeypatch.setattr("sys.stdin", typed)
        return inside("recover", "--gone", "b", *words).ok()

    assert answering("n\n").err == (
        "queuectl: take over 1 worker with 1 job of host b, which run twice if it lives? [y/N]"
        " queuectl: nothing was changed\n"
    )
    assert queue.workers()[0].live
    assert answering("", "--yes").err == ""
    assert queue.workers() == []

"""A commit waits for a synchronous standby, and that wait is ended: nothing is acknowledged on it, nor done twice (P4).

The server has committed by then, and says so with a notice; whether the standby will ever have it is not known.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from secrets import token_hex
from typing import Any, Self

import psycopg
import pytest

from queuectl import Queue
from queuectl.clock import monotonic
from queuectl.doctor import InspectedQueue, examine
from queuectl.engines.contents import contents
from queuectl.engines.postgres import durable, server_health
from queuectl.engines.postgres.errors import Unreachable, Unsure
from tests.support.postgres.keeper import OWNER, Room
from tests.support.postgres.pair import Pair
from tests.support.postgres.servers import Servers

ENDS = ("pg_cancel_backend", "pg_terminate_backend")
"""What an administrator may do to a session that waits."""


class Waiting:
    """A call in a thread, which waits for the standby, and what an administrator sees and does."""

    def __init__(self, pair: Pair, call: Callable[[], Any]) -> None:
        self._pair = pair
        self._aside = ThreadPoolExecutor(1)
        self.call: Future[Any] = self._aside.submit(call)
        self._wait: tuple[int, datetime] | None = None
        """The session that waits, and since when its transaction is open."""

    def __enter__(self) -> Self:
        self._next()
        return self

    def __exit__(self, *_: object) -> None:
        self._pair.heal()
        self._aside.shutdown()

    def end(self, function: str) -> None:
        """End the session's wait; returns when the call waits anew. Fails where it does not."""
        self.end_for_good(function)
        self._next()

    def end_for_good(self, function: str) -> None:
        """End the session's wait."""
        assert self._wait is not None
        with self._administrator() as administrator:
            administrator.execute(f"select {function}(%s)".encode(), [self._wait[0]])

    def result(self) -> Any:
        return self.call.result(60)

    def _next(self) -> None:
        deadline = monotonic() + 30
        with self._administrator() as administrator:
            while monotonic() < deadline:
                found = administrator.execute(
                    "select pid, xact_start from pg_stat_activity where wait_event = 'SyncRep'"
                ).fetchall()
                assert not self.call.done(), f"it did not wait: {self.call.exception() or self.call.result()}"
                if found and found != [self._wait]:
                    [self._wait] = found
                    return
                time.sleep(0.01)
        raise AssertionError("it neither waits for the standby nor ends")

    def _administrator(self) -> psycopg.Connection[Any]:
        return psycopg.connect(self._pair.primary.address.administrator(OWNER), autocommit=True)


@pytest.fixture(scope="module")
def pair(postgres_room: Room) -> Iterator[Pair]:
    with Servers(postgres_room) as servers, Pair(servers) as pair:
        yield pair


@pytest.fixture
def url(pair: Pair, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    yield f"{pair.url}&schema=q_{token_hex(4)}"
    pair.heal()


@pytest.mark.parametrize("end", ENDS)
def test_an_ended_wait_acknowledges_nothing(pair: Pair, url: str, end: str) -> None:
    with Queue(url) as queue:
        queue.enqueue("true", id="before")
        pair.cut()
        with Waiting(pair, lambda: queue.enqueue("true", id="asked")) as waiting:
            for _ in range(3):
                waiting.end(end)
            pair.heal()
            assert waiting.result() == "asked"
        assert [record.stream for record in queue.events()] == ["job:before", "job:asked"]
        assert queue.check() == []


def test_a_reader_says_nothing_before_the_standby(pair: Pair, url: str) -> None:
    with Queue(url) as queue, Queue(url) as reader:
        queue.enqueue("true")
        pair.cut()
        queue.engine.set_durability("normal")
        queue.enqueue("true")
        with Waiting(pair, lambda: reader.status().total) as waiting:
            for _ in range(2):
                waiting.end("pg_cancel_backend")
            pair.heal()
            assert waiting.result() == 2


@pytest.mark.parametrize("end", ENDS)
def test_an_import_waits_for_the_standby(pair: Pair, url: str, end: str, tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as source, Queue(url) as queue, source.engine.snapshot() as view:
        pair.cut()
        with Waiting(pair, lambda: queue.engine.load(contents(view, secrets=False))) as waiting:
            if end == "pg_cancel_backend":
                waiting.end(end)
                pair.heal()
                assert waiting.result() == 0
            else:
                waiting.end_for_good(end)
                with pytest.raises(Unsure, match="may be done or not"):
                    waiting.result()


@pytest.mark.parametrize("attributes", ["read-write", "any"])
def test_a_failover_tells_what_became_of_it(pair: Pair, url: str, attributes: str) -> None:
    with Queue(url.replace("read-write", attributes)) as queue:
        queue.enqueue("true", id="before")
        pair.cut()
        with Waiting(pair, lambda: queue.enqueue("true", id="asked")) as waiting:
            waiting.end("pg_cancel_backend")
            pair.fail_over()
            with pytest.raises(Unreachable, match="nothing was written"):
                waiting.result()
        assert queue.enqueue("true", id="asked") == "asked"
        assert [record.stream for record in queue.events()] == ["job:before", "job:asked"]
    pair.rejoin()


def test_commands_give_up_where_nothing_is_durable(pair: Pair, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with Queue(url) as queue, Queue(url) as reader:
        queue.enqueue("true", id="before")
        pair.cut()
        monkeypatch.setattr(durable, "PATIENCE", 0.3)
        with pytest.raises(Unsure, match="is written, and may still get lost"):
            queue.enqueue("true", id="asked")
        with pytest.raises(Unreachable, match="a synchronous standby is away"):
            reader.status()
        pair.heal()
        monkeypatch.undo()
        assert reader.status().total == 2
        assert [record.stream for record in queue.events()] == ["job:before", "job:asked"]


def test_a_worker_waits_for_the_standby(pair: Pair, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "PATIENCE", 0.0)
    calls: list[float] = []
    with Queue(url) as queue:
        pair.cut()
        with ThreadPoolExecutor(1) as aside:
            report = aside.submit(_as_a_worker, queue, lambda: calls.append(monotonic()))
            while len(calls) < 20:
                assert not report.done()
                time.sleep(0.01)
            pair.heal()
            assert report.result(60) == "1"


def _as_a_worker(queue: Queue, meanwhile: Callable[[], None]) -> str:
    queue.engine.while_waiting(meanwhile)
    return queue.enqueue("true")


def test_doctor_says_that_commits_wait(pair: Pair, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_health, "STANDBY", 0.0)
    with Queue(url) as queue:
        queue.enqueue("true")
        pair.cut()
        with Waiting(pair, lambda: queue.enqueue("true")), InspectedQueue(url) as inspected:
            [check] = [check for check in examine(inspected) if check.name == "server"]
            told = [finding.what for finding in check.findings if finding.severity == "problem"]
    assert len(told) == 1
    assert told[0].startswith("nothing that is written is acknowledged: 1 session waits, for up to")

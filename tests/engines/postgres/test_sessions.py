"""Sessions that end, servers that go away in the middle, forks: what was acknowledged is there, and once."""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from typing import Any

import pytest

from queuectl import Queue
from queuectl.engines import log_transaction
from queuectl.engines.postgres.connection import LATER, SESSION, connect
from queuectl.engines.postgres.engine import PostgresEngine
from queuectl.engines.postgres.errors import Unreachable
from queuectl.engines.postgres.location import locate_postgres
from queuectl.errors import Busy, Unusable
from tests.support.engine_actions import add
from tests.support.postgres.database import Database


class Cuttable:
    """A TCP proxy before the server, of which the connections can be cut at a word of the client's."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.cut_at: bytes | None = None
        """What a client has sent when its connection is cut."""
        self.passes_on = True
        """Whether the server still gets that."""
        self.cuts = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()
        for pair in self._pairs:
            for each in pair:
                each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._pairs.append((client, server))
                is_cut = threading.Event()
                threading.Thread(target=self._ask, args=(client, server, is_cut), daemon=True).start()
                threading.Thread(target=self._answer, args=(server, client, is_cut), daemon=True).start()

    def _ask(self, client: socket.socket, server: socket.socket, is_cut: threading.Event) -> None:
        with suppress(OSError):
            while data := client.recv(65536):
                if self.cut_at is not None and self.cut_at in data:
                    self.cut_at = None
                    self.cuts += 1
                    is_cut.set()
                    if not self.passes_on:
                        break
                server.sendall(data)
            end(client, server)

    def _answer(self, server: socket.socket, client: socket.socket, is_cut: threading.Event) -> None:
        with suppress(OSError):
            while (data := server.recv(65536)) and not is_cut.is_set():
                client.sendall(data)
            end(client, server)


def end(*sockets: socket.socket) -> None:
    for each in sockets:
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(postgres: Database) -> Iterator[Cuttable]:
    proxy = Cuttable(postgres.address.port)
    yield proxy
    proxy.close()


@pytest.fixture
def through(proxy: Cuttable, postgres: Database, postgres_url: str) -> str:
    return postgres_url.replace(f":{postgres.address.port}/", f":{proxy.port}/")


def test_a_session_that_ended_is_replaced(postgres: Database) -> None:
    with Queue(postgres.named_url) as queue:
        for change in (lambda: queue.enqueue("true"), lambda: queue.status().total):
            assert postgres.end_sessions() == 1
            assert change()
        assert [job.id for job in queue.jobs()] == ["1"]


@pytest.mark.parametrize("passes_on", [True, False])
def test_a_commit_cut_off_is_looked_up(through: str, proxy: Cuttable, passes_on: bool) -> None:
    with Queue(through) as queue:
        queue.enqueue("true")
        proxy.passes_on, proxy.cut_at = passes_on, b"pg_notify"
        if passes_on:
            assert queue.enqueue("true") == "2"
        else:
            with pytest.raises(Unreachable, match="nothing was written"):
                queue.enqueue("true")
        assert proxy.cuts == 1
        assert queue.enqueue("true") == ("3" if passes_on else "2")
        assert queue.status().total == (3 if passes_on else 2)
        assert queue.check() == []


def test_a_forked_child_has_its_own_session(postgres_url: str) -> None:
    with Queue(postgres_url) as queue:
        queue.enqueue("true")
        child = os.fork()
        if not child:
            with suppress(BaseException):
                os._exit(0 if queue.enqueue("true") == "2" else 1)
            os._exit(1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert queue.enqueue("true") == "3"
        assert queue.status().total == 3


def test_a_stopped_holder_of_the_lock_is_ended(postgres_url: str) -> None:
    with Queue(postgres_url) as queue:
        queue.enqueue("true")
        read_end, write_end = os.pipe()
        child = os.fork()
        if not child:
            with suppress(BaseException), queue.engine.transaction():
                os.write(write_end, b"inside")
                signal.pause()
            os._exit(0)
        try:
            assert os.read(read_end, 6) == b"inside"
            os.kill(child, signal.SIGSTOP)
            calls: list[None] = []
            with queue.engine.transaction(30.0, lambda: calls.append(None)):
                pass
            assert calls
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)


def test_many_jobs_at_once_may_take_long(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SESSION, "idle_in_transaction_session_timeout", "500ms")
    with Queue(postgres_url) as queue:
        ids = queue.enqueue_many(["true"] * 2500, progress=lambda done: time.sleep(1))  # as slow as with many more
        monkeypatch.setattr(log_transaction, "evolve", slow_once(log_transaction.evolve))
        assert len(queue.cancel(*ids)) == 2500
        with pytest.raises(Unreachable, match="nothing was written"), queue.engine.transaction():
            time.sleep(1)  # whoever writes little may not


def slow_once(function: Callable[..., Any]) -> Callable[..., Any]:
    calls: list[None] = []

    def slow(*words: Any) -> Any:
        if not calls:
            time.sleep(1)
            calls.append(None)
        return function(*words)

    return slow


def test_the_wait_for_the_lock_has_an_end(postgres_url: str) -> None:
    with Queue(postgres_url) as queue, Queue(postgres_url) as other:
        with queue.engine.transaction(), pytest.raises(Busy, match=r"locked for 0\.2 s"), other.engine.transaction(0.2):
            pass
        add(other.engine, "a")


def test_another_log_than_acknowledged_is_told(postgres: Database) -> None:
    with Queue(postgres.named_url) as queue:
        queue.enqueue("true")
        note = f"{queue.home.folder}/high-water"
        with open(note, "r+b") as file:
            text = file.read()
            file.seek(0)
            file.write(text[:-20] + b"%020d" % (int(text[-20:]) + 1))  # as after a failover, when others have gone on
        assert postgres.end_sessions() == 1
        with pytest.raises(Unusable, match="has another event 1 than was acknowledged"):
            queue.enqueue("true")
        os.unlink(note)
        assert queue.enqueue("true") == "2"


def test_an_older_log_than_acknowledged_is_told(postgres_url: str) -> None:
    with Queue(postgres_url) as queue:
        queue.enqueue("true")
        engine = queue.engine
        assert isinstance(engine, PostgresEngine)
        note = f"{engine.home.folder}/high-water"
        with open(note, "r+b") as file:
            rest = file.read()[20:]
            file.seek(0)
            file.write(b"%020d" % 99 + rest)
        told = r"ends with event 1, but 99 were acknowledged"
        checks: list[Callable[[], object]] = [lambda: queue.enqueue("true"), lambda: Queue(postgres_url)]
        for check in checks:
            with pytest.raises(Exception, match=told):
                check()


@pytest.mark.parametrize("version", [16, 18])
def test_settings_hold_whatever_the_role_has(postgres_with: Callable[..., Database], version: int) -> None:
    database = postgres_with(version)
    url = database.role()
    wanted = {**SESSION, "search_path": locate_postgres(url).search_path}
    if version >= 17:
        wanted |= LATER
        database.execute(f"alter role {database.schema}_0 set transaction_timeout = '1s'")
    database.execute(f"alter role {database.schema}_0 set jit = on; alter role {database.schema}_0 set search_path = x")
    session, facts = connect(locate_postgres(url))
    with closing(session):
        assert not session.pooled
        assert facts.version // 10_000 == version
        shown = {name: session.execute(f"select current_setting('{name}')")[0][0] for name in wanted}
    assert shown == wanted

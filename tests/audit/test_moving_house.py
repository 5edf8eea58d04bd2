"""A queue with its history moves to another engine and back: event by event, with its leaves, and its secrets if asked.

`sqlite` is a queue in which much has happened: seals, archives, every kind of event that random histories have.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from queuectl import Queue
from queuectl.audit.archive import archive
from queuectl.audit.backup import backup
from queuectl.audit.import_log import rebuild, take
from queuectl.audit.seal import seal
from queuectl.audit.verify import verify
from queuectl.clock import now
from queuectl.decisions import Outcome, Report
from queuectl.engines.contents import Contents, contents
from queuectl.engines.postgres.connection import SESSION
from queuectl.errors import Invalid, QueueError, Refused
from queuectl.events import Recorded
from queuectl.workers.turn import TurnWriter
from tests.support.shell import Shell

Parts = tuple[list[Recorded], list[object], list[object]]

KILLED = """
import os, signal, sys
from queuectl import Queue
from queuectl.audit.backup import backup
from queuectl.engines.sqlite import copy
copy.Registry.replay = lambda *_: os.kill(os.getpid(), signal.SIGKILL)  # when the log is taken in
with Queue(sys.argv[1]) as queue:
    backup(queue, sys.argv[2])
"""

KILLED_MOVE = """
import os, signal, sys
from queuectl import Queue
from queuectl.audit.import_log import rebuild
with Queue(sys.argv[1]) as queue:
    rebuild(queue, sys.argv[2], lambda *_: os.kill(os.getpid(), signal.SIGKILL))
"""


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db", actor="test") as queue:
        fill(queue, tmp_path)
        yield queue


def fill(queue: Queue, folder: Path) -> None:
    """A history with archived and sealed events, secrets, and text that is not plain."""
    writer = TurnWriter(queue, "w", (), "")
    writer.start(8)
    queue.enqueue_many(["true"] * 5)
    claims = writer.turn([], [], 5, holding=[], heartbeat=None).claims
    reports = [Report(claim.lease, Outcome(exit_code=number)) for number, claim in enumerate(claims)]
    writer.turn(reports, [], 0, holding=[], heartbeat=None)
    seal(queue)
    archive(queue, str(folder / "old.gz"), now())
    queue.enqueue("echo 'ä\\u0000 \U0001f600'", id="a-%s-$1-?", secrets={"TOKEN": "a-secret-value"})
    queue.enqueue("true", after=("a-%s-$1-?",))
    queue.note("halfway\nthere", "a-%s-$1-?")
    queue.set_config("max-retries", "5")
    seal(queue)
    queue.enqueue("true")


def parts(queue: Queue) -> Parts:
    """All that a queue has beside tables, as it is stored."""
    with queue.engine.snapshot() as view:
        found = contents(view, secrets=True)
        return [*found.records], [*found.leaves], [*found.secrets]


def test_a_queue_moves_there_and_back_unchanged(sqlite: Queue, postgres_url: str, tmp_path: Path) -> None:
    with Queue(postgres_url) as there, Queue(tmp_path / "back.db") as back:
        assert take(there, sqlite, secrets=True) == len(parts(sqlite)[0])
        take(back, there, secrets=True)
        assert parts(sqlite) == parts(there) == parts(back)
        assert all(parts(there))

        for queue in (there, back):
            assert queue.check() == []
            assert verify(queue) == verify(sqlite)
            assert queue.enqueue("true") == "8"


def test_inputs_go_along_both_ways(tmp_path: Path, postgres_url: str) -> None:
    (tmp_path / "in").write_bytes(b"a\0\377")
    with Queue(tmp_path / "q.db") as here, Queue(postgres_url) as there, Queue(tmp_path / "back.db") as back:
        id = here.enqueue("cat", stdin=str(tmp_path / "in"))
        shutil.rmtree(take_along(here, there).home.stdin)  # as on another host
        name = take_along(there, back).job(id).policy.stdin
        assert name is not None
        assert Path(f"{back.home.stdin}/{name}").read_bytes() == b"a\0\377"


def take_along(source: Queue, target: Queue) -> Queue:
    take(target, source)
    return target


def test_ends_of_outputs_go_to_postgresql(queuectl: Shell, postgres_url: str) -> None:
    queuectl("enqueue", "--split-output", "seq 100000; echo error >&2").ok()
    queuectl("worker", "start", "--drain").ok()
    queuectl("import", "--db", postgres_url, "q.db").ok()
    shown = queuectl("logs", "--db", postgres_url, "1", "--tail", "1").ok()
    assert shown.out == "100000\nerror\n"


def test_a_backup_of_postgres_is_a_queue(sqlite: Queue, postgres_url: str, tmp_path: Path) -> None:
    with Queue(postgres_url) as there:
        take(there, sqlite, secrets=True)
        assert backup(there, str(tmp_path / "copy.db")) == (tmp_path / "copy.db").stat().st_size
        backup(there, str(tmp_path / "with.db"), secrets=True)
    assert [entry.name for entry in tmp_path.glob("copy.db*")] == ["copy.db"]
    assert b"a-secret-value" not in (tmp_path / "copy.db").read_bytes()
    with Queue(tmp_path / "copy.db") as copy, Queue(tmp_path / "with.db") as complete:
        assert parts(copy) == (*parts(sqlite)[:2], [])
        assert parts(complete) == parts(sqlite)
        assert copy.check() == []
        assert verify(copy) == verify(sqlite)
        assert copy.enqueue("true") == "8"


def test_a_backup_is_as_of_one_moment(postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Queue(postgres_url) as there, Queue(postgres_url) as other:
        there.enqueue_many(["true"] * 20)
        monkeypatch.setattr("queuectl.engines.contents.PAGE", 5)

        def meanwhile(*args: object, **more: object) -> Contents:
            found = contents(*args, **more)  # pyright: ignore[reportArgumentType]
            return Contents(add_after_first(found), found.leaves, found.secrets)

        def add_after_first(found: Contents) -> Iterator[Recorded]:
            for number, record in enumerate(found.records):
                if number == 1:
                    other.cancel("20")
                yield record

        monkeypatch.setattr("queuectl.engines.contents.contents", meanwhile)
        backup(there, str(tmp_path / "copy.db"))
        with Queue(tmp_path / "copy.db") as copy:
            assert copy.status().seq == 20
            assert copy.status().counts["cancelled"] == 0
        assert there.status().counts["cancelled"] == 1


def test_a_move_may_take_long(
    sqlite: Queue, postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rebuild(sqlite, postgres_url)
    monkeypatch.setitem(SESSION, "idle_in_transaction_session_timeout", "1s")
    with Queue(postgres_url) as there, Queue(tmp_path / "back.db") as back:
        take(back, there, progress=lambda *_: time.sleep(1.5))
        assert parts(back) == parts(there)


def test_a_killed_backup_leaves_no_queue(sqlite: Queue, postgres_url: str, tmp_path: Path) -> None:
    with Queue(postgres_url) as there:
        take(there, sqlite, secrets=True)
        done = subprocess.run([sys.executable, "-c", KILLED, postgres_url, str(tmp_path / "copy.db")], check=False)
        assert done.returncode == -9
        [draft] = tmp_path.glob("copy.db*")
        assert b"a-secret-value" not in draft.read_bytes()
        backup(there, str(tmp_path / "copy.db"))
    assert [entry.name for entry in tmp_path.glob("copy.db*")] == ["copy.db"]


def test_a_killed_move_may_be_done_again(sqlite: Queue, postgres_url: str) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED_MOVE, sqlite.url, postgres_url], check=False)
    assert done.returncode == -9
    with Queue(postgres_url, create=False) as there:
        assert there.status().seq == 0
    rebuild(sqlite, postgres_url)
    with Queue(postgres_url) as there:
        assert parts(there)[:2] == parts(sqlite)[:2]
        assert there.check() == []


def test_a_move_into_a_queue_is_refused(sqlite: Queue, postgres_url: str) -> None:
    with Queue(postgres_url) as there:
        there.enqueue("true")
        with pytest.raises(Refused, match="there is a log here already"):
            take(there, sqlite)
        with pytest.raises(QueueError, match="exists already"):
            rebuild(sqlite, postgres_url)
        assert there.status().counts["pending"] == 1


def twice(records: list[Recorded]) -> list[Recorded]:
    return [*records, records[-1]]


def torn(records: list[Recorded]) -> list[Recorded]:
    return [record for record in records if record.type != "enqueued"]


@pytest.mark.parametrize("spoil", [twice, torn])
def test_what_is_no_log_leaves_no_schema(
    sqlite: Queue, postgres_url: str, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[list[Recorded]], list[Recorded]]
) -> None:
    def spoilt(*args: object, **more: object) -> Contents:
        found = contents(*args, **more)  # pyright: ignore[reportArgumentType]
        return Contents(spoil([*found.records]), found.leaves)

    monkeypatch.setattr("queuectl.audit.import_log.contents", spoilt)
    with pytest.raises(Invalid):
        rebuild(sqlite, postgres_url)
    with psycopg.connect(postgres_url.partition("?")[0]) as connection:
        found = connection.execute("select 1 from pg_namespace where nspname = %s", (postgres_url.partition("=")[2],))
        assert found.fetchall() == []
    assert [*Path(os.environ["XDG_STATE_HOME"], "queuectl", "postgresql").iterdir()] == []

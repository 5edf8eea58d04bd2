"""A queue's log elsewhere: backups, imports of an export, a replay into a new file (R12, R22, R26)."""

import gzip
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import apsw
import pytest

from queuectl import Queue, clock
from queuectl.audit.backup import backup
from queuectl.audit.event_lines import LONGEST, lines
from queuectl.audit.import_checks import STREAM_KINDS
from queuectl.audit.import_log import load, rebuild
from queuectl.errors import Invalid, QueueError, Refused
from queuectl.events import Event
from queuectl.events import job as job_events
from queuectl.export import export
from tests.support.paths import DATA

KILLED = """
import os, signal
from queuectl.engines.sqlite import file_mark
file_mark.renew = lambda db: os.kill(os.getpid(), signal.SIGKILL)  # when all rows are written
with Queue(sys.argv[1]) as queue:
    backup(queue, sys.argv[2])
"""
WRITE = """
import sys
from queuectl import Queue
with Queue(sys.argv[1]) as queue:
    print("up", flush=True)
    while True:
        queue.enqueue("true")
"""


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        queue.enqueue("echo $TOKEN", secrets={"TOKEN": "a-secret-value"}, id="hidden")
        queue.enqueue_many(["true"] * 20)
        queue.cancel("1", reason="not needed")
        queue.set_config("max-retries", "5")
        yield queue


def exported(queue: Queue) -> list[bytes]:
    """The whole log, a line an event."""
    return b"".join(export(queue)).splitlines(keepends=True)


def test_a_backup_is_one_private_file(queue: Queue, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    umask = os.umask(0)
    try:
        assert backup(queue, str(path)) == path.stat().st_size
    finally:
        os.umask(umask)

    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.glob("copy.db*")] == ["copy.db"]
    with Queue(path) as copy:
        assert exported(copy) == exported(queue)
        assert copy.check() == []
        assert copy.enqueue("true") == "21"


def test_a_backup_has_secret_values_only_on_request(queue: Queue, tmp_path: Path) -> None:
    backup(queue, str(tmp_path / "without.db"))
    backup(queue, str(tmp_path / "with.db"), secrets=True)

    assert b"a-secret-value" not in (tmp_path / "without.db").read_bytes()
    with Queue(tmp_path / "with.db") as copy, copy.engine.transaction() as tx:
        assert tx.secrets("hidden") == {"TOKEN": "a-secret-value"}
    with Queue(tmp_path / "without.db") as copy, copy.engine.transaction() as tx:
        assert tx.secrets("hidden") == {}


def test_a_backup_equals_the_queue_row_by_row(queue: Queue, tmp_path: Path) -> None:
    backup(queue, str(tmp_path / "copy.db"), secrets=True)
    queue.close()

    def whole(path: Path) -> dict[str, object]:
        db = apsw.Connection(str(path))
        schema = sorted(db.execute("select type, name, tbl_name, sql from sqlite_schema"), key=repr)
        tables = [name for kind, name, *_ in schema if kind == "table" and name != "file_mark"]
        rows = {name: sorted(db.execute(f"select * from {name}"), key=repr) for name in tables}
        header = {name: db.pragma(name) for name in ("application_id", "user_version", "page_size", "encoding")}
        mark = db.execute("select mark from file_mark").get
        db.close()
        marks.append(mark)
        return {"schema": schema, **rows, **header}

    marks: list[str] = []
    assert whole(tmp_path / "copy.db") == whole(tmp_path / "q.db")
    assert marks[0] != marks[1], "a copy is another file"


def test_a_killed_backups_file_has_no_secrets(queue: Queue, tmp_path: Path) -> None:
    for number in range(200):
        queue.enqueue("true", secrets={"TOKEN": f"a-secret-value-{number}"})
    script = "import sys\nfrom queuectl import Queue\nfrom queuectl.audit.backup import backup\n" + KILLED
    done = subprocess.run([sys.executable, "-c", script, queue.url, str(tmp_path / "copy.db")], timeout=30)
    assert done.returncode == -9
    [left] = tmp_path.glob("copy.db*")
    assert b"CREATE TABLE events" in left.read_bytes()
    assert b"a-secret-value" not in left.read_bytes()

    backup(queue, str(tmp_path / "copy.db"))
    assert [entry.name for entry in tmp_path.glob("copy.db*")] == ["copy.db"]


def test_a_backup_during_writes_is_of_one_moment(queue: Queue, tmp_path: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITE, queue.url], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        for number in range(5):
            backup(queue, str(tmp_path / f"{number}.db"))
            written, deadline = queue.status().seq, clock.monotonic() + 20
            while queue.status().seq == written:
                assert clock.monotonic() < deadline, "the writer is kept waiting"
    finally:
        writer.kill()
        writer.communicate()
    seen: list[int] = []
    for number in range(5):
        with Queue(tmp_path / f"{number}.db") as copy:
            assert copy.check() == []
            seen.append(copy.status().seq)
    assert seen == sorted(set(seen)), "each is of a later moment"


def test_a_backup_replaces_files_only_with_force(queue: Queue, tmp_path: Path) -> None:
    path = tmp_path / "copy.db"
    path.write_text("mine")
    with pytest.raises(QueueError, match=r"copy\.db exists already: name another file, or give --force"):
        backup(queue, str(path))
    assert path.read_text() == "mine"
    backup(queue, str(path), force=True)
    assert path.read_bytes().startswith(b"SQLite format 3")
    with pytest.raises(QueueError, match=r"can't write .*No such file"):
        backup(queue, str(tmp_path / "nowhere" / "copy.db"))
    with pytest.raises(QueueError, match="no regular file"):
        backup(queue, str(tmp_path), force=True)
    with pytest.raises(Invalid, match="is the queue itself"):
        backup(queue, queue.url, force=True)
    assert not list(tmp_path.glob("*.part"))


def test_an_imported_log_equals_the_exported_one(queue: Queue, tmp_path: Path) -> None:
    lines = exported(queue)
    with Queue(tmp_path / "new.db") as new:
        assert load(new, lines) == len(lines)
        assert exported(new) == lines
        assert new.check() == []
        assert new.enqueue("true") == "21", "numbers go on"
        with pytest.raises(Refused, match="there is a log here already"):
            load(new, lines)


def test_a_version_1_log_is_imported_unchanged(tmp_path: Path) -> None:
    lines = (DATA / "queue_v1.ndjson").read_bytes().splitlines(keepends=True)
    with Queue(tmp_path / "new.db") as new:
        load(new, lines)
        assert exported(new) == lines
        assert new.check() == []
    path = tmp_path / "old.db"
    path.write_bytes(gzip.decompress((DATA / "queue_v1.sqlite3.gz").read_bytes()))
    with Queue(path) as old, Queue(tmp_path / "new.db") as new:
        assert [job.state for job in old.jobs()] == [job.state for job in new.jobs()]


@pytest.mark.parametrize(
    "spoil, told",
    [
        (lambda lines: [*lines[:3], lines[3][:40]], "line 4: is no event as `queuectl export` writes it"),
        (lambda lines: [*lines[:3], b"\n", *lines[3:]], "line 4: is no event"),
        (lambda lines: [*lines[:3], b"[]\n"], "line 4: is no event"),
        (lambda lines: [*lines, lines[-1]], "comes after event"),
        (lambda lines: [lines[1], lines[0]], "line 2: event 1 comes after event 2"),
        (
            lambda lines: lines[:1] + lines[2:],
            "line 21: .*of 'job:1'.: events of its stream are missing, or out of order",
        ),
        (
            lambda lines: [lines[0], lines[0].replace(b'"seq":1,', b'"seq":2,')],
            "line 2: .*events of its stream are missing, or out of order",
        ),
        (lambda lines: [re.sub(rb'"v":\d+', b'"v":99', lines[0])], "line 1: .*newer queuectl"),
        (lambda lines: [lines[0].replace(b'"max_retries":3', b'"max_retries":"x"')], "line 1: .*damaged"),
    ],
)
def test_an_incomplete_log_is_refused_naming_the_line(
    queue: Queue, tmp_path: Path, spoil: Callable[[list[bytes]], list[bytes]], told: str
) -> None:

    with Queue(tmp_path / "new.db") as new:
        with pytest.raises(Invalid, match=f"{told}.*; nothing was taken in"):
            load(new, spoil(exported(queue)))
        assert new.status().seq == 0
        assert new.enqueue("true") == "1"


@pytest.mark.parametrize(
    "spoil, told",
    [
        ({"seq": 2**63}, "no event has such a number"),
        ({"seq": 2**63 - 1}, "no event has such a number"),
        ({"seq": 0}, "no event has such a number"),
        ({"version": 0}, "a stream does not go on with that"),
        ({"version": 2**70}, "a stream does not go on with that"),
        ({"v": 0}, "there is no version 0"),
        ({"at": "9999-12-31T23:59:59.999999Z"}, "its moment lies before 1970 or after the year 9000"),
        ({"at": "0001-01-01T00:00:00Z"}, "its moment lies before 1970"),
        ({"at": "9999-12-31T23:59:59-23:00"}, "its moment lies"),
        ({"at": "yesterday"}, "is no event as"),
        ({"stream": "job:../../victim/x"}, "may have no '/' in it"),
        ({"stream": "job:a\0b"}, "has control characters"),
        ({"stream": "job:" + "x" * 300}, "at most 200"),
        ({"stream": "job:007"}, "'007' is no number that the queue gives"),
        ({"stream": "job:99999999999999999999999"}, "is no number that the queue gives"),
        ({"stream": "job:"}, "is empty"),
        ({"stream": "config"}, "stands in a stream of job"),
        ({"stream": "worker:a"}, "stands in a stream of job"),
        ({"stream": "nonsense:a"}, "stands in a stream of job"),
        ({"actor": ""}, "actor: is empty"),
        ({"type": "cancelled", "data": {}}, "a stream does not begin with that"),
        ({"type": "heartbeat", "stream": "worker:a", "data": {}}, "a stream does not begin with that"),
        ({"data": {"command": None}}, "there is no command"),
        ({"data": {"command": ""}}, "the command is empty"),
        ({"data": {"command": "x" * 200_000}}, "at most 131071"),
        ({"data": {"command": "a\0b"}}, "has a NUL byte"),
        ({"data": {"argv": ["true"]}}, "not both"),
        ({"data": {"run_at": "x"}}, "run_at: 'x' is no moment"),
        ({"data": {"priority": 2**70}}, "too large"),
        ({"data": {"priority": 2**40}}, "priority: "),
        ({"data": {"queue": "a b"}}, "queue: "),
        ({"data": {"max_retries": -1}}, "max_retries: "),
        ({"data": {"backoff_base": 0.5}}, "backoff_base: "),
        ({"data": {"timeout": -1}}, "timeout: "),
        ({"data": {"on_lost": "banana"}}, "on_lost: "),
        ({"data": {"grace": -1}}, "grace: "),
        ({"data": {"memory_limit": 64}}, "memory_limit: 64 bytes are not from 4 MiB"),
        ({"data": {"stop_signal": "TREM"}}, "stop_signal: 'TREM' is no signal"),
        ({"data": {"stop_signal": "SIGINT"}}, "stop_signal: 'SIGINT' is not how it is written"),
        ({"data": {"ok_codes": [3]}}, "ok_codes: (3,) is not how it is written"),
        ({"data": {"no_retry_codes": [0]}}, "no_retry_codes: 0 is not from 1 to 255"),
        ({"stream": "job:good", "version": 2, "type": "cancel_requested", "data": {"signal": "x"}}, "signal: 'x' "),
        ({"data": {"trigger": {"job": "../x"}}}, "job: '../x' may have no '/' in it"),
        ({"data": {"trigger": {"schedule": "a", "moment": "soon"}}}, "moment: 'soon' is no moment"),
        ({"data": {"trigger": {"job": "a", "event": "enqueued"}}}, "trigger: 'enqueued' is no end of a job"),
        ({"data": {"trigger": {}}}, "trigger: names nothing"),
        ({"data": {"priority": 2**31, "trigger": {"job": "a"}}}, "priority: 2147483648 is not from "),
        ({"data": {"on_end": "none"}}, "on_end: 'none' is not how it is written"),
        ({"data": {"cwd": "tmp"}}, "not an absolute path"),
        ({"data": {"stdin": "../../../etc/passwd"}}, "names no input that was kept"),
        ({"data": {"secrets": ["a,b"]}}, "is not the name of a variable"),
        ({"data": {"env": {"A=B": "x"}}}, "is not the name of a variable"),
        ({"type": "config_set", "stream": "config", "data": {"key": "timeout", "value": "banana"}}, "timeout: "),
        ({"type": "config_set", "stream": "config", "data": {"key": "colour", "value": "red"}}, "there is no setting"),
        ({"type": "environment_kept", "stream": "env:0123456789abcdef0123456789abcdef", "data": {"variables": {}}},
         "does not hold what its name says"),
        ({"type": "worker_started", "stream": "worker:a", "data": {"host": "h", "pid": 1, "slots": 1,
          "identity": "../../x"}}, "identity: "),
        ({"type": "worker_started", "stream": "worker:a", "data": {"host": "h", "pid": 1, "slots": 1,
          "cgroup": "svc"}}, "cgroup: 'svc' is not an absolute path"),
        ({"type": "worker_started", "stream": "worker:a", "data": {"host": "h", "pid": 1, "slots": 1,
          "max_load": 0.0}}, "max_load, min_free_memory: are not above 0"),
        ({"type": "worker_started", "stream": "worker:a", "data": {"host": "h", "pid": 1, "slots": 1,
          "min_free_memory": 0}}, "max_load, min_free_memory: are not above 0"),
        ({"type": "worker_started", "stream": "worker:a", "data": {"host": "h", "pid": 1, "slots": 1,
          "lease": 1e6}}, "lease: 1e+06 is not a number of seconds above 0, up to 86400"),
        ({"type": "worker_started", "stream": "worker:a", "data": {"host": "h", "pid": 1, "slots": 1,
          "clock_ahead": -1e12}}, "clock_ahead: -1e+12 seconds are too many"),
        ({"type": "queue_paused", "stream": "queues", "data": {"until": "lunch"}}, "until: 'lunch' is no moment"),
        ({"type": "queue_limited", "stream": "queue:q", "data": {"concurrency": 0}}, "concurrency: 0 is not"),
        ({"type": "queue_limited", "stream": "queue:q", "data": {"rate": {"starts": 0, "seconds": 1.0}}},
         "rate: '0/s'"),
        ({"type": "queue_limited", "stream": "queue:q", "data": {"rate": {"starts": 1, "seconds": 0.0}}},
         "rate: '1/0s'"),
        ({"type": "queue_limited", "stream": "queue:q", "data": {"rate": {"starts": 1, "seconds": 1.0, "burst": 0}}},
         "burst: 0 is not"),
        ({"stream": "job:good", "version": 2, "type": "claimed", "data": {"attempt": 1, "worker": "w",
          "rates": {"q": "soon"}}}, "rates: 'soon' is no moment"),
        ({"stream": "job:good", "version": 2, "type": "released", "data": {"attempt": 1, "rates": {"q": "soon"}}},
         "rates: 'soon' is no moment"),
        ({"stream": "job:good", "version": 2, "type": "claimed", "data": {"attempt": 1, "worker": "w",
          "granted": {"gpu": [1, 0]}}}, "granted: (1, 0) are not numbers of pieces"),
        ({"type": "batch_opened", "stream": "batch:b", "data": {"halt": "fail=3,soon"}},
         "halt: 'fail=3,soon' is no rule"),
        ({"type": "archived", "stream": "job:a", "data": {"file": "/a", "events": 5, "state": "dead",
          "passed": [[1, "2026-11-28T00:00:00Z", "dead"]]}}, "is not that of those before it"),
        ({"type": "sealed", "stream": "audit", "data": {"upto": 9, "events": 9, "hash": "00"}}, "is no seal"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_line(tmp_path: Path, spoil: dict[str, Any], told: str) -> None:
    first = {"command": "true", "run_at": "2026-11-28T00:00:00Z", "cwd": "/", "max_retries": 0, "backoff_base": 2.0,
             "backoff_max": 1.0}  # fmt: skip
    event: dict[str, Any] = {"seq": 1, "stream": "job:a", "version": 1, "type": "enqueued", "v": 1,
             "at": "2026-11-28T00:00:00.000000Z", "actor": "x", "data": first}  # fmt: skip
    data = spoil.get("data", {})
    wrong = event | spoil | {"data": first | data if spoil.get("type", "enqueued") == "enqueued" else data}
    good = event | {"seq": 1, "stream": "job:good"}
    wrong["seq"] = spoil.get("seq", 2)
    with Queue(tmp_path / "new.db") as new:
        with pytest.raises(Invalid, match=f"^line 2: .*{re.escape(told)}.*; nothing was taken in$"):
            load(new, [json.dumps(line).encode() + b"\n" for line in (good, wrong)])
        assert new.status().seq == 0
        assert new.enqueue("true") == "1"


def test_every_type_has_its_kind_of_stream() -> None:
    of_jobs = vars(job_events).values()
    assert {kind.type for kind in Event.__args__ if kind not in of_jobs} <= STREAM_KINDS.keys()


def test_too_deep_or_too_long_lines_are_refused(tmp_path: Path) -> None:
    deep = b'{"zz":' + b"[" * 99_999 + b"]" * 99_999 + b"}\n"
    (tmp_path / "long").write_bytes(b"\n" + b" " * (LONGEST + 1))
    with Queue(tmp_path / "new.db") as new:
        with pytest.raises(Invalid, match=r"line 1: .*nested too deeply"):
            load(new, [deep])
        with open(tmp_path / "long", "rb") as file:
            line = lines(file)
            assert next(line) == b"\n"
            with pytest.raises(Invalid, match="longer than 16 MiB"):
                next(line)


def test_an_empty_file_is_no_log(tmp_path: Path) -> None:
    with Queue(tmp_path / "new.db") as new, pytest.raises(Invalid, match="there is no event in it"):
        load(new, [])


def test_a_queue_with_damaged_tables_is_rebuilt_elsewhere(queue: Queue, tmp_path: Path) -> None:
    lines = exported(queue)
    with queue.engine.transaction() as tx:
        tx._db.execute("update jobs set state = 'dead'")  # pyright: ignore[reportAttributeAccessIssue]
    assert queue.check() != []

    assert rebuild(queue, str(tmp_path / "mended.db")) == len(lines)

    with Queue(tmp_path / "mended.db") as mended:
        assert exported(mended) == lines
        assert mended.check() == []
        assert mended.status().counts["pending"] == 20
    with pytest.raises(QueueError, match="exists already"):
        rebuild(queue, str(tmp_path / "mended.db"))


def test_a_rebuild_that_fails_leaves_nothing_behind(queue: Queue, tmp_path: Path) -> None:
    def told(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        rebuild(queue, str(tmp_path / "mended.db"), told)

    assert not list(tmp_path.glob("mended.db*"))

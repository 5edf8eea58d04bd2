"""What the doctor says of the file, the log and what surrounds it: each ill is a real one."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from freezegun import freeze_time

from projections.config import Config
from queuectl import Queue, doctor
from queuectl.doctor import Check, Finding, InspectedQueue
from queuectl.doctor.checks import environment
from queuectl.engines.sqlite import doorbell
from queuectl.engines.sqlite.location import locate
from queuectl.engines.view import Write
from queuectl.events import ConfigSet
from queuectl.workers.recovery import worker_lock
from tests.support.paths import ROOT

FILE_CHECKS = [name for name in doctor.CHECKS if name != "server"]  # a queue in a file has none
BEHIND = "import apsw, sys\ndb = apsw.Connection(sys.argv[1])\nfor sql in sys.argv[2:]: list(db.execute(sql))"
UNGUARD = ("drop trigger events_no_delete", "drop trigger events_no_update")
STUBBORN = """
import apsw, os, signal, sys
db = apsw.Connection(sys.argv[1])
db.execute("begin")
db.execute("select count(*) from events").get
print(flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""

STOPPED_WRITER = """
import os, signal, sys
from queuectl import Queue
with Queue(sys.argv[1]).engine.transaction():
    os.kill(os.getpid(), signal.SIGSTOP)
"""
NOISE = """
import apsw, sys
db = apsw.Connection(sys.argv[1])
db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_TRUNCATE)
page = db.execute("select max(pageno) from dbstat where name = ?", (sys.argv[2],)).get
db.close()
with open(sys.argv[1], "r+b") as file:
    file.seek((page - 1) * 4096)
    file.write(bytes([165]) * 4096)
"""


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A queue with three jobs, of which one was cancelled: events 1 to 4, and 5 for the settings."""
    monkeypatch.chdir(tmp_path)
    database = str(tmp_path / "q.db")
    with Queue(database) as queue:
        for id in ("a", "b", "c"):
            queue.enqueue("true", id=id)
        queue.cancel("a")
        queue.set_config("max-retries", "7")
    return database


def behind(database: str, *sql: str) -> None:
    """Change the file behind the queue's back, in a process of its own."""
    subprocess.run([sys.executable, "-c", BEHIND, database, *sql], check=True, timeout=30)


def make_noise(database: str, table: str) -> None:
    """Overwrite a page of a table."""
    subprocess.run([sys.executable, "-c", NOISE, database, table], check=True, timeout=30)


def look(database: str, name: str) -> Check:
    """Make one check."""
    with InspectedQueue(database) as queue:
        checks = {check.name: check for check in doctor.examine(queue)}
    return checks[name]


def ill(database: str, name: str) -> Finding:
    """The one thing that a check finds, which is not ok."""
    [finding] = look(database, name).findings
    assert finding.severity != "ok"
    assert finding.do
    return finding


def everything(folder: str) -> dict[str, tuple[int, int]]:
    """Every file and folder, with mode and size."""
    found = [os.path.join(at, name) for at, *names in os.walk(folder) for name in (*names[0], *names[1])]
    return {path: ((info := os.lstat(path)).st_mode, info.st_size) for path in found}


def test_healthy_queue_passes_every_check_unchanged(database: str) -> None:
    before = everything(os.path.dirname(database))
    with InspectedQueue(database) as queue:
        checks = list(doctor.examine(queue))
    assert [check.name for check in checks] == FILE_CHECKS
    assert [(check.name, f) for check in checks for f in check.findings if f.severity != "ok"] == []
    assert {path: found for path, found in everything(os.path.dirname(database)).items() if "-shm" not in path} == {
        path: found for path, found in before.items() if "-shm" not in path
    }


# -- the file and the log --------------------------------------------------------------------------------------------


def test_damaged_index_is_found_and_replay_repairs_it(database: str) -> None:
    row = "select type, name, tbl_name, rootpage, sql from sqlite_master where name = 'jobs_waiting'"
    behind(database, f"create table kept as {row}", "pragma writable_schema = on", f"delete {row[row.index('from') :]}")
    behind(database, "update jobs set priority = 9 where id = 'b'")  # the index is not told
    behind(database, "pragma writable_schema = on", "insert into sqlite_master select * from kept", "drop table kept")
    finding = ill(database, "file")
    assert finding.severity == "problem"
    assert "jobs_waiting" in str(finding.facts["damage"])
    assert "queuectl replay" in str(finding.do)
    with Queue(database) as queue:
        queue.replay()
    assert look(database, "file").severity == "ok"


@pytest.mark.parametrize("table, also", [("jobs", {"replay", "leftovers"}), ("config", {"replay", "settings", "disk"})])
def test_overwritten_page_is_reported_with_advice(database: str, table: str, also: set[str]) -> None:
    Path(database + ".d/output/a.2.cafe").touch(0o600)
    make_noise(database, table)
    with InspectedQueue(database) as queue:
        checks = {check.name: check for check in doctor.examine(queue)}
    [finding] = checks["file"].findings
    assert finding.facts["damage"][0].startswith("Tree ")
    assert finding.facts["damage"][-1] == "database disk image is malformed", "and there SQLite gave up"
    assert finding.what.endswith("; but the log is complete")
    assert ("`queuectl export`" in str(finding.do)) == ("settings" not in also), "without these it does not start"
    ills = {name: check.findings[0].what for name, check in checks.items() if check.severity != "ok"}
    assert set(ills) - {"file", "workers", "flow", "schedules", "retention"} == also
    assert all("could not be checked" in ills[name] for name in also)


def test_incomplete_log_is_not_called_complete(database: str) -> None:
    behind(database, *UNGUARD, "delete from events where seq = 2")
    make_noise(database, "counts")
    damaged = look(database, "file").findings[0]
    assert damaged.what.startswith("the database is damaged: Tree ")
    assert "whole" not in damaged.what
    assert "export" not in str(damaged.do)


@pytest.mark.parametrize(
    "instead", [[], ["create trigger events_no_update before update on events begin select 1; end"]]
)
def test_missing_log_triggers_are_found(database: str, instead: list[str]) -> None:
    behind(database, "drop trigger events_no_update", *instead)
    assert ill(database, "file").facts == {"missing": ["events_no_update"]}


def test_removed_event_is_found_in_log_and_stream(database: str) -> None:
    behind(database, *UNGUARD, "delete from events where seq in (1, 3)")
    gaps, torn = look(database, "log").findings
    assert gaps.what == "2 events of the log were removed: 1, 3"
    assert gaps.facts["removed"] == [{"from": 1, "to": 1}, {"from": 3, "to": 3}]
    assert torn.facts["streams"] == ["job:a"]
    assert "could not be checked" in ill(database, "replay").what, "nobody knows what the tables should say"


def test_events_removed_at_the_end_are_found(database: str) -> None:
    behind(database, *UNGUARD, "delete from events where seq > 3")
    for note in Path(database + ".d").glob("high-water"):
        note.unlink()  # with it the queue does not even open
    assert ill(database, "log").facts["removed"] == [{"from": 4, "to": 5}]
    ahead = look(database, "projections")
    assert ahead.severity == "problem"
    assert "has folded event 5, but the log ends with 3" in ahead.findings[0].what


def test_an_event_that_nobody_can_read_is_named(database: str) -> None:
    behind(database, *UNGUARD, "update events set data = '{\"run_at\": 1' where seq = 2")
    finding = ill(database, "log")
    assert finding.what.startswith("1 event can't be true: event 2: an event of type 'enqueued'")


def test_an_event_of_a_newer_program_is_named(database: str) -> None:
    unheard = "insert into events values (6, 'x:1', 1, 'unheard_of', 1, 4000000000000000, 'me', '{}')"
    behind(database, unheard, "update projection_state set seq = 6")
    finding = ill(database, "log")
    assert "event 6: an event of type 'unheard_of'" in finding.what
    assert finding.do == "upgrade queuectl here"


def test_event_older_than_its_predecessor_is_found(database: str) -> None:
    behind(database, *UNGUARD, "update events set at = at - 10000000 where seq = 3")
    assert ill(database, "log").facts["events"] == ["event 3 is older than the one before it"]


def test_wrong_tables_are_found_and_replay_repairs_them(database: str) -> None:
    behind(database, "update counts set jobs = 77 where state = 'pending'")
    finding = ill(database, "replay")
    assert "77" in str(finding.facts["differences"])
    assert "queuectl replay" in str(finding.do)
    with Queue(database) as queue:
        queue.replay()
    assert look(database, "replay").severity == "ok"


@pytest.mark.parametrize(
    "broken, severity, what",
    [
        ("'Boom: no'", "problem", "mine was set aside at event 2, when it raised Boom: no"),
        ("null", "warning", "mine is 3 events behind"),
    ],
)
def test_broken_and_lagging_projections_are_named(database: str, broken: str, severity: str, what: str) -> None:
    behind(database, f"insert into projection_state values ('mine', 1, 2, '', 'no.such.module', {broken})")
    finding = ill(database, "projections")
    assert finding.severity == severity
    assert finding.what.startswith(what)
    assert "queuectl replay mine" in str(finding.do)


def test_last_event_in_the_future_is_a_warning(database: str) -> None:
    with freeze_time("2100-01-01"), Queue(database) as queue:
        queue.enqueue("true")
    finding = ill(database, "clock")
    assert finding.severity == "warning"
    assert finding.facts["at"].startswith("2100-01-01T00:00:00")


# -- what surrounds it -----------------------------------------------------------------------------------------------


def test_unreadable_setting_is_named(database: str) -> None:
    Path(".env").write_text("QUEUECTL_BACKOFF_BASE=lots\n")
    assert ill(database, "settings").what.endswith(".env, line 1: QUEUECTL_BACKOFF_BASE)")


def test_so_is_one_that_is_stored(database: str) -> None:
    with Queue(database) as queue, queue.engine.transaction() as tx:
        before: Config | None = tx.config()
        tx.append([Write("config", before, [ConfigSet(key="timeout", value="soon")])], "test")
    assert ill(database, "settings").what.endswith("(from config set)")
    [disk] = look(database, "disk").findings
    assert disk.severity == "ok"  # it needs another setting


@pytest.mark.parametrize(
    "name, mode, severity, what",
    [
        ("", 0o640, "problem", "open to other users: q.db"),
        (".d/gate", 0o604, "warning", "open to other users: q.db.d/gate"),
        (".d/output", 0o755, "warning", "open to other users: q.db.d/output"),
        (".d/gate", 0o400, "problem", "closed to their owner: q.db.d/gate"),
        (".d/stdin", 0o600, "problem", "closed to their owner: q.db.d/stdin"),
    ],
)
def test_wrong_permissions_are_found_and_advice_repairs_them(
    database: str, name: str, mode: int, severity: str, what: str
) -> None:
    with Queue(database) as queue:  # in use, so that -wal and -shm stay as they are
        os.chmod(database + name, mode)
        finding = ill(database, "permissions")
        assert (finding.severity, finding.what) == (severity, what)
        assert finding.facts["paths"] == [database + name]
        subprocess.run(["sh", "-c", str(finding.do)], check=True, timeout=10)
        assert look(database, "permissions").severity == "ok"
        assert stat.S_IMODE(os.stat(locate(queue.url).gate).st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_found(database: str) -> None:
    path = database + ".d/output/a.2.cafe"
    Path(path).touch(0o600)
    os.chown(path, 65534, 65534)
    finding = ill(database, "permissions")
    assert finding.what == "not the database owner's: q.db.d/output/a.2.cafe"
    assert str(finding.do).startswith("chown -R 0 ")


@pytest.fixture
def stopped_reader(database: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-c", STUBBORN, database], stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    yield process
    process.kill()
    process.communicate()


def test_readers_that_block_the_checkpoint_are_named(
    database: str, stopped_reader: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "WAL_LIMIT", 1 << 20)
    with Queue(database) as queue:
        queue.enqueue_many(["true"] * 5000)
        finding = ill(database, "wal")
        assert finding.severity == "warning"
        assert finding.facts["bytes"] >= finding.facts["waiting"] > 1 << 20
        assert f"process {stopped_reader.pid} ({sys.executable} -c" in finding.what
        assert finding.what.endswith("stopped) reads")
        assert f"kill -9 {stopped_reader.pid}" in str(finding.do)
        assert f"kill -CONT {stopped_reader.pid}" in str(finding.do)

        os.kill(stopped_reader.pid, signal.SIGKILL)
        stopped_reader.wait()
        assert ill(database, "wal").what.endswith(" is not written back yet")
        queue.engine.truncate_wal()
        assert look(database, "wal").findings[0].what == "empty"


def test_stopped_process_that_holds_the_gate_is_named(database: str) -> None:
    process = subprocess.Popen([sys.executable, "-c", STOPPED_WRITER, database], cwd=ROOT)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    finding = ill(database, "gate")
    process.kill()
    process.wait()
    assert finding.what.startswith(f"nobody can write: the gate is held by process {process.pid} (")
    assert f"kill -CONT {process.pid}" in str(finding.do)
    assert look(database, "gate").severity == "ok"


def test_full_disk_is_a_problem(database: str) -> None:
    with Queue(database) as queue:
        queue.set_config("disk-floor", "1024TiB")
    finding = ill(database, "disk")
    assert finding.severity == "problem"
    assert finding.what.startswith("no new job starts")
    assert finding.facts["free"] < finding.facts["floor"] == 1 << 50


def _lock_file(folder: str) -> None:
    worker_lock.take(f"{folder}/workers", "gone").close(keep=True)


def _lock_draft(folder: str) -> None:
    Path(f"{folder}/workers/.w-cafe").touch()


def _input_draft(folder: str) -> None:
    Path(f"{folder}/stdin/.0123-cafe").write_bytes(b"x" * 5000)
    os.utime(f"{folder}/stdin/.0123-cafe", (0, 0))


def _bell(folder: str) -> None:
    os.mkfifo(f"{folder}/bells/log-cafe", 0o600)


def _unknown_output(folder: str) -> None:
    Path(f"{folder}/output/no.such.job.2.cafe").write_bytes(b"x" * 5000)


def _token(folder: str) -> None:
    os.mkdir(f"{folder}/output/zzz.2.cafe", 0o700)


def _purged_output(folder: str) -> None:
    Path(f"{folder}/output/a.2.cafe").write_bytes(b"x" * 5000)
    with Queue(folder.removesuffix(".d")) as queue:
        queue.purge("a")


@pytest.mark.parametrize(
    "leave, severity, what",
    [
        (_lock_file, "warning", "1 lock file of workers that are gone"),
        (_lock_draft, "warning", "1 lock file of workers that are gone"),
        (_input_draft, "warning", "1 draft that nobody finished, 8 KiB on disk: .0123-cafe"),
        (_bell, "ok", "1 doorbell of listeners that are gone: the next event takes them away"),
        (_unknown_output, "warning", "1 output of jobs that are not in the log, 8 KiB on disk: no.such.job.2.cafe"),
        (_token, "warning", "1 output of jobs that are not in the log"),
        (_purged_output, "warning", "1 output of jobs that were purged or archived, 8 KiB on disk: a.2.cafe"),
    ],
)
def test_what_nobody_needs_any_more_is_found(
    database: str, leave: Callable[[str], None], severity: str, what: str
) -> None:
    leave(database + ".d")
    [finding] = look(database, "leftovers").findings
    assert finding.severity == severity
    assert finding.what.startswith(what)


def test_what_is_in_use_is_no_leftover(database: str) -> None:
    folder = database + ".d"
    for name in ("stdin/.0123-cafe", "output/a.2.cafe", "output/a.2.cafe.err"):
        Path(f"{folder}/{name}").touch()
    with worker_lock.take(f"{folder}/workers", "w1"), doorbell.listen(f"{folder}/bells", "log"):
        assert look(database, "leftovers").findings[0].what == "none"


def test_failing_check_is_a_problem_and_others_continue(database: str) -> None:
    with InspectedQueue(database) as queue:
        os.rename(database + ".d/bells", database + ".d/away")
        checks = {check.name: check for check in doctor.examine(queue)}
    assert list(checks) == FILE_CHECKS
    [finding] = checks["leftovers"].findings
    assert finding.what == f"could not be checked: {database}.d/bells: No such file or directory"
    assert (finding.severity, checks["log"].severity) == ("problem", "ok")

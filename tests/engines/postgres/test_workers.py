"""Workers on PostgreSQL: as on SQLite, with the same commands, and the password of the URL nowhere to be seen."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from psycopg import sql

from queuectl import Queue
from tests.support.postgres.database import Database
from tests.support.shell import Shell

PASSWORD = "pass:word@%\\é"


@pytest.fixture
def guarded(postgres: Database) -> str:
    """The URL of a queue whose role has a password that has to be quoted everywhere."""
    url = postgres.role()
    name = url.partition("://")[2].partition(":")[0]
    postgres.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(name), sql.Literal(PASSWORD)))
    postgres.execute(sql.SQL("create schema {} authorization {}").format(*map(sql.Identifier, (postgres.schema, name))))
    return re.sub(r"://([^:]+):[^@]*@", r"://\1:pass%3Aword%40%25%5C%C3%A9@", url)


@pytest.fixture
def on_postgres(queuectl: Shell, postgres_url: str, tmp_path: Path) -> Shell:
    """The command line, with a queue in PostgreSQL."""
    queuectl.env |= {"QUEUECTL_DB": postgres_url, "XDG_STATE_HOME": str(tmp_path / "state")}
    return queuectl


def test_jobs_run_and_their_output_is_kept(on_postgres: Shell, postgres_url: str) -> None:
    on_postgres("enqueue", "echo out").ok()
    on_postgres("enqueue", "--max-retries", "0", "exit 3").ok()
    on_postgres("worker", "start", "--drain", "--slots", "2").ok()
    assert on_postgres("logs", "1").ok().out == "out\n"
    counts = on_postgres("status").ok().json
    assert (counts["completed"], counts["dead"]) == (1, 1)
    assert counts["database"] == re.sub(r":[^:@/]*@", "@", postgres_url)
    assert on_postgres("replay", "--check").ok()


def test_the_password_is_nowhere_to_be_seen(queuectl: Shell, guarded: str, tmp_path: Path) -> None:
    queuectl.env |= {"QUEUECTL_DB": guarded, "XDG_STATE_HOME": str(tmp_path / "state")}
    look = "tr '\\0' ' ' </proc/$PPID/cmdline; ps -ef; env; "
    look += f"{sys.executable} -m queuectl note seen"
    queuectl("enqueue", look, PATH=os.environ["PATH"]).ok()
    queuectl.env["QUEUECTL_KEEP_ENV"] = "all"
    queuectl("enqueue", "env").ok()
    queuectl("worker", "start", "--drain").ok()
    assert queuectl("inspect", "1", "--json").ok().json["state"] == "completed"
    said = [queuectl(*words) for words in (
        ("logs", "1"), ("logs", "2"), ("events",), ("status",), ("doctor", "--json"), ("config", "list"),
        ("worker", "list", "--all", "--json"), ("export", "--format", "jsonl", "-o", "-"),
    )]  # fmt: skip
    everything = "".join(answer.out + answer.err for answer in said)
    kept = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    for path in kept:
        if path.name == "pgpass":
            assert path.stat().st_mode & 0o777 == 0o600
        else:
            everything += path.read_bytes().decode("utf-8", "replace")
    assert "seen" in queuectl("inspect", "1").ok().out
    for secret in (PASSWORD, "pass%3Aword", "pass\\:word"):
        assert secret not in everything


def test_a_killed_workers_job_runs_again(on_postgres: Shell) -> None:
    on_postgres("enqueue", "test -e again || { touch again; kill -9 $PPID; sleep 60; }").ok()
    on_postgres("worker", "start", "--drain").ok()
    assert on_postgres("inspect", "1", "--json").ok().json["state"] == "completed"


def test_a_worker_outlives_its_sessions(on_postgres: Shell, postgres: Database) -> None:
    on_postgres.env["QUEUECTL_DB"] = postgres.named_url
    on_postgres("enqueue", "touch began; while test ! -e go; do sleep 0.05; done; echo done").ok()
    worker = subprocess.Popen(
        on_postgres.command("worker", "start", "--drain"), env=on_postgres.env, cwd=on_postgres.folder
    )
    try:
        wait_for(lambda: (on_postgres.folder / "began").exists())
        assert postgres.end_sessions() >= 2, "the worker's own, and the one by which it listens"
        (on_postgres.folder / "go").touch()
        assert worker.wait(60) == 0
    finally:
        worker.kill()
    assert on_postgres("logs", "1").ok().out == "done\n"
    assert [event["type"] for event in on_postgres("inspect", "1", "--events", "--json").ok().ndjson] == [
        "enqueued", "claimed", "completed",
    ]  # fmt: skip


def test_two_hosts_run_each_job_once(on_postgres: Shell, postgres_url: str, tmp_path: Path) -> None:
    with Queue(postgres_url) as queue:
        queue.enqueue_many([f"echo x >> {on_postgres.folder}/$QUEUECTL_JOB_ID"] * 60)
    hosts = [
        subprocess.Popen(
            on_postgres.command("worker", "start", "--drain", "--slots", "2"),
            env=on_postgres.env | {"XDG_STATE_HOME": str(tmp_path / host)}, cwd=on_postgres.folder,
        )
        for host in ("one", "two")
    ]  # fmt: skip
    assert [host.wait(60) for host in hosts] == [0, 0]
    assert [(on_postgres.folder / str(id)).read_text() for id in range(1, 61)] == ["x\n"] * 60
    with Queue(postgres_url) as queue:
        assert len({worker.identity for worker in queue.workers(all=True)}) == 2
        assert queue.check() == []


def wait_for(what: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not what():
        assert time.monotonic() < until
        time.sleep(0.02)

"""Files of one host, read from another: outputs of attempts, and inputs of jobs."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.engines.shared_files import ATTENTION
from queuectl.errors import OutputElsewhere
from tests.support.postgres.database import Database
from tests.support.shell import Answer, Shell

LINES = "seq -f 'line %.0f of the output' 1 60000"


class Hosts:
    """Two hosts: each with a home of its own, the same command line, and the same database."""

    def __init__(self, shell: Shell, url: str, folder: Path) -> None:
        self.shell = shell
        shell.env["QUEUECTL_DB"] = url
        self._folder = folder
        self.workers: list[subprocess.Popen[bytes]] = []

    def env(self, host: str) -> dict[str, str]:
        return self.shell.env | {"XDG_STATE_HOME": str(self._folder / host)}

    def on(self, host: str, *words: str) -> Answer:
        return self.shell(*words, XDG_STATE_HOME=str(self._folder / host))

    def start(self, host: str, *words: str) -> subprocess.Popen[bytes]:
        """A command that goes on, with its stdout in a pipe."""
        process = subprocess.Popen(
            self.shell.command(*words), env=self.env(host), cwd=self.shell.folder, stdout=subprocess.PIPE,
        )  # fmt: skip
        self.workers.append(process)
        return process


@pytest.fixture
def hosts(queuectl: Shell, postgres_url: str, tmp_path: Path) -> Iterator[Hosts]:
    hosts = Hosts(queuectl, postgres_url, tmp_path)
    yield hosts
    for process in hosts.workers:
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def test_a_short_output_is_whole_everywhere(hosts: Hosts) -> None:
    hosts.on("a", "enqueue", "printf 'no\\0line\\377'").ok()
    hosts.on("a", "worker", "start", "--drain").ok()
    assert hosts.on("b", "logs", "1").ok().raw == b"no\0line\xff"
    assert "no" in hosts.on("b", "inspect", "1").ok().out


def test_ends_are_left_without_a_worker(hosts: Hosts) -> None:
    hosts.on("a", "enqueue", LINES).ok()
    hosts.on("a", "worker", "start", "--drain").ok()
    whole = hosts.on("a", "logs", "1").ok().raw
    shown = hosts.on("b", "logs", "1").ok()
    assert shown.raw == whole[:4096] + whole[-4096:]
    assert "are not here: the output of attempt 1 of job 1 is on host" in shown.err
    assert hosts.on("b", "logs", "1", "--tail", "2").ok().raw == b"".join(whole.splitlines(True)[-2:])


def test_a_worker_sends_the_whole_of_it(hosts: Hosts) -> None:
    hosts.start("a", "worker", "start")
    hosts.on("b", "enqueue", LINES).ok()
    hosts.on("b", "wait", "1").ok()
    whole = hosts.on("a", "logs", "1").ok().raw
    shown = hosts.on("b", "logs", "1").ok()
    assert (shown.raw, shown.err) == (whole, "")
    assert len(whole) > 1 << 20
    last = hosts.on("b", "logs", "1", "--tail", "2000").ok().raw
    assert last == b"".join(whole.splitlines(True)[-2000:])


def test_the_middle_that_was_cut_is_told(hosts: Hosts) -> None:
    hosts.on("a", "config", "set", "output-limit", "64K").ok()
    hosts.start("a", "worker", "start")
    hosts.on("b", "enqueue", f"{LINES}; sleep 1.5; {LINES}").ok()
    hosts.on("b", "wait", "1").ok()
    here, there = hosts.on("a", "logs", "1").ok(), hosts.on("b", "logs", "1").ok()
    assert (there.raw, there.err) == (here.raw, here.err)
    assert "are not kept (output-limit)" in there.err


def test_a_running_job_is_followed(hosts: Hosts) -> None:
    hosts.start("a", "worker", "start")
    hosts.on("b", "enqueue", "echo one; while test ! -e go; do sleep 0.05; done; echo two").ok()
    following = hosts.start("b", "logs", "1", "--follow")
    assert following.stdout is not None
    assert following.stdout.readline() == b"one\n"
    (hosts.shell.folder / "go").touch()
    assert following.stdout.readline() == b"two\n"
    assert following.wait(60) == 0


def test_following_outlasts_a_silent_worker(hosts: Hosts) -> None:
    hosts.start("a", "worker", "start")
    hosts.on("b", "enqueue", "echo one; while test ! -e go; do sleep 0.05; done; echo two").ok()
    following = hosts.start("b", "logs", "1", "--follow")
    assert following.stdout is not None
    assert following.stdout.readline() == b"one\n"
    [pid] = [each["pid"] for each in hosts.on("a", "worker", "list", "--json").ok().ndjson]
    os.kill(pid, signal.SIGSTOP)
    (hosts.shell.folder / "go").touch()
    time.sleep(ATTENTION + 1)  # by then it has been given up once
    os.kill(pid, signal.SIGCONT)
    assert following.stdout.readline() == b"two\n"
    assert following.wait(60) == 0


def test_stderr_is_apart_everywhere(hosts: Hosts) -> None:
    hosts.start("a", "worker", "start")
    hosts.on("b", "enqueue", "--split-output", f"{LINES}; {LINES} >&2").ok()
    hosts.on("b", "enqueue", "echo together").ok()
    hosts.on("b", "wait", "1", "2").ok()
    for host in ("a", "b"):
        assert hosts.on(host, "logs", "1", "--stderr").ok().raw.count(b"\n") == 60000
        assert hosts.on(host, "logs", "1").ok().raw.count(b"\n") == 120000
        assert "one file" in hosts.on(host, "logs", "2", "--stderr").err


def test_what_a_killed_worker_ran_is_kept(hosts: Hosts) -> None:
    hosts.on("a", "enqueue", "test -e again && exit; touch again; echo first; kill -9 $PPID; sleep 60").ok()
    hosts.on("a", "worker", "start", "--drain").ok()
    assert hosts.on("b", "logs", "1", "--attempt", "1").ok().out == "first\n"


def test_an_input_comes_from_another_host(hosts: Hosts) -> None:
    data = os.urandom(3 << 20)
    (hosts.shell.folder / "in").write_bytes(data)
    hosts.on("a", "enqueue", "--stdin", "in", "cat > out").ok()
    hosts.on("b", "worker", "start", "--drain").ok()
    assert (hosts.shell.folder / "out").read_bytes() == data


def test_the_path_of_a_distant_file_is_refused(hosts: Hosts, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.on("a", "enqueue", "echo here").ok()
    hosts.on("a", "worker", "start", "--drain").ok()
    for name, value in hosts.env("b").items():
        monkeypatch.setenv(name, value)
    with Queue(hosts.shell.env["QUEUECTL_DB"]) as queue:
        with pytest.raises(OutputElsewhere, match="is on host"):
            queue.output("1")
        output = queue.open_output("1")
        assert output is not None
        assert output.read(100, 0) == b"here\n"


def test_silence_of_a_worker_leaves_the_ends(hosts: Hosts) -> None:
    worker = hosts.start("a", "worker", "start")
    hosts.on("b", "enqueue", LINES).ok()
    hosts.on("b", "wait", "1").ok()
    [pid] = [each["pid"] for each in hosts.on("a", "worker", "list", "--json").ok().ndjson]
    os.kill(pid, signal.SIGSTOP)
    try:
        assert "where no worker can be asked" in hosts.on("b", "logs", "1").ok().err
    finally:
        os.kill(pid, signal.SIGCONT)
    assert worker.poll() is None


def test_who_may_only_read_gets_the_ends(hosts: Hosts, postgres: Database) -> None:
    hosts.start("a", "worker", "start")
    hosts.on("a", "enqueue", LINES).ok()
    hosts.on("a", "wait", "1").ok()
    whole = hosts.on("a", "logs", "1").ok().raw
    url = postgres.role()
    postgres.execute(f"grant usage on schema {postgres.schema} to public")
    postgres.execute(f"grant select on all tables in schema {postgres.schema} to public")
    shown = hosts.on("b", "logs", "1", "--db", url).ok()
    assert shown.raw == whole[:4096] + whole[-4096:]
    assert "or may only read, can't ask its worker" in shown.err
    assert "line 60000 of the output" in hosts.on("b", "inspect", "1", "--db", url).ok().out


def test_of_a_removed_file_the_ends_are_left(hosts: Hosts, tmp_path: Path) -> None:
    hosts.start("a", "worker", "start")
    hosts.on("a", "enqueue", LINES).ok()
    hosts.on("a", "wait", "1").ok()
    whole = hosts.on("a", "logs", "1").ok().raw
    [file] = (tmp_path / "a").glob("**/output/1.*")
    file.unlink()
    for host, why in (("a", "its output file is gone"), ("b", "which is gone there")):
        shown = hosts.on(host, "logs", "1").ok()
        assert shown.raw == whole[:4096] + whole[-4096:]
        assert why in shown.err


def test_archived_and_purged_jobs_leave_nothing_behind(hosts: Hosts, postgres: Database) -> None:
    hosts.on("a", "enqueue", "--id", "old", "echo old").ok()
    hosts.on("a", "enqueue", "--id", "new", "--max-retries", "0", "echo new; exit 1").ok()
    hosts.on("a", "worker", "start", "--drain").ok()
    assert kept(postgres) == [("new", b"new\n"), ("old", b"old\n")]
    hosts.on("b", "archive", "--older-than", "0", "--state", "completed", "-o", "old.gz").ok()
    assert kept(postgres) == [("new", b"new\n")]
    hosts.on("b", "dlq", "purge", "new").ok()
    assert kept(postgres) == []


def kept(postgres: Database) -> list[tuple[str, bytes]]:
    return postgres.execute("select job, head from outputs order by job")

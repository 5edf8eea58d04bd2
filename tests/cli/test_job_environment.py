"""What a job finds when it runs: variables, umask, shell, input; and a job that is run again otherwise than before."""

import inspect
import os
import pty
import subprocess
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from queuectl import Queue, inputs
from queuectl.cli import job_stdin
from queuectl.cli.commands import enqueue, run
from queuectl.errors import Invalid
from tests.support.shell import Shell


def test_run_has_every_option_of_enqueue():
    ours, theirs = (inspect.signature(each).parameters for each in (run.run, enqueue.enqueue))
    assert theirs.keys() - ours.keys() == {"file", "each", "null", "csv", "dry_run", "json"}
    assert all(ours[name] == theirs[name] for name in ours)


def test_a_job_has_the_callers_variables_and_umask(queuectl: Shell):
    queuectl.env |= {"QUEUECTL_KEEP_ENV": "all", "MINE": "kept", "A_TOKEN": "t"}
    before = os.umask(0o027)
    try:
        queuectl("enqueue", "--env", "B=2", "--secret", "C=3", "echo $MINE $B $C $WORKERS $A_TOKEN; umask").ok()
    finally:
        os.umask(before)
    queuectl("worker", "start", "--drain", MINE="not this", WORKERS="nor this").ok()
    assert queuectl("logs", "1").out == "kept 2 3\n0027\n"
    assert "variables in place of the worker's, umask 0027" in queuectl("inspect", "1").out


def test_a_job_has_the_shell_it_was_given(queuectl: Shell):
    assert queuectl("run", "--shell", "/bin/bash", "echo ${BASH_VERSION:+bash}").ok().out == "bash\n"
    queuectl("config", "set", "shell", "/no/such/shell").ok()
    assert queuectl("run", "--max-retries", "0", "true").code == 127
    assert queuectl("run", "--", "true").code == 0
    assert "absolute path" in queuectl("config", "set", "shell", "bash").refused(2)
    assert "without a shell" in queuectl("enqueue", "--shell", "/bin/sh", "--", "ls").refused(2)


def test_run_passes_what_is_piped_in(queuectl: Shell):
    assert queuectl("run", "cat", stdin=b"abc").ok().out == "abc"
    assert queuectl("enqueue", "--stdin", "-", "cat", stdin=b"later").ok().out == "2\n"
    queuectl.drain()
    assert queuectl("logs", "2").out == "later"
    assert "stdin can't be both" in queuectl("enqueue", "--file", "-", "--stdin", "-", stdin=b"cat\n").refused(2)
    line = b'{"command": "cat", "stdin": "-"}\n'
    assert "stdin can't be both" in queuectl("enqueue", "--file", "-", stdin=line).refused(2)


def test_jobs_of_a_file_share_the_stdin(queuectl: Shell):
    (queuectl.folder / "jobs").write_text("cat\ncat\n")
    assert queuectl("enqueue", "--stdin", "-", "--file", "jobs", stdin=b"for both").ok().out == "1\n2\n"
    queuectl.drain()
    assert queuectl("logs", "1").out == queuectl("logs", "2").out == "for both"


@contextmanager
def stdin(fd: int) -> Generator[None]:
    """What this process reads is this for a while; the descriptor is closed."""
    before = os.dup(0)
    os.dup2(fd, 0)
    os.close(fd)
    try:
        yield
    finally:
        os.dup2(before, 0)
        os.close(before)


def test_run_ignores_a_file_that_is_being_read(tmp_path: Path):
    (tmp_path / "list").write_text("1\n2\n")
    with stdin(os.open(tmp_path / "list", os.O_RDONLY)):
        assert job_stdin.is_piped()
        os.read(0, 2)  # as the `read` of a shell's loop does
        assert not job_stdin.is_piped()
    reader, writer = os.pipe()
    os.close(writer)
    with stdin(reader):
        assert job_stdin.is_piped()
    with stdin(os.open("/dev/null", os.O_RDONLY)):
        assert not job_stdin.is_piped()


def test_more_input_than_is_copied_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inputs, "LIMIT", 3)
    with Queue(tmp_path / "q.db") as queue:
        for text, fine in (("abc", True), ("abcd", False)):
            (tmp_path / "in").write_text(text)
            with stdin(os.open(tmp_path / "in", os.O_RDONLY)), nullcontext() if fine else pytest.raises(Invalid):
                queue.enqueue("cat", stdin="-")
        assert queue.status().total == 1


def test_a_continued_line_is_refused_by_its_number(queuectl: Shell):
    (queuectl.folder / "jobs").write_text("echo a\nrsync -a \\\n  here there\n")
    assert "line 2: ends in a backslash" in queuectl("enqueue", "--file", "jobs").refused(2)
    (queuectl.folder / "jobs").write_text("echo a\\\\\n")
    queuectl("enqueue", "--file", "jobs").ok()


def test_the_advice_after_a_timeout_works(queuectl: Shell):
    queuectl("enqueue", "--timeout", "0.2", "--max-retries", "0", "sleep 0.5; echo done").ok()
    queuectl.drain()
    error = queuectl("inspect", "1", "--json").json["error"]
    assert "`queuectl retry 1 --timeout none`" in error
    queuectl("retry", "1", "--timeout", "none", "--reason", "it takes longer").ok()
    queuectl.drain()
    assert queuectl("logs", "1").out == "done\n"
    assert "edited: timeout 200ms → none" in queuectl("events", "--type", "edited").out
    job = queuectl("inspect", "1", "--json").json
    assert (job["state"], job["timeout"]) == ("completed", None)


def test_the_advice_cancels_a_waiting_job_first(queuectl: Shell):
    queuectl(
        "enqueue", "--timeout", "0.2", "--max-retries", "1", "--backoff-base", "100", "--id", "a b", "sleep 9"
    ).ok()
    queuectl("worker", "start", "--for", "1s").ok()
    assert (
        "`queuectl cancel 'a b'; queuectl retry 'a b' --timeout none`"
        in queuectl("inspect", "a b", "--json").json["error"]
    )
    queuectl("cancel", "a b").ok()
    queuectl("retry", "a b", "--timeout", "none", "--command", "true").ok()


def test_retry_changes_the_whole_policy(queuectl: Shell):
    queuectl("enqueue", "--priority", "5", "--env", "A=1", "--", "false").ok()
    queuectl("cancel", "1").ok()
    queuectl(
        "retry", "1", "--command", "echo $A$B", "--priority", "0", "--max-retries", "9", "--backoff-base", "3",
        "--backoff-max", "1h", "--jitter", "0.5", "--on-lost", "dead", "--keep-children", "--env", "B=2", "--cwd", "/",
        "--shell", "/bin/bash",
    ).ok()  # fmt: skip
    job = queuectl("inspect", "1", "--json").json
    assert {name: job[name] for name in ("command", "argv", "priority", "max_retries", "cwd", "shell", "env")} == {
        "command": "echo $A$B", "argv": None, "priority": 0, "max_retries": 9, "cwd": "/", "shell": "/bin/bash",
        "env": {"A": "1", "B": "2"},
    }  # fmt: skip
    assert (job["backoff_base"], job["backoff_max"], job["jitter"], job["on_lost"]) == (3, 3600, 0.5, "dead")
    [edited] = queuectl("events", "--type", "edited", "--json").ndjson
    assert edited["data"]["changes"]["priority"] == [5, 0]
    queuectl("replay", "--check").ok()
    queuectl("replay").ok()
    assert queuectl("inspect", "1", "--json").json == job
    queuectl("cancel", "1").ok()
    queuectl("dlq", "retry", "1", "--priority", "0").refused(3)
    queuectl("retry", "1", "--priority", "0").ok()
    assert len(queuectl("events", "--type", "edited", "--json").lines) == 1


def test_the_default_time_limit_is_mentioned_once(queuectl: Shell):
    def told(*words: str) -> bool:
        ours, theirs = pty.openpty()
        with os.fdopen(ours, "rb", buffering=0) as screen:
            subprocess.run(
                queuectl.command("enqueue", *words, "true"), cwd=queuectl.folder, env=queuectl.env, check=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs, timeout=50,
            )  # fmt: skip
            os.write(theirs, b"end\n")
            os.close(theirs)
            return b"a job may take 1m" in screen.read(4096)

    assert not told("--timeout", "2m")
    assert told()
    assert not told()
    assert told("--queue", "mail")
    assert Path(queuectl.folder, "q.db.d", "told").stat().st_mode & 0o777 == 0o600
    queuectl("config", "set", "timeout", "1m").ok()
    assert not told("--queue", "third")

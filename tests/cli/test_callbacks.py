"""Callbacks on the command line: what they are told, how they are shown, and what is refused."""

import json
import re

import pytest

from tests.support.shell import Shell

TELL = 'echo "$QUEUECTL_TRIGGER_JOB|$QUEUECTL_TRIGGER_STATE|$QUEUECTL_TRIGGER_EXIT|$QUEUECTL_TRIGGER_COMMAND"'


@pytest.mark.parametrize(
    "command, told",
    [
        ("echo fine", "j|completed|0|echo fine\n"),
        ("exit 3", "j|dead|3|exit 3\n"),
        ("kill -9 $$", "j|dead|137|kill -9 $$\n"),
    ],
)
def test_it_is_told_of_the_end(queuectl: Shell, command: str, told: str) -> None:
    queuectl("enqueue", "--id", "j", "--max-retries", "0", "--on-end", TELL, command).ok()
    queuectl.drain()
    assert queuectl("logs", "1").ok().out == told


def test_it_finds_the_output(queuectl: Shell) -> None:
    queuectl("enqueue", "--id", "j", "--on-complete", 'cat "$QUEUECTL_TRIGGER_OUTPUT"', "echo one; echo two").ok()
    queuectl.drain()
    assert queuectl("logs", "1").ok().out == "one\ntwo\n"


def test_what_never_started_has_no_code(queuectl: Shell) -> None:
    queuectl("enqueue", "--id", "j", "--hold", "--on-end", TELL + ' "$QUEUECTL_TRIGGER_OUTPUT".', "true").ok()
    queuectl("cancel", "j").ok()
    queuectl.drain()
    assert queuectl("logs", "1").ok().out == "j|cancelled||true .\n"


def test_it_tells_of_its_end_after_a_retry(queuectl: Shell) -> None:
    """It is still waiting when the job has run again, with another command."""
    queuectl("enqueue", "--id", "j", "--max-retries", "0", "--on-failure", TELL, "exit 3").ok()
    queuectl("pause").ok()
    queuectl("start", "j").ok()
    queuectl.drain()
    queuectl("retry", "j", "--command", "exit 4").ok()
    queuectl("start", "j").ok()
    queuectl.drain()
    queuectl("resume").ok()
    queuectl.drain()
    assert [queuectl("logs", id).ok().out for id in "12"] == ["j|dead|3|exit 3\n", "j|dead|4|exit 4\n"]


def test_an_archived_job_is_told_by_name_alone(queuectl: Shell) -> None:
    queuectl("enqueue", "--id", "j", "--on-end", TELL, "true").ok()
    queuectl("pause").ok()
    queuectl("start", "j").ok()
    queuectl.drain()
    queuectl("archive", "--older-than", "0s", "-o", "a.gz").ok()
    queuectl("resume").ok()
    queuectl.drain()
    assert queuectl("logs", "1").ok().out == "j|completed||\n"


def test_jobs_of_an_inner_worker_are_told_nothing(queuectl: Shell) -> None:
    queuectl("enqueue", "--id", "inner", "--queue", "inner", "env").ok()
    start = f"{' '.join(map(str, queuectl.command('worker', 'start', '--queue', 'inner', '--drain')))}"
    queuectl("enqueue", "--id", "j", "--on-end", start, "true").ok()
    queuectl("worker", "start", "--queue", "default", "--drain").ok()
    assert "QUEUECTL_JOB_ID=inner" in queuectl("logs", "inner").ok().out
    assert "QUEUECTL_TRIGGER" not in queuectl("logs", "inner").ok().out


def test_both_ends_are_named(queuectl: Shell) -> None:
    queuectl("enqueue", "--id", "j", "--on-end", "echo told", "true").ok()
    queuectl.drain()
    assert re.search(r"^callbacks +1 completed$", queuectl("inspect", "j").ok().out, re.MULTILINE)
    callback = queuectl("inspect", "1").ok().out
    assert "triggered by  job j, completed\n" in callback
    assert "queue         default, before all others\n" in callback
    assert queuectl("inspect", "j", "--json").ok().json["callbacks"] == [
        {"id": "1", "event": "completed", "state": "completed"}
    ]
    assert "as a callback (job j, completed)" in queuectl("events", "--job", "1").ok().out
    assert [job["id"] for job in queuectl("list", "trigger:j", "--json").ok().ndjson] == ["1"]


@pytest.mark.parametrize(
    "words, told",
    [
        (("enqueue", "--on-end", "", "true"), "--on-end: the command is empty"),
        (("enqueue", "--on-failure", " ", "true"), "--on-failure: the command is empty"),
        (("enqueue", json.dumps({"command": "true", "on_complete": ""})), "on_complete: the command is empty"),
        (
            ("enqueue", json.dumps({"command": "true", "on_end": "a\0b"})),
            "on_end: the command: has a NUL byte in it, which no program can be given",
        ),
        (("config", "set", "on-dead", ""), "on-dead: the command is empty"),
        (("config", "set", "on-empty", "  "), "on-empty: the command is empty"),
        (("edit", "j", "--on-end", ""), "--on-end: the command is empty"),
    ],
)
def test_what_is_no_command_is_refused(queuectl: Shell, words: tuple[str, ...], told: str) -> None:
    queuectl("enqueue", "--id", "j", "--hold", "true").ok()
    before = queuectl("events", "--json").ok().out
    assert queuectl(*words).refused(2) == told
    assert queuectl("events", "--json").ok().out == before


def test_an_imported_log_tells_nothing_again(queuectl: Shell) -> None:
    queuectl("config", "set", "on-empty", "true").ok()
    queuectl("enqueue", "--id", "j", "--on-end", "true", "true").ok()
    queuectl.drain()
    before = queuectl("events", "--json").ok().out
    queuectl("export", "-o", "log.ndjson").ok()
    queuectl("import", "log.ndjson", "--db", "new.db").ok()
    assert queuectl("events", "--json", "--db", "new.db").ok().out == before
    assert queuectl("replay", "--check", "--db", "new.db").ok().code == 0


def test_none_takes_one_back(queuectl: Shell) -> None:
    queuectl("enqueue", "--id", "j", "--on-end", "true", "--on-failure", "true", "true").ok()
    queuectl("edit", "j", "--on-end", "none").ok()
    job = queuectl("inspect", "j", "--json").ok().json
    assert (job["on_complete"], job["on_failure"], job["on_end"]) == (None, "true", None)

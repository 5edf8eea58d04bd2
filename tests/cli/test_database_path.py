"""Which database a command works on, and who makes one: every command, at a path that was named and at the default."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl.cli.commands import COMMANDS
from tests.support.shell import Answer, Shell

MAKERS = {
    "enqueue": ["enqueue", "true"],
    "run": ["run", "true"],
    "worker start": ["worker", "start", "--drain"],
    "import": ["import", "log.ndjson"],
    "config set": ["config", "set", "max-retries", "5"],
    "pause": ["pause", "a"],
    "queue set": ["queue", "set", "a", "--concurrency", "1"],
    "resource set": ["resource", "set", "gpu", "2"],
    "schedule add": ["schedule", "add", "nightly", "@daily", "true"],
}
"""Those that make a database."""

OTHERS = {
    "list": [["list"]], "status": [["status"]], "inspect": [["inspect", "1"]], "logs": [["logs"], ["logs", "1"]],
    "wait": [["wait"], ["wait", "1"]], "cancel": [["cancel", "1"]], "retry": [["retry", "1"]],
    "worker list": [["worker", "list"]], "worker stop": [["worker", "stop"]], "stop-workers": [["stop-workers"]],
    "recover": [["recover"]], "recover-fail": [["recover-fail"]], "monitor": [], "top": [],
    "dlq list": [["dlq", "list"]],
    "dlq retry": [["dlq", "retry", "--all"]], "dlq purge": [["dlq", "purge", "--all"]], "events": [["events"]],
    "stats": [["stats"]], "simulate": [["simulate", "--max-retries", "1"]], "export": [["export"]],
    "replay": [["replay"], ["replay", "--check"]], "audit seal": [["audit", "seal"]],
    "audit verify": [["audit", "verify"]], "config get": [["config", "get"]],
    "config unset": [["config", "unset", "timeout"]], "archive": [["archive", "--older-than", "1d", "--dry-run"]],
    "backup": [["backup", "copy.db"]], "doctor": [["doctor"]], "hold": [["hold", "1"]], "release": [["release", "1"]],
    "start": [["start", "1"]], "suspend": [["suspend", "1"]], "continue": [["continue", "1"]],
    "edit": [["edit", "--all", "--priority", "1"]], "note": [["note", "--job", "1", "x"]],
    "explain": [["explain"], ["explain", "1"]], "graph": [["graph"], ["graph", "1"]],
    "batch list": [["batch", "list"]], "queue list": [["queue", "list"]], "resume": [["resume", "a"]],
    "resource list": [["resource", "list"]], "resource unset": [["resource", "unset", "gpu"]],
    "schedule list": [["schedule", "list"]],
    "schedule backfill": [["schedule", "backfill", "--from", "-1d", "nightly"]],
    **{f"schedule {word}": [["schedule", word, "nightly"]] for word in ("next", "run", "pause", "resume", "remove")},
    "schedule edit": [["schedule", "edit", "--jitter", "5m", "nightly"]],
}  # fmt: skip
"""Those that don't. `monitor` and `top` wait for one, where none was named."""

NEITHER = {
    "completion", "selftest", "progress", "outbox schema", "service install", "service status", "service uninstall",
}  # fmt: skip
"""What works in a scratch database, wherever it is called, or in none; and what depends on systemd (tests/service)."""


@pytest.mark.parametrize(
    "variables, folder",
    [
        ({"XDG_STATE_HOME": "{here}/state"}, "state/queuectl"),
        ({"XDG_STATE_HOME": "state"}, ".local/state/queuectl"),  # the specification has it that no relative path counts
        ({"XDG_STATE_HOME": ""}, ".local/state/queuectl"),
        ({}, ".local/state/queuectl"),
    ],
    ids=["absolute", "relative", "empty", "not set"],
)
def test_the_default_is_in_the_state_folder(queuectl: Shell, variables: dict[str, str], folder: str):
    named = {name: value.format(here=queuectl.folder) for name, value in variables.items()}
    named |= {f"XDG_{what}_HOME": str(queuectl.folder / what) for what in ("CONFIG", "DATA", "CACHE")}
    queuectl.env |= {**named, "QUEUECTL_DB": ""}
    queuectl("enqueue", "true").ok()
    assert [str(path.relative_to(queuectl.folder)) for path in queuectl.folder.rglob("queue.db")] == [
        f"{folder}/queue.db"
    ]
    assert {path.name for path in queuectl.folder.iterdir()} == {folder.partition("/")[0]}


def test_every_command_is_in_the_table():
    assert set(COMMANDS) == set(MAKERS) | set(OTHERS) | NEITHER


@pytest.mark.parametrize("words", [words for table in OTHERS.values() for words in table], ids=" ".join)
def test_a_missing_explicit_database_is_an_error(inside: Callable[..., Answer], words: list[str]):
    told = inside(*words, "--db", "lost/q.db").refused(4)
    assert told.startswith(f"{os.getcwd()}/lost/q.db: there is no database: check the path, named by --db")
    assert os.listdir() == [], "nothing is made, no folder either"


@pytest.mark.parametrize("words", [words for table in OTHERS.values() for words in table], ids=" ".join)
def test_a_missing_default_database_is_empty(
    inside: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, words: list[str]
):
    monkeypatch.delenv("QUEUECTL_DB")
    monkeypatch.setenv("XDG_STATE_HOME", f"{os.getcwd()}/state")
    answer = inside(*words)
    assert answer.code == (1 if words[1:] == ["1"] or {"note", "nightly"} & {*words} else 0), answer.err
    assert set(os.listdir()) <= {"copy.db"}


def _ready(folder: Path) -> None:
    (folder / "log.ndjson").write_text(
        '{"seq":1,"stream":"config","version":1,"type":"config_set","v":1,"at":"2026-11-24T09:00:00.000000Z",'
        '"actor":"x","data":{"key":"timeout","value":"5"}}\n'
    )


@pytest.mark.parametrize("words", MAKERS.values(), ids=" ".join)
def test_a_new_database_is_announced(queuectl: Shell, words: list[str]):
    _ready(queuectl.folder)
    answer = queuectl(*words, QUEUECTL_DB="new/q.db").ok()
    assert answer.err.count(f"queuectl: made a new queue at {queuectl.folder}/new/q.db\n") == 1
    assert (queuectl.folder / "new" / "q.db").exists()
    if words[0] in ("enqueue", "config"):
        again = queuectl(*words, QUEUECTL_DB="new/q.db").ok()
        assert "made a new queue" not in again.err
        del queuectl.env["QUEUECTL_DB"]
        own = queuectl(*words, XDG_STATE_HOME=f"{queuectl.folder}/state").ok()
        assert "made a new queue" not in own.err, "nobody named it"
        assert (queuectl.folder / "state" / "queuectl" / "queue.db").exists()


def test_the_source_of_a_database_path_is_named(inside: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch):
    here = os.getcwd()
    assert inside("status").refused(4).startswith(f"{here}/q.db: there is no database: check the path, named by QUEUE")
    monkeypatch.delenv("QUEUECTL_DB")
    Path(".env").write_text("A=1\nDB_PATH=$HOME/q.db\n")
    monkeypatch.setenv("HOME", "/nowhere")
    told = inside("status").refused(4)
    assert told.startswith(
        f"/nowhere/q.db: there is no database: check the path, named by {here}/.env, line 2, DB_PATH"
    )


@pytest.mark.parametrize("kind", ["folder", "link", "empty"])
def test_other_kinds_of_file_are_no_database(inside: Callable[..., Answer], kind: str):
    if kind == "folder":
        Path("q.db").mkdir()
        assert "is a directory" in inside("status").refused(4)
        assert "is a directory" in inside("enqueue", "true").refused(4)
        return
    Path("q.db").symlink_to("gone/away.db") if kind == "link" else Path("q.db").touch()
    assert "there is no database" in inside("status").refused(4)
    assert os.listdir() == ["q.db"]


def test_answers_name_their_database(queuectl: Shell, inside: Callable[..., Answer]):
    inside("enqueue", "true").ok()
    path = f"{queuectl.folder}/q.db"
    assert inside("status", "--json").json["database"] == path
    assert inside("status", "--at", "seq:1", "--json").json["database"] == path
    assert inside("doctor", "--json").json["database"] == path
    assert inside("config", "get", "--json").json["database"] == path
    assert inside("config", "get", "timeout", "--json").json["database"] == path
    assert path in inside("worker", "list", "--json").err
    assert path in inside("config", "get").err
    assert path in inside("doctor").out
    assert inside("config", "get", "timeout").out == "60s\n"


def test_the_dotenv_of_another_program_is_harmless(queuectl: Shell, inside: Callable[..., Answer]):
    inside("enqueue", "true").ok()
    Path(".env").write_bytes(b"OWNER=M\xfcller\nMAX_RETRIES=unlimited\nDB_PATH=$NOPE/x\nfi\n")
    for words in (["enqueue", "true"], ["status"], ["stop-workers"], ["cancel", "1"], ["list"], ["doctor"]):
        answer = inside(*words).ok()
        assert answer.err.count("MAX_RETRIES") <= 1, answer.err
    assert answer.err.count(".env, line 2: MAX_RETRIES): passed over") == 1
    assert inside("inspect", "2", "--json").json["max_retries"] == 3
    assert not Path("x").exists()


def test_a_wrong_setting_fails_only_its_users(queuectl: Shell, inside: Callable[..., Answer]):
    inside("enqueue", "true").ok()
    Path(".env").write_text("QUEUECTL_MAX_RETRIES=lots\nQUEUECTL_OUTPUT_LIMIT=1\n")
    told = inside("enqueue", "true").refused(2)
    assert "'lots'" in told
    assert f"{queuectl.folder}/.env, line 1: QUEUECTL_MAX_RETRIES" in told
    inside("enqueue", "--max-retries", "1", "true").ok()
    for words in (["status"], ["stop-workers"], ["cancel", "1"], ["config", "get", "timeout"]):
        assert inside(*words).ok().err.count("lots") == 0
    assert ".env, line 1" in inside("config", "get").ok().err
    assert ".env, line 1" in inside("config", "get", "max-retries").refused(2)
    assert inside("doctor").code == 1
    assert "line 2: QUEUECTL_OUTPUT_LIMIT" in inside("worker", "start", "--drain").refused(2)


def test_an_untrusted_dotenv_sets_nothing(inside: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch):
    inside("enqueue", "true").ok()
    Path(".env").write_text("DB_PATH=other.db\nMAX_RETRIES=0\n")
    Path(".env").chmod(0o666)
    inside("status").ok()
    told = inside("enqueue", "true").refused(4)
    assert f"{os.getcwd()}/.env can be written by others" in told
    assert "MAX_RETRIES is set there" in told
    inside("enqueue", "--max-retries", "1", "true").ok()
    monkeypatch.delenv("QUEUECTL_DB")
    for words in (["status"], ["enqueue", "--max-retries", "1", "true"]):
        told = inside(*words).refused(4)
        assert "DB_PATH is set there; name the database with --db or QUEUECTL_DB" in told
    assert not Path("other.db").exists()

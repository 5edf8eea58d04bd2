"""The ranking of the places that may set a value, and the values that each setting accepts."""

import os
import re
from pathlib import Path

import pytest

from queuectl import dotenv, dotenv_syntax, settings
from queuectl.dotenv import EnvFile
from queuectl.errors import Invalid, SettingWarning, Unusable


def test_the_defaults_are_the_seeds():
    found = settings.settings({}, {}, env_file(""))
    assert (found.max_retries, found.backoff_base, found.timeout) == (3, 2.0, 60.0)
    assert found == settings.Settings(), "the table and the Struct say the same"


def env_file(text: str) -> EnvFile:
    return dotenv_syntax.parsed("/x/.env", text)


def test_every_place_outranks_the_next():
    environ = {"QUEUECTL_MAX_RETRIES": "1", "MAX_RETRIES": "3"}
    stored, lines = {"max-retries": "2"}, ["MAX_RETRIES=4", "QUEUECTL_MAX_RETRIES=5"]

    def winner() -> tuple[object, str]:
        found = settings.resolve(stored, environ, env_file("\n".join(lines)))["max-retries"]
        return found.value, found.source

    assert winner() == (1, "environment QUEUECTL_MAX_RETRIES")
    del environ["QUEUECTL_MAX_RETRIES"]
    assert winner() == (5, ".env QUEUECTL_MAX_RETRIES")
    lines.pop()
    assert winner() == (2, "config set")
    stored.clear()
    assert winner() == (3, "environment MAX_RETRIES")
    del environ["MAX_RETRIES"]
    assert winner() == (4, ".env MAX_RETRIES")
    lines.clear()
    assert winner() == (3, "default")


def test_few_variables_are_read_without_the_prefix():
    environ = {"TIMEOUT": "5", "JITTER": "1", "BACKOFF_BASE": "3"}
    found = settings.settings({}, environ, env_file(""))
    assert (found.timeout, found.jitter, found.backoff_base) == (60.0, 0.0, 3.0)


def test_an_empty_variable_is_not_set():
    assert settings.settings({}, {"QUEUECTL_MAX_RETRIES": ""}, env_file("MAX_RETRIES=")).max_retries == 3


@pytest.mark.parametrize(
    "environ,text,message",
    [
        ({"QUEUECTL_MAX_RETRIES": "x"}, "", r"max-retries: 'x' .* \(from environment QUEUECTL_MAX_RETRIES\)"),
        ({}, "\nQUEUECTL_MAX_RETRIES=0x", r"'0x' .* \(from /x/\.env, line 2: QUEUECTL_MAX_RETRIES\)"),
        ({}, "QUEUECTL_MAX_RETRIES=$N", r"^/x/\.env, line 1: QUEUECTL_MAX_RETRIES: \$N is not set"),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], text: str, message: str):
    found = settings.resolve({"max-retries": "5"}, environ, env_file(text))["max-retries"]
    assert found.value is None
    assert found.error is not None
    assert re.search(message, str(found.error))


@pytest.mark.parametrize(
    "environ,text,message",
    [
        ({"MAX_RETRIES": "unlimited"}, "", r"\(from environment MAX_RETRIES\): passed over"),
        ({}, "MAX_RETRIES=unlimited", r"'unlimited' .* \(from /x/\.env, line 1: MAX_RETRIES\): passed over"),
        ({}, "A=1\nMAX_RETRIES='3", r"^/x/\.env, line 2: MAX_RETRIES: the ' is not closed: passed over"),
        ({}, "MAX_RETRIES=\udcfc", r"^/x/\.env, line 1: MAX_RETRIES: is not valid UTF-8: passed over"),
    ],
)
def test_ambiguous_variables_are_ignored_with_a_warning(environ: dict[str, str], text: str, message: str):
    with pytest.warns(SettingWarning, match=message):
        found = settings.resolve({}, environ, env_file(text))["max-retries"]
    assert (found.value, found.source) == (3, "default")


@pytest.mark.parametrize(
    "key,text,value",
    [
        ("max-retries", "0", 0), ("max_retries", "7", 7), ("MAX-RETRIES", "7", 7), ("backoff-base", "1.5", 1.5),
        ("backoff-max", "1h", 3600.0), ("timeout", "none", None), ("timeout", "90", 90.0), ("on-lost", "dead", "dead"),
        ("keep-env", "PATH, LANG", ("PATH", "LANG")), ("keep-env", "none", ()), ("output-limit", "1MiB", 1 << 20),
        ("synchronous", "normal", "normal"), ("plain-commands", "shell", "shell"),
        ("seal-every", "1h", 3600.0), ("seal-every", "None", None), ("lease", "2m", 120.0),
        ("keep", "30d", 2592000.0), ("keep", "forever", None), ("keep-dead", "12h", 43200.0),
    ],
)  # fmt: skip
def test_a_value_is_read(key: str, text: str, value: object):
    assert settings.parse(key, text) == value


@pytest.mark.parametrize(
    "key,text,message",
    [
        ("max-retres", "3", r"no setting 'max-retres' \(did you mean 'max-retries'\?\); known: max-retries"),
        ("max-retries", "-1", "max-retries: '-1' is not a whole number from 0 to 1000000"),
        ("backoff-base", "0", "backoff-base: '0' is not a number from 1 to 1000000"),
        ("timeout", "0", "^timeout: 0 is not a duration above 0"),
        ("on-lost", "rety", r"on-lost: 'rety' is not one of retry, dead \(did you mean 'retry'\?\)"),
        ("keep-env", "A-B", "keep-env: .*'A-B' is not the name of a variable"),
        ("output-limit", "1", "output-limit: '1' is not a size from 4 KiB"),
        ("synchronous", "off", "synchronous: 'off' is not one of full, normal"),
        ("seal-every", "0", "seal-every: '0' is not a duration above 0, or none"),
        ("lease", "10", "lease: '10' is not a duration from 30s to 1d"),
        ("keep", "0", r"^keep: '0' is not a duration above 0 \(30d, 12h\), or none"),
        ("keep", "-3d", "^keep: '-3d' is not a duration above 0"),
        ("keep-dead", "month", "^keep-dead: 'month' is not a duration above 0"),
        ("seal-every", "hourly", "seal-every: 'hourly' is not a duration"),
    ],
)
def test_a_wrong_value_is_refused_with_accepted_ones(key: str, text: str, message: str):
    with pytest.raises(Invalid, match=message):
        settings.parse(key, text)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without any of our variables."""
    for name in list(os.environ):
        if name.startswith("QUEUECTL_") or name in ("DB_PATH", "MAX_RETRIES", "BACKOFF_BASE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_database_comes_from_environment_or_dotenv(here: Path, monkeypatch: pytest.MonkeyPatch):
    assert settings.database() == settings.DatabaseName(str(here / "state" / "queuectl" / "queue.db"), None)
    (here / ".env").write_text("\nDB_PATH=./db/queue.db\nBACKOFF_BASE=2\nMAX_RETRIES=3\n")
    assert settings.database() == settings.DatabaseName("./db/queue.db", f"{here}/.env, line 2, DB_PATH")
    (here / ".env").write_text("DB_PATH=./db/queue.db\nQUEUECTL_DB=$HOME/a.db\n")
    monkeypatch.setenv("HOME", "/h")
    assert settings.database() == settings.DatabaseName("/h/a.db", f"{here}/.env, line 2, QUEUECTL_DB")
    monkeypatch.setenv("DB_PATH", "b.db")
    assert settings.database() == settings.DatabaseName("b.db", "DB_PATH"), "the environment beats .env"
    monkeypatch.setenv("QUEUECTL_DB", "c.db")
    assert settings.database() == settings.DatabaseName("c.db", "QUEUECTL_DB")
    assert settings.database("d.db") == settings.DatabaseName("d.db", "--db")
    with pytest.raises(Invalid, match="--db: is empty"):
        settings.database("")


def test_an_unreadable_dotenv_database_has_no_fallback(here: Path, monkeypatch: pytest.MonkeyPatch):
    (here / ".env").write_text("DB_PATH=$NOWHERE/q.db\n")
    with pytest.raises(Invalid, match=r"\.env, line 1: DB_PATH: \$NOWHERE is not set"):
        settings.database()
    (here / ".env").write_bytes(b"#" * (dotenv.MOST + 1))
    with pytest.raises(Unusable, match=r"/\.env is above 64 KiB, and is not read: it may name the database; name"):
        settings.database()
    monkeypatch.setenv("QUEUECTL_DB", "c.db")
    assert settings.database().path == "c.db"


def test_unused_wrong_settings_do_not_matter():
    environ = {"QUEUECTL_TIMEOUT": "x", "QUEUECTL_JITTER": "0.5"}
    found = settings.settings({}, environ, dotenv.EnvFile(entries={}))
    assert (found.jitter, found.timeout) == (0.5, 60.0)
    found.require("jitter", "max_retries")
    with pytest.raises(Invalid, match="from environment QUEUECTL_TIMEOUT"):
        found.require("jitter", "timeout")

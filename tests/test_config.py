"""Which of the places that may set a value wins, and what each setting accepts."""

import os
from pathlib import Path

import pytest

from queuectl import config
from queuectl.errors import Invalid


def test_the_defaults_are_the_seeds():
    found = config.settings({}, {}, {})
    assert (found.max_retries, found.backoff_base, found.timeout) == (3, 2.0, 60.0)
    assert found == config.Settings(), "the table and the Struct say the same"


def test_every_place_outranks_the_next():
    environ = {"QUEUECTL_MAX_RETRIES": "1", "MAX_RETRIES": "3"}
    stored, env_file = {"max-retries": "2"}, {"MAX_RETRIES": "4"}

    def winner() -> tuple[object, str]:
        found = config.resolve(stored, environ, env_file)["max-retries"]
        return found.value, found.source

    assert winner() == (1, "environment QUEUECTL_MAX_RETRIES")
    del environ["QUEUECTL_MAX_RETRIES"]
    assert winner() == (2, "config set")
    stored.clear()
    assert winner() == (3, "environment MAX_RETRIES")
    del environ["MAX_RETRIES"]
    assert winner() == (4, ".env MAX_RETRIES")
    env_file.clear()
    assert winner() == (3, "default")


def test_only_the_seeds_own_variables_are_read_without_the_prefix():
    environ = {"TIMEOUT": "5", "JITTER": "1", "BACKOFF_BASE": "3"}
    found = config.settings({}, environ, {})
    assert (found.timeout, found.jitter, found.backoff_base) == (60.0, 0.0, 3.0)


def test_an_empty_variable_is_not_set():
    assert config.settings({}, {"QUEUECTL_MAX_RETRIES": ""}, {"MAX_RETRIES": ""}).max_retries == 3


@pytest.mark.parametrize(
    "environ,env_file,message",
    [
        ({"QUEUECTL_MAX_RETRIES": "x"}, {}, r"max-retries: 'x' .* \(from environment QUEUECTL_MAX_RETRIES\)"),
        ({}, {"BACKOFF_BASE": "0"}, r"backoff-base: '0' .* \(from .env BACKOFF_BASE\)"),
    ],
)
def test_a_wrong_variable_is_named(environ: dict[str, str], env_file: dict[str, str], message: str):
    with pytest.raises(Invalid, match=message):
        config.settings({}, environ, env_file)


@pytest.mark.parametrize(
    "key,text,value",
    [
        ("max-retries", "0", 0), ("max_retries", "7", 7), ("MAX-RETRIES", "7", 7), ("backoff-base", "1.5", 1.5),
        ("backoff-max", "1h", 3600.0), ("timeout", "none", None), ("timeout", "90", 90.0), ("on-lost", "dead", "dead"),
        ("keep-env", "PATH, LANG", ("PATH", "LANG")), ("keep-env", "none", ()), ("output-limit", "1MiB", 1 << 20),
        ("synchronous", "normal", "normal"), ("seal-every", "1h", 3600.0), ("seal-every", "None", None),
    ],
)  # fmt: skip
def test_a_value_is_read(key: str, text: str, value: object):
    assert config.parse(key, text) == value


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
        ("seal-every", "hourly", "seal-every: 'hourly' is not a duration"),
    ],
)
def test_a_wrong_value_is_refused_with_what_is_accepted(key: str, text: str, message: str):
    with pytest.raises(Invalid, match=message):
        config.parse(key, text)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without any of our variables."""
    for name in list(os.environ):
        if name.startswith("QUEUECTL_") or name in ("DB_PATH", "MAX_RETRIES", "BACKOFF_BASE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_database_is_found_as_the_seed_finds_it(here: Path, monkeypatch: pytest.MonkeyPatch):
    assert config.database() == str(here / "state" / "queuectl" / "queue.db")
    (here / ".env").write_text("DB_PATH=./db/queue.db\nBACKOFF_BASE=2\nMAX_RETRIES=3\n")
    assert config.database() == "./db/queue.db"
    monkeypatch.setenv("DB_PATH", "b.db")
    assert config.database() == "b.db"
    monkeypatch.setenv("QUEUECTL_DB", "c.db")
    assert config.database() == "c.db"
    assert config.database("d.db") == "d.db"
    with pytest.raises(Invalid, match="--db: is empty"):
        config.database("")


def test_a_dotenv_is_taken_as_it_stands(here: Path):
    (here / ".env").write_text('MAX_RETRIES="5" # five\nexport BACKOFF_BASE=3\nDB_PATH=${HOME}/x\nEMPTY\n')
    assert config.dotenv() == {"MAX_RETRIES": "5", "BACKOFF_BASE": "3", "DB_PATH": "${HOME}/x"}
    assert config.settings({}, {}).max_retries == 5


def test_a_dotenv_that_is_no_text_is_refused(here: Path):
    (here / ".env").write_bytes(b"A=\xff\n")
    with pytest.raises(Invalid, match=r"can't read .*\.env: not valid UTF-8"):
        config.dotenv()


def test_a_folder_named_dotenv_is_none(here: Path):
    (here / ".env").mkdir()
    assert config.dotenv() == {}

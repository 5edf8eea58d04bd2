"""`.env`: the meaning of its lines, the errors in them, and the owners and modes that are trusted."""

import os
import stat
from pathlib import Path

import pytest

from queuectl import dotenv, dotenv_syntax
from queuectl.errors import Invalid, SettingWarning, Unusable

ENVIRON = {"HOME": "/home/ann", "EMPTY": ""}


def parsed(text: str) -> dotenv.EnvFile:
    return dotenv_syntax.parsed("/x/.env", text, ENVIRON.get)


@pytest.mark.parametrize(
    "line,value",
    [
        ("A=1", "1"), ("export A = 1 ", "1"), ("A=", ""), ("A= # none", ""), ("A=a#b # c", "a#b"), ("A", None),
        ("A='1' # one", "1"), ('A="1"#one', "1"), ("A=x\"y\"z", 'x"y"z'), ("A='it\\'s'", "it's"),
        ("A=$HOME/q.db", "/home/ann/q.db"), ("A=${HOME}x", "/home/annx"), ('A="$HOME"', "/home/ann"),
        ("A='$HOME'", "$HOME"), ("A=\\$HOME", "$HOME"), ("A=5$", "5$"), ("A=$1", "$1"), ("A=C:\\new", "C:\\new"),
        ("A=${NO:-x y}", "x y"), ("A=${EMPTY:-x}", "x"), ("A=${EMPTY-x}", ""), ("A=${NO-}", ""),
        ('A="a\\tb\\nc\\"d"', 'a\tb\nc"d'), ('A="two\nlines"\nB=3', "two\nlines"), ("B=2\r\nA=$B\r\n", "2"),
        ("A=1\nA=2", "2"), ("\n# A=3\n  A=4", "4"),
    ],
)  # fmt: skip
def test_a_line_is_read_as_a_shell_would(line: str, value: str | None):
    assert parsed(line).get("A") == value


@pytest.mark.parametrize(
    "line,message",
    [
        ("A=$NO", r"line 1: A: \$NO is not set"), ("\n\nA=${NO}/x", r"line 3: A: \$NO is not set"),
        ("B=$NO\nA=$B", r"line 2: A: \$B can't be used"), ("A='1", "line 1: A: the ' is not closed"),
        ('A="1" 2', 'line 1: A: something stands behind the closing "'), ("A=$(pwd)/q", r"\$\(…\) is not run"),
        ("A=${HOME", r"A: \${HOME is no variable"), ("A=${HOME:?}", "is no variable: write"),
        ("A=\udcfc", "line 1: A: is not valid UTF-8"), ("A: 1", "line 1: A: there is no = behind it"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_refused_when_asked_for(line: str, message: str):
    found = parsed(line + "\nOTHER=1")
    with pytest.raises(Invalid, match=message):
        found.get("A")
    assert found.get("OTHER") == "1"


def test_invalid_lines_are_reported_once():
    with pytest.warns(
        SettingWarning, match=r"^/x/\.env, line 2 \(and 1 more\): is not NAME=value: passed over"
    ) as told:
        assert parsed("A=1\nnot a line\nB=2\n=3").get("B") == "2"
    assert len(told) == 1


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_folder_of_that_name_is_ignored(here: Path):
    assert dotenv.read().get("A") is None
    (here / ".env").mkdir()
    assert dotenv.read().get("A") is None
    assert not dotenv.read().opaque


def test_another_users_file_gives_only_its_names(here: Path, monkeypatch: pytest.MonkeyPatch):
    (here / ".env").write_text("A=1\nexport B=2\n#C=3\n")
    (here / ".env").chmod(0o644)
    assert dotenv.read().get("A") == "1"
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    if os.stat(".env").st_uid == 0:
        monkeypatch.setattr(os, "fstat", foreign := _owned(4712))
        monkeypatch.setattr(os, "lstat", foreign)
    found = dotenv.read()
    for name in ("A", "B"):
        with pytest.raises(Unusable, match=rf"/\.env belongs to user .*, and is not read: {name} is set there"):
            found.get(name)
    assert found.get("C") is None


def _owned(uid: int):
    """`os.stat` as if another owned the file."""
    real = os.stat

    def look(path: int | str) -> os.stat_result:
        found = real(path)
        return os.stat_result((*found[:4], uid, *found[5:]))

    return look


def test_a_file_writable_by_others_is_not_read(here: Path):
    (here / ".env").write_text("A=1\n")
    (here / ".env").chmod(0o666)
    with pytest.raises(Unusable, match="can be written by others"):
        dotenv.read().get("A")


def test_a_file_is_read_up_to_64_kib(here: Path):
    line = "A=1\n"
    (here / ".env").write_text(line + "#" * ((64 << 10) - len(line)))
    (here / ".env").chmod(0o644)
    assert dotenv.read().get("A") == "1"
    with (here / ".env").open("a") as file:
        file.write("#")
    assert dotenv.read().opaque


@pytest.mark.parametrize("kind", ["fifo", "large", "utf-16"])
def test_unreadable_kinds_of_files_are_opaque(here: Path, kind: str):
    if kind == "fifo":
        os.mkfifo(".env")
    elif kind == "large":
        (here / ".env").touch()
        os.truncate(".env", 20 << 30)
    else:
        (here / ".env").write_text("A=1\n", encoding="utf-16")
    found = dotenv.read()
    assert found.opaque
    assert found.refusal is not None
    assert found.get("A") is None
    assert stat.S_ISFIFO(os.stat(".env").st_mode) == (kind == "fifo")

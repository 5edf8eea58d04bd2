"""The location of a queue: its paths, what is made there, and its identity (R12)."""

import fcntl
import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl.engines.sqlite.location import locate, prepare
from queuectl.errors import Invalid, Unusable
from tests.support.other_user import NOBODY, PRELUDE, as_root, run
from tests.support.paths import ROOT


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "q.db"


def mode(path: Path | str) -> int:
    return stat.S_IMODE(os.lstat(path).st_mode)


def everything_below(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): mode(path) for path in sorted(folder.rglob("*"))}


# The URL


def test_a_path_and_a_url_give_one_location(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(database.parent)
    monkeypatch.setenv("HOME", str(database.parent))
    expected = locate(str(database))
    assert expected.database == str(database)
    assert expected.home.folder == f"{database}.d"
    for url in ("q.db", "./x/../q.db", f"sqlite:///{database}", "sqlite:///q.db", "SQLite:///q.db", "~/q.db"):
        assert locate(url) == expected


def test_the_paths_of_a_location(database: Path) -> None:
    found = locate(str(database))
    names = {name: getattr(found, name) for name in ("gate", "bells")}
    names |= {name: getattr(found.home, name) for name in ("workers", "output", "stdin", "logs", "id")}
    assert names == {name: f"{database}.d/{name}" for name in names}


def test_locating_a_database_touches_nothing(database: Path) -> None:
    locate(str(database))
    assert os.listdir(database.parent) == []


@pytest.mark.parametrize(
    "url",
    ["", "sqlite:///", "sqlite://q.db", "mysql://host/db", "http://x/q.db", ":memory:", "sqlite:///:memory:", "a\0b"],
)
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(Invalid) as caught:
        locate(url)
    assert caught.value.exit_code == 2
    assert "\n" not in str(caught.value)


def test_a_symbolic_link_gives_its_targets_location(database: Path) -> None:
    prepare(locate(str(database)))
    link = database.parent / "link.db"
    link.symlink_to(database)
    assert locate(str(link)) == locate(str(database))
    (database.parent / "folder").symlink_to(database.parent)
    assert locate(f"{database.parent}/folder/q.db") == locate(str(database))


@as_root
def test_another_users_symbolic_link_is_refused(database: Path) -> None:
    prepare(locate(str(database)))
    link = database.parent / "link.db"
    link.symlink_to(database)
    os.lchown(link, NOBODY, NOBODY)
    with pytest.raises(Unusable, match="symbolic link made by user nobody"):
        locate(str(link))


def test_a_removed_working_directory_is_refused(tmp_path: Path) -> None:
    script = """
os.mkdir("gone")
os.chdir("gone")
os.rmdir("../gone")
try:
    locate("q.db")
except QueueError as error:
    print(error.exit_code, error)
"""
    assert run(script, tmp_path).startswith("4 q.db: No such file")


# What is made


FOLDERS = ("output", "stdin", "workers", "logs", "bells")
EXPECTED = {"q.db": 0o600, "q.db.d": 0o700} | {f"q.db.d/{name}": 0o700 for name in FOLDERS}


@pytest.mark.parametrize("umask", ["0", "0o022", "0o777"])
def test_modes_do_not_depend_on_the_umask(open_folder: Path, umask: str) -> None:
    script = f"""
become_nobody()
os.umask({umask})
here = locate("new/deep/q.db")
prepare(here)
prepare(here)
here.home.identity()
assert os.umask(0) == {umask}
"""
    run(script, open_folder)
    assert mode(open_folder / "new") == 0o700
    found = everything_below(open_folder / "new/deep")
    assert found.pop("q.db.d/id") == 0o600
    assert found == EXPECTED


def test_preparing_again_only_adds_what_is_missing(database: Path) -> None:
    prepare(locate(str(database)))
    database.write_bytes(b"precious")
    os.rmdir(f"{database}.d/stdin")
    os.chmod(f"{database}.d/logs", 0o750)
    prepare(locate(str(database)))
    assert database.read_bytes() == b"precious"
    assert everything_below(database.parent) == EXPECTED | {"q.db.d/logs": 0o750}


def test_the_database_is_never_opened(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[object] = []
    real = os.open

    def spy(path: str, *rest: int, **more: int) -> int:
        opened.append(path)
        return real(path, *rest, **more)

    monkeypatch.setattr(os, "open", spy)
    for _ in range(2):
        prepare(locate(str(database)))
        locate(str(database)).home.identity()
    assert opened
    assert all(path.startswith(f"{database}.d") for path in map(str, opened) if path.startswith(str(database)))


# The identity


def test_every_opening_has_the_same_identity(database: Path) -> None:
    prepare(locate(str(database)))
    first = locate(str(database)).home.identity()
    assert len(first) == 16
    int(first, 16)
    prepare(locate(str(database)))
    assert locate(str(database)).home.identity() == first
    assert run("print(locate('q.db').home.identity())", database.parent).strip() == first


def test_a_copy_has_another_identity(database: Path) -> None:
    prepare(locate(str(database)))
    first = locate(str(database)).home.identity()
    copy = database.parent / "copy"
    copy.mkdir()
    shutil.copy2(database, copy)
    subprocess.run(["cp", "-a", f"{database}.d", copy], check=True)
    assert (copy / "q.db.d/id").read_bytes() == Path(f"{database}.d/id").read_bytes()
    prepare(locate(str(copy / "q.db")))
    assert locate(str(copy / "q.db")).home.identity() != first


def test_a_moved_queue_keeps_its_identity(database: Path) -> None:
    (database.parent / "old").mkdir()
    (database.parent / "new").mkdir()
    prepare(locate(f"{database.parent}/old/q.db"))
    first = locate(f"{database.parent}/old/q.db").home.identity()
    for name in ("q.db", "q.db.d"):
        os.rename(database.parent / "old" / name, database.parent / "new" / name)
    assert locate(f"{database.parent}/new/q.db").home.identity() == first


def test_a_queue_without_its_id_gets_another(database: Path) -> None:
    prepare(locate(str(database)))
    first = locate(str(database)).home.identity()
    os.unlink(f"{database}.d/id")
    assert locate(str(database)).home.identity() != first


def test_a_new_database_has_a_new_identity(database: Path) -> None:
    prepare(locate(str(database)))
    first = locate(str(database)).home.identity()
    database.unlink()
    prepare(locate(str(database)))
    assert locate(str(database)).home.identity() != first


@pytest.mark.parametrize("text", ["", "abc\n", "x" * 32 + "\n"])
def test_a_damaged_id_is_not_replaced(database: Path, text: str) -> None:
    prepare(locate(str(database)))
    Path(f"{database}.d/id").write_text(text)
    with pytest.raises(Unusable, match="damaged"):
        locate(str(database)).home.identity()


def test_the_first_id_is_kept(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepare(locate(str(database)))
    real, other = os.link, "0" * 32 + "\n"

    def late(*names: str) -> None:
        Path(f"{database}.d/id").write_text(other)
        real(*names)

    monkeypatch.setattr(os, "link", late)
    first = locate(str(database)).home.identity()
    assert Path(f"{database}.d/id").read_text() == other
    assert locate(str(database)).home.identity() == first
    assert not [name for name in os.listdir(f"{database}.d") if name.startswith(".")]


def test_a_database_made_meanwhile_keeps_its_id(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def late(*_: int) -> None:
        database.write_text("made by another process")
        Path(f"{database}.d/id").write_text("0" * 32 + "\n")

    monkeypatch.setattr(fcntl, "flock", late)
    prepare(locate(str(database)))
    assert database.read_text() == "made by another process"
    assert Path(f"{database}.d/id").exists()


def test_concurrent_first_openings_agree_on_the_id(tmp_path: Path) -> None:
    script = """
sys.stdin.readline()
for n in range(30):
    here = locate(f"{n}/q.db")
    prepare(here)
    print(here.home.identity())
"""
    command = [sys.executable, "-c", PRELUDE + script, str(tmp_path)]
    processes = [
        subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    told = {process.communicate("\n", timeout=30)[0] for process in processes}
    assert [process.returncode for process in processes] == [0] * 4
    assert len(told) == 1
    assert len(set(told.pop().split())) == 30
    assert not [name for n in range(30) for name in os.listdir(tmp_path / f"{n}/q.db.d") if name.startswith(".")]

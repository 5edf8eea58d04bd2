"""Worker logs are private files, and are never written through links or into shared folders."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl.errors import Unusable
from queuectl.workers.journal import Journal, open_log_file
from queuectl.workers.recovery.rescuer import RecoveryReport, write_report


def linked(logs: Path, name: str) -> None:
    (logs.parent / "precious").write_text("mine")
    (logs / name).symlink_to(logs.parent / "precious")


def dangling(logs: Path, name: str) -> None:
    (logs / name).symlink_to(logs.parent / "made by us")


def hard_linked(logs: Path, name: str) -> None:
    (logs.parent / "precious").write_text("mine")
    os.link(logs.parent / "precious", logs / name)


def pipe(logs: Path, name: str) -> None:
    os.mkfifo(logs / name)


def folder_of_all(logs: Path, name: str) -> None:
    logs.chmod(0o777)


PUT: dict[Callable[[Path, str], None], str] = {
    linked: "is a symbolic link: name another folder with --logs",
    dangling: "is a symbolic link: name another folder with --logs",
    hard_linked: "is not a file of our own alone: name another folder with --logs",
    pipe: "name another folder with --logs",
    folder_of_all: "can be written by others",
}


@pytest.mark.parametrize("put", PUT)
@pytest.mark.parametrize("name", ["worker.jsonl", "worker.log"])
def test_no_log_is_written_where_others_lead_it(tmp_path: Path, name: str, put: Callable[[Path, str], None]) -> None:
    logs = tmp_path / "logs"
    logs.mkdir(0o755)
    put(logs, name)
    before = {path.name: path.lstat().st_mode for path in tmp_path.rglob("*")}
    with pytest.raises(Unusable, match=PUT[put]):
        Journal(str(logs), "w1") if name == "worker.jsonl" else open_log_file(str(logs), name)
    assert {path.name: path.lstat().st_mode for path in tmp_path.rglob("*")} == before
    assert not list(tmp_path.glob("precious")) or (tmp_path / "precious").read_text() == "mine"


def test_log_folders_are_for_their_owner_alone(tmp_path: Path) -> None:
    os.close(open_log_file(str(tmp_path / "q.db.d" / "logs"), "worker.log"))
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "q.db.d").rglob("*")} == {0}
    assert (tmp_path / "q.db.d").stat().st_mode & 0o077 == 0


def test_reports_need_a_folder_others_cannot_write(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(Unusable, match="can be written by others"):
        write_report(str(tmp_path), RecoveryReport(workers=[], jobs=[], left=[]))
    assert not list(tmp_path.iterdir())


def test_later_symlink_only_costs_the_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(str(tmp_path / "logs"), "w1")
    journal.write([{"event": "one"}])
    monkeypatch.setattr("queuectl.workers.journal.LIMIT", 0)
    os.rename(tmp_path / "logs" / "worker.jsonl", tmp_path / "aside")
    (tmp_path / "logs" / "worker.jsonl").symlink_to(tmp_path / "made by us")
    journal.write([{"event": "two"}])
    journal.close()
    assert not (tmp_path / "made by us").exists()

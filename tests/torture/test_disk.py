"""A disk that fails, in short: killed at every write, power cut, full, failing, read-only, damaged."""

import os
import random
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.engines.sqlite import database
from queuectl.errors import Unusable
from tests.torture import disk_damage, disk_full, disk_trials, disk_witness
from tests.torture.disk import Op, Operations
from tests.torture.disk_life import Dump
from tests.torture.disk_trials import Recording
from tests.torture.verdict import Breach

SEED = 4


def test_a_kill_at_any_write_is_atomic() -> None:
    figures = disk_trials.kills(SEED, full=False)
    assert figures["found as before the step"]
    assert figures["found as after it"]


def test_a_power_cut_loses_no_acknowledged_event() -> None:
    figures = disk_trials.power_cuts(SEED, full=False)
    assert figures["found as before the step"]
    assert figures["found as after it"]


def test_a_power_cut_under_normal_leaves_earlier_state() -> None:
    assert disk_trials.power_cuts_normal(SEED, full=False)["found older"]


def test_the_check_notices_lost_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """With `normal` in place of `full` the promise is broken, and that must be found out."""
    record = disk_trials.record

    def careless(folder: Path, *, pages: int | None = None) -> Recording:
        return record(folder, normal=True, pages=pages)

    monkeypatch.setattr(disk_trials, "record", careless)
    with pytest.raises(Breach, match="no state it may be in"):
        disk_trials.power_cuts(SEED, full=False)


def test_the_check_notices_half_done_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    record = disk_trials.record

    def forgetful(folder: Path, *, pages: int | None = None) -> Recording:
        life = record(folder, pages=pages)
        life.dumps = [_without_counts(rows) for rows in life.dumps]
        return life

    monkeypatch.setattr(disk_trials, "record", forgetful)
    with pytest.raises(Breach, match="counts"):
        disk_trials.kills(SEED, full=False)


def _without_counts(rows: Dump) -> Dump:
    return {**rows, "counts": []}


def test_refused_writes_are_reported_and_can_be_repeated() -> None:
    assert disk_trials.refusals(SEED, full=False)["told"]


def test_open_processes_survive_a_killed_ones_shared_memory() -> None:
    # Where the kills fall depends on how many steps the tables take: one draw may hit none of those that are wanted.
    assert any(disk_witness.witnessed(SEED + more, full=False)["found as after the step"] for more in range(3))


def test_a_damaged_page_is_reported_and_kept() -> None:
    assert disk_damage.damaged(SEED, full=False)["noticed"]


@pytest.mark.parametrize("trouble", disk_full.TROUBLES)
def test_commands_that_cannot_write_exit_with_4(tmp_path: Path, trouble: str) -> None:
    assert disk_full.commands(tmp_path / "here", disk_full.TROUBLES[trouble]) == []


@pytest.mark.parametrize("trouble", disk_full.TROUBLES)
def test_a_worker_that_cannot_write_pauses_and_resumes(tmp_path: Path, trouble: str) -> None:
    assert disk_full.worker(tmp_path / "here", disk_full.TROUBLES[trouble]) == []


def test_a_worker_on_a_full_disk_resumes(tmp_path: Path) -> None:
    folder = tmp_path / "small"
    with disk_full.small_disk(folder) as mounted:
        if not mounted:
            pytest.skip("nothing may be mounted here; the tests above refuse the writes instead")
        assert disk_full.small(folder) == []


def test_a_database_without_wal_is_refused_until_accepted(tmp_path: Path) -> None:
    path = str(tmp_path / "q.db")
    with Queue(path) as queue:
        queue.enqueue("true", id="written-back")
        queue.engine.truncate_wal()
        queue.enqueue("true", id="ahead")
    os.unlink(path + "-wal")
    with pytest.raises(Unusable, match="ends with event 1, but 2 were acknowledged"):
        Queue(path)
    os.unlink(tmp_path / "q.db.d" / "high-water")
    with Queue(path) as queue:
        assert [job.id for job in queue.jobs()] == ["written-back"]
        assert queue.check() == []


def test_an_emptied_database_is_not_recreated(tmp_path: Path) -> None:
    path = str(tmp_path / "q.db")
    with Queue(path) as queue:
        queue.enqueue("true")
        queue.home.identity()  # as every worker does
        queue.engine.truncate_wal()
    os.truncate(path, 0)
    for _ in range(2):
        with pytest.raises(Unusable, match="is empty, but has been in use"):
            Queue(path)


def test_inspecting_an_open_database_drops_no_locks(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    with Queue(path):
        before = _locks(path)
        assert before
        assert database.is_made(str(path))
        assert _locks(path) == before


def _locks(path: Path) -> list[str]:
    """The locks of this process on the database and its index, as the kernel lists them."""
    inodes = {f":{os.stat(f'{path}{suffix}').st_ino} " for suffix in ("", "-shm")}
    lines = [line.split(": ", 1)[1] for line in Path("/proc/locks").read_text().splitlines()]
    return sorted(line for line in lines if f" {os.getpid()} " in line and any(inode in line for inode in inodes))


def test_a_recording_gives_written_and_synced_states() -> None:
    operations = Operations()
    operations.ops = [
        Op("create", "f"),
        Op("write", "f", 0, b"a" * 512),
        Op("sync", "f"),
        Op("write", "f", 0, b"b" * 1024),
    ]
    assert operations.killed(4) == {"f": b"b" * 1024}
    assert operations.killed(3) == {"f": b"a" * 512}
    found = {operations.cut(4, random.Random(seed)).get("f") for seed in range(40)}
    assert found == {b"a" * 512, b"b" * 512, b"b" * 1024, b"a" * 512 + b"b" * 512}

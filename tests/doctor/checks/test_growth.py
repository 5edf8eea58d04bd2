"""The doctor tells how the queue grows, when the disk is full, and whether retention does its work."""

import os
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from freezegun import freeze_time

from queuectl import Queue
from queuectl.audit.retention import retain
from queuectl.audit.retention_rules import change_state
from queuectl.clock import now
from queuectl.disk import Disk
from queuectl.doctor import InspectedQueue, examine
from queuectl.doctor.checks import growth
from queuectl.doctor.finding import Finding
from queuectl.workers.turn import TurnWriter
from tests.support.archives import work

BEGINNING = datetime(2026, 1, 1)  # noqa: DTZ001 - freezegun takes it for UTC
DAYS = 8


def day(number: float) -> datetime:
    return BEGINNING + timedelta(days=number)


def lived(path: Path, keep: str | None = None, jobs: int = 40) -> None:
    """A queue in which as many jobs were run on each of some days."""
    for number in range(DAYS):
        with freeze_time(day(number)), Queue(path) as queue:
            if not number:
                TurnWriter(queue, "up", (), queue.home.identity()).start(1)
                queue.set_config("keep", keep)
            queue.enqueue_many(["true"] * jobs)
            for id in work(queue, f"w{number}"):
                output = queue.home.output_of(queue.home.identity(), id, 2)
                Path(output).write_bytes(b"x" * 8192)
                os.utime(output, (time.time(), time.time()))
            list(retain(queue))


def look(path: str, name: str, at: datetime | None = None) -> Finding:
    with freeze_time(at or day(DAYS)), InspectedQueue(path) as queue:
        [found] = [check for check in examine(queue) if check.name == name]
    [finding] = found.findings
    return finding


def with_free(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(InspectedQueue, "disk", lambda self: Disk(free, 1000))  # pyright: ignore[reportUnknownLambdaType]


def test_young_log_tells_no_rate(tmp_path: Path) -> None:
    with freeze_time(day(0)), Queue(tmp_path / "q.db") as queue:
        queue.enqueue("true")
    finding = look(str(tmp_path / "q.db"), "growth", day(0.5))
    assert finding.severity == "ok"
    assert finding.what.endswith("; the log began 12h ago: too young for a rate")
    assert "days" not in finding.facts


def test_empty_queue_has_nothing_to_tell(tmp_path: Path) -> None:
    Queue(tmp_path / "q.db").close()
    assert look(str(tmp_path / "q.db"), "growth").what.endswith("the log is empty: too young for a rate")


def test_a_disk_soon_full_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "q.db"
    lived(path)
    with_free(monkeypatch, 1 << 40)
    far = look(str(path), "growth")
    assert far.severity == "ok"
    assert far.facts["days"] is None
    outputs = 40 * 8192
    assert outputs * 0.9 <= far.facts["files_a_day"] <= outputs * 1.2
    assert 40 * 300 <= far.facts["database_a_day"] <= 40 * 3000
    a_day = far.facts["files_a_day"] + far.facts["database_a_day"]

    with_free(monkeypatch, 1000 + 40 * a_day)
    assert look(str(path), "growth").what.endswith(" more a day: the disk is full in about 40 days")

    with_free(monkeypatch, 1000 + 12 * a_day)
    soon = look(str(path), "growth")
    assert (soon.severity, soon.facts["days"]) == ("warning", 12)
    assert soon.what.endswith("at that rate the disk is full in about 12 days")
    assert str(soon.do).startswith("queuectl config set keep 30d")


def test_what_is_archived_counts_against_the_growth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lived(tmp_path / "all.db")
    lived(tmp_path / "kept.db", keep="1d")
    with_free(monkeypatch, 1 << 30)
    everything, kept = (look(str(tmp_path / name), "growth").facts for name in ("all.db", "kept.db"))
    assert kept["database_a_day"] < 0.8 * everything["database_a_day"]
    assert kept["files_a_day"] < 0.5 * everything["files_a_day"]


def test_large_queue_is_told_of_keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "LARGE", 1000)
    lived(tmp_path / "q.db", jobs=2)
    finding = look(str(tmp_path / "q.db"), "growth")
    assert finding.severity == "warning"
    assert "all jobs are kept for ever" in finding.what


def test_retention_says_what_is_kept(tmp_path: Path) -> None:
    path = str(tmp_path / "q.db")
    with Queue(path) as queue:
        assert look(path, "retention").what == "jobs are kept for ever"
        queue.set_config("keep", "30d")
        queue.set_config("keep-dead", "180d")
    assert look(path, "retention").what == "kept: cancelled and completed jobs for 30d, dead jobs for 180d"


def test_failed_retention_is_a_problem(tmp_path: Path) -> None:
    path = str(tmp_path / "q.db")
    with freeze_time(day(0)), Queue(path) as queue:
        change_state(queue.home, at=now(), error="can't write /x: No space left on device; nothing was written")
    finding = look(path, "retention", day(0) + timedelta(minutes=5))
    assert finding.severity == "problem"
    assert finding.what.startswith("could not be done 5m ago: can't write /x: No space left")


def test_retention_that_nobody_does_is_told(tmp_path: Path) -> None:
    path = str(tmp_path / "q.db")
    with freeze_time(day(0)), Queue(path) as queue:
        queue.enqueue("true")
        work(queue, "w1")
        queue.set_config("keep", "2d")
    assert look(path, "retention", day(3.9)).severity == "ok"
    finding = look(path, "retention", day(4.5))
    assert finding.severity == "warning"
    assert "ended 4d1" in finding.what
    assert "start a worker that stays up" in str(finding.do)

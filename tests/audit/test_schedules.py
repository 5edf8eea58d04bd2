"""Schedules in exports, imports, archives and backups: they go on as they were, and each moment stays once."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from queuectl import Queue, Spec
from queuectl.audit.archive import archive
from queuectl.audit.backup import backup
from queuectl.audit.import_log import load
from queuectl.clock import SECOND, now
from queuectl.errors import Invalid
from queuectl.workers.turn import TurnWriter
from tests.support.one_worker import OneWorker
from tests.support.schedule_judge import fire


@pytest.fixture
def clock() -> Iterator[FrozenDateTimeFactory]:
    with freeze_time("2027-01-15T12:00:00Z") as frozen:
        yield frozen  # pyright: ignore[reportReturnType]


@pytest.fixture
def one(tmp_path: Path, clock: FrozenDateTimeFactory) -> OneWorker:
    return OneWorker(tmp_path)


def enqueued(queue: Queue) -> list[str]:
    return [record.subject for record in queue.events(type="enqueued")]


def test_an_imported_schedule_goes_on(one: OneWorker, clock: FrozenDateTimeFactory, tmp_path: Path) -> None:
    one.queue.schedules.add("s", Spec(command="true", timeout=7.0), cron="@hourly", tz="UTC", overlap="allow")
    clock.tick(3600)
    fire(one.queue)
    with Queue(tmp_path / "new.db") as new:
        load(new, [record.json() + b"\n" for record in one.queue.events()])
        assert new.schedules.get("s") == one.queue.schedules.get("s")
        clock.tick(3600)
        fire(new)
        assert enqueued(new) == ["s@2027-01-15T13:00:00Z", "s@2027-01-15T14:00:00Z"]
        assert new.job("s@2027-01-15T14:00:00Z").timeout == 7.0
        assert new.check() == []


@pytest.mark.parametrize("leaves", ["purged", "archived"])
def test_moments_of_jobs_that_left_stay_done(
    one: OneWorker, clock: FrozenDateTimeFactory, tmp_path: Path, leaves: str
) -> None:
    one.queue.schedules.add("s", "true", cron="@hourly", tz="UTC", overlap="allow")
    clock.tick(3600)
    fire(one.queue)
    [id] = one.run()
    if leaves == "purged":
        one.queue.purge(id)
    else:
        archive(one.queue, str(tmp_path / "old.ndjson.gz"), now() + SECOND)
    assert one.queue.status().total == 0
    clock.move_to("2027-01-15T12:30:00Z")
    one.queue.schedules.remove("s")
    one.queue.schedules.add("s", "true", cron="@hourly", tz="UTC", overlap="allow")
    clock.tick(1800)
    fire(one.queue)
    assert one.queue.status().total == 0
    assert next(one.queue.events(type="schedule_skipped")).event.cause == "exists"  # pyright: ignore[reportAttributeAccessIssue]
    assert one.queue.schedules.backfill("s", now() - 1) == []
    assert one.queue.check() == []


@pytest.mark.parametrize("kept", [True, False])
def test_a_copy_without_the_secrets_says_so(
    one: OneWorker, clock: FrozenDateTimeFactory, tmp_path: Path, kept: bool
) -> None:
    one.queue.schedules.add("s", Spec(command="true", secrets={"TOKEN": "hush"}), cron="@hourly", tz="UTC")
    backup(one.queue, str(tmp_path / "copy.db"), secrets=kept)
    clock.tick(3600)
    with Queue(tmp_path / "copy.db") as copy:
        fire(copy)
        writer = TurnWriter(copy, "w2", (), copy.home.identity())
        writer.start(1)
        claims = writer.turn([], [], 1).claims
        assert [claim.secrets for claim in claims] == ([{"TOKEN": "hush"}] if kept else [])
        job = copy.job("s@2027-01-15T13:00:00Z")
        assert (job.state, "TOKEN" in (job.error or "")) == (("processing", False) if kept else ("dead", True))


JOB = {
    "command": "true", "run_at": "2027-01-15T00:00:00Z", "cwd": "/", "max_retries": 0, "backoff_base": 2.0,
    "backoff_max": 1.0,
}  # fmt: skip
ADDED: dict[str, Any] = {"cron": "@daily", "tz": "UTC", "since": "2027-01-15T00:00:00Z", "job": JOB}


@pytest.mark.parametrize("kind, data, told", [
    ("schedule_added", {**ADDED, "cron": "61 * * * *"}, "character 1: '61' is no minute"),
    ("schedule_added", {**ADDED, "since": None}, "since: is missing"),
    ("schedule_added", {**ADDED, "since": "soon"}, "since: 'soon' is no moment"),
    ("schedule_added", {**ADDED, "until": "soon"}, "until: 'soon' is no moment"),
    ("schedule_added", {**ADDED, "catch_up": "all"}, "give overlap allow as well"),
    ("schedule_added", {**ADDED, "every": 5}, "give one of them"),
    ("schedule_added", {**ADDED, "window": -1.0}, "window: "),
    ("schedule_added", {**ADDED, "said": ["colour"]}, "job, said: are not those of a schedule"),
    ("schedule_added", {**ADDED, "said": ["batch"]}, "batch: a job of a schedule can't have that"),
    ("schedule_added", {**ADDED, "job": {**JOB, "cwd": "tmp"}}, "not an absolute path"),
    ("schedule_added", {**ADDED, "job": {**JOB, "trigger": {"schedule": "s"}}}, "job, said: are not those"),
    ("schedule_fired", {"moment": "2027-01-15T00:00:00Z", "job": "a", "cause": "x"}, "cause: 'x' is none"),
    ("schedule_fired", {"moment": "soon", "job": "a"}, "moment: 'soon' is no moment"),
    ("schedule_skipped", {"first": "2027-01-15T00:00:00Z", "last": "2026-01-15T00:00:00Z", "count": 1, "cause": "down"},
     "are those of no moments"),
    ("schedule_fired", {"moment": "2027-01-15T00:00:00Z", "job": "a"}, "can't be there"),
])  # fmt: skip
def test_what_no_schedule_can_have_is_refused(tmp_path: Path, kind: str, data: dict[str, Any], told: str) -> None:
    line = {"seq": 1, "stream": "schedule:s", "version": 1, "type": kind, "v": 1, "at": "2027-01-15T00:00:00Z",
            "actor": "x", "data": data}  # fmt: skip
    with Queue(tmp_path / "new.db") as new:
        with pytest.raises(Invalid, match=f"{re.escape(told)}.*; nothing was taken in$"):
            load(new, [msgspec.json.encode(line) + b"\n"])
        assert new.status().seq == 0


def test_an_impossible_name_is_refused(tmp_path: Path) -> None:
    line = {"seq": 1, "stream": "schedule:a@b", "version": 1, "type": "schedule_added", "v": 1,
            "at": "2027-01-15T00:00:00Z", "actor": "x", "data": ADDED}  # fmt: skip
    with Queue(tmp_path / "new.db") as new, pytest.raises(Invalid, match="'a@b' has a space, a comma or '@' in it"):
        load(new, [msgspec.json.encode(line) + b"\n"])

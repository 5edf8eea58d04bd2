"""Schedules: what fires, what is skipped and why, whatever the clock does; exactly once for each moment."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from freezegun import freeze_time
from freezegun.api import FrozenDateTimeFactory

from queuectl import Queue, Spec
from queuectl.clock import SECOND, micros, now
from queuectl.errors import Invalid, NotFound, QueueError, Refused
from queuectl.events import ScheduleFired, ScheduleSkipped
from tests.support.one_worker import FAILED, OneWorker
from tests.support.schedule_judge import faults, fire

NOON = "2027-01-15T12:00:00Z"


@pytest.fixture
def clock() -> Iterator[FrozenDateTimeFactory]:
    with freeze_time(NOON) as frozen:
        yield frozen  # pyright: ignore[reportReturnType]


@pytest.fixture
def one(tmp_path: Path, clock: FrozenDateTimeFactory) -> OneWorker:
    return OneWorker(tmp_path)


def ids(queue: Queue) -> list[str]:
    return [record.subject for record in queue.events(type="enqueued")]


def told(queue: Queue) -> list[str]:
    """The events of the schedule in short: `fired 12:01`, `overlap 12:02..12:03 2`."""
    found: list[str] = []
    for record in queue.events():
        event = record.event
        if isinstance(event, ScheduleFired):
            found.append(f"fired {event.moment[11:16]}")
        elif isinstance(event, ScheduleSkipped):
            found.append(f"{event.cause} {event.first[11:16]}..{event.last[11:16]} {event.count}")
    return found


def test_a_moment_is_fired_once_it_came(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add("s", ["true"], cron="* * * * *", tz="UTC")
    fire(one.queue)
    assert ids(one.queue) == []
    clock.move_to("2027-01-15T12:01:00Z")
    fire(one.queue)
    fire(one.queue)
    assert ids(one.queue) == ["s@2027-01-15T12:01:00Z"]
    job = one.queue.job("s@2027-01-15T12:01:00Z")
    assert job.policy.trigger is not None
    assert (job.triggered_by, job.policy.trigger.moment) == ("schedule:s", "2027-01-15T12:01:00.000000Z")
    assert job.run_at == now()


@pytest.mark.parametrize("overlap, expected", [
    ("skip", ["fired 12:01", "overlap 12:02..12:02 1", "overlap 12:03..12:03 1"]),
    ("queue", ["fired 12:01", "overlap 12:02..12:02 1", "fired 12:03"]),
    ("allow", ["fired 12:01", "fired 12:02", "fired 12:03"]),
])  # fmt: skip
def test_overlaps_are_skipped_as_asked(
    one: OneWorker, clock: FrozenDateTimeFactory, overlap: str, expected: list[str]
) -> None:
    one.queue.schedules.add("s", ["true"], cron="* * * * *", tz="UTC", overlap=overlap)  # pyright: ignore[reportArgumentType]
    for minute in (1, 2, 3):
        if minute == 3:
            one.claim()
        clock.move_to(f"2027-01-15T12:0{minute}:00Z")
        fire(one.queue)
    assert told(one.queue) == expected
    assert faults(one.queue, "s", now()) == []


def test_what_queues_waits_for_what_runs(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add("s", ["true"], cron="* * * * *", tz="UTC", overlap="queue")
    asked = one.queue.schedules.run("s")
    clock.move_to("2027-01-15T12:00:30Z")
    assert one.claim() == [asked]
    for minute in (1, 2):
        clock.move_to(f"2027-01-15T12:0{minute}:00Z")
        fire(one.queue)
    waiting = "s@2027-01-15T12:01:00Z"
    assert (one.states()[waiting], one.claim()) == ("blocked", [])
    one.end(asked, outcome=FAILED)
    assert (one.states()[waiting], one.claim()) == ("blocked", [])  # it is retried
    clock.move_to("2027-01-15T12:02:30Z")
    assert one.claim() == [asked]
    one.end(asked)
    assert one.claim() == [waiting]
    assert told(one.queue) == ["fired 12:00", "fired 12:01", "overlap 12:02..12:02 1"]
    assert one.queue.check() == []


@pytest.mark.parametrize("terms, expected", [
    ({}, ["down 12:01..14:59 179", "fired 15:00"]),
    ({"catch_up": "none"}, ["down 12:01..14:59 179", "fired 15:00"]),
    ({"window": 3600}, ["window 12:01..14:00 120", "down 14:01..14:59 59", "fired 15:00"]),
    ({"catch_up": "all", "overlap": "allow", "window": 120},
     ["window 12:01..14:58 178", "fired 14:59", "fired 15:00"]),
])  # fmt: skip
def test_missed_moments_are_made_up_for(
    one: OneWorker, clock: FrozenDateTimeFactory, terms: dict[str, object], expected: list[str]
) -> None:
    one.queue.schedules.add("s", ["true"], cron="* * * * *", tz="UTC", **terms)  # pyright: ignore[reportArgumentType]
    clock.move_to("2027-01-15T15:00:01Z")
    fire(one.queue)
    assert told(one.queue) == expected
    assert faults(one.queue, "s", now()) == []


@pytest.mark.parametrize("terms, expected", [
    ({"catch_up": "none"}, ["down 13:00..15:00 3"]),
    ({"window": 1200}, ["window 13:00..15:00 3"]),
    ({"window": 1800}, ["window 13:00..14:00 2", "fired 15:00"]),
])  # fmt: skip
def test_what_is_too_late_is_not(
    one: OneWorker, clock: FrozenDateTimeFactory, terms: dict[str, object], expected: list[str]
) -> None:
    one.queue.schedules.add("s", ["true"], cron="@hourly", tz="UTC", **terms)  # pyright: ignore[reportArgumentType]
    clock.move_to("2027-01-15T15:29:00Z")
    fire(one.queue)
    assert told(one.queue) == expected


def test_a_year_of_minutes_comes_in_pages(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add(
        "s", ["true"], cron="* * * * *", tz="UTC", catch_up="all", overlap="allow", window=400 * 86400
    )  # fmt: skip
    clock.move_to("2028-01-15T12:00:00Z")
    before = one.queue.status().total
    assert one.queue.schedules.fire("s")
    assert one.queue.status().total - before == 100, "a page of jobs in one transaction"


def test_a_gap_of_a_century_is_told(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add("s", ["true"], cron="* * * * *", tz="Europe/Berlin")
    clock.move_to("2047-01-15T12:00:00Z")
    fire(one.queue)
    assert ids(one.queue) == ["s@2047-01-15T12:00:00Z"]
    assert len(told(one.queue)) >= 20, "no more than a year is counted in one transaction"
    assert faults(one.queue, "s", now()) == []


def test_a_clock_that_was_in_2099_heals(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add("s", ["true"], cron="@hourly", tz="UTC", overlap="allow")
    clock.move_to("2099-01-01T00:00:30Z")
    fire(one.queue)
    clock.move_to("2027-01-15T12:30:00Z")
    fire(one.queue)
    for hour in (13, 14):
        clock.move_to(f"2027-01-15T{hour}:00:00Z")
        fire(one.queue)
    assert ids(one.queue) == ["s@2099-01-01T00:00:00Z", "s@2027-01-15T13:00:00Z", "s@2027-01-15T14:00:00Z"]
    assert faults(one.queue, "s", now()) == []


def test_a_clock_set_back_fires_nothing_twice(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add("s", ["true"], cron="@hourly", tz="UTC", overlap="allow")
    hours = [13, 14, 15, 13, 14, 15, 16]
    for hour in hours:
        clock.move_to(f"2027-01-15T{hour}:00:10Z")
        fire(one.queue)
    assert ids(one.queue) == [f"s@2027-01-15T{hour}:00:00Z" for hour in (13, 14, 15, 16)]
    assert "exists 14:00..14:00 1" in told(one.queue)
    assert faults(one.queue, "s", now()) == []


def test_moments_done_before_are_told_together(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add("s", ["true"], cron="@hourly", tz="UTC", overlap="allow", catch_up="all")
    for moment in ("15:00", "12:30", "16:00"):
        clock.move_to(f"2027-01-15T{moment}:00Z")
        fire(one.queue)
    assert told(one.queue) == ["fired 13:00", "fired 14:00", "fired 15:00", "exists 13:00..15:00 3", "fired 16:00"]
    assert faults(one.queue, "s", now()) == []


def test_a_step_back_within_a_moment_changes_nothing(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add("s", ["true"], cron="@hourly", tz="UTC")
    clock.move_to("2027-01-15T13:00:00.001Z")
    fire(one.queue)
    clock.move_to("2027-01-15T12:59:59.999Z")
    fire(one.queue)
    clock.move_to("2027-01-15T13:00:01Z")
    fire(one.queue)
    assert told(one.queue) == ["fired 13:00"]


def test_a_removed_schedule_added_again_goes_on(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add("s", ["true"], cron="@hourly", tz="UTC", overlap="allow")
    clock.move_to("2027-01-15T13:00:00Z")
    fire(one.queue)
    one.queue.schedules.remove("s")
    with pytest.raises(NotFound):
        one.queue.schedules.get("s")
    fire(one.queue)
    clock.move_to("2027-01-15T12:30:00Z")  # and the clock was set back
    one.queue.schedules.add("s", ["true"], cron="*/30 * * * *", tz="UTC", overlap="allow")
    for moment in ("13:00", "13:30"):
        clock.move_to(f"2027-01-15T{moment}:00Z")
        fire(one.queue)
    assert told(one.queue) == ["fired 13:00", "exists 13:00..13:00 1", "fired 13:30"]
    assert faults(one.queue, "s", now()) == []


def test_pauses_are_told_at_their_end(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add("s", ["true"], cron="@hourly", tz="UTC")
    assert one.queue.schedules.pause("s", reason="moving")
    assert not one.queue.schedules.pause("s")
    clock.move_to("2027-01-15T15:00:00Z")
    fire(one.queue)
    assert one.queue.schedules.resume("s")
    assert not one.queue.schedules.resume("s")
    fire(one.queue)
    assert told(one.queue) == ["paused 13:00..15:00 3"]
    assert faults(one.queue, "s", now()) == []


def test_removal_tells_what_had_come(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add("s", ["true"], cron="@hourly", tz="UTC")
    clock.move_to("2027-01-15T14:00:00Z")
    one.queue.schedules.remove("s")
    assert told(one.queue) == ["down 13:00..14:00 2"]


def test_an_edit_settles_what_had_come(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add("s", ["true"], cron="@hourly", tz="UTC")
    clock.move_to("2027-01-15T14:10:00Z")
    assert one.queue.schedules.edit("s", terms={"cron": "30 * * * *"}, priority=3)
    assert not one.queue.schedules.edit("s", terms={"cron": "30 * * * *"}, priority=3)
    clock.move_to("2027-01-15T14:30:00Z")
    one.run()
    fire(one.queue)
    assert told(one.queue) == ["down 13:00..13:00 1", "fired 14:00", "fired 14:30"]
    assert [one.queue.job(id).priority for id in ids(one.queue)] == [0, 3]
    assert faults(one.queue, "s", now()) == []


def test_other_edits_leave_the_moments_alone(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add("s", "echo a", cron="@hourly", tz="UTC", overlap="allow")
    clock.move_to("2027-01-15T13:00:01Z")
    one.queue.schedules.edit("s", command="echo b", terms={"jitter": 60})
    fire(one.queue)
    job = one.queue.job("s@2027-01-15T13:00:00Z")
    assert job.command == "echo b"
    assert 0 <= job.run_at - now() <= 60 * SECOND


def test_the_death_of_a_job_pauses(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add("s", Spec(command="false", max_retries=0), cron="@hourly", tz="UTC", pause_on_failure=True)
    clock.move_to("2027-01-15T13:00:00Z")
    fire(one.queue)
    one.end(*one.claim(), outcome=FAILED)
    found = one.queue.schedules.get("s")
    assert (found.condition, found.state.paused_job) == ("paused", "s@2027-01-15T13:00:00Z")
    clock.move_to("2027-01-15T14:00:00Z")
    fire(one.queue)
    assert told(one.queue) == ["fired 13:00"]


def test_settings_are_those_of_the_firing(
    one: OneWorker, clock: FrozenDateTimeFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUEUECTL_MAX_RETRIES", "7")
    spec = Spec(command="true", timeout=5.0)
    one.queue.schedules.add("s", spec, cron="@hourly", tz="UTC", overlap="allow")
    clock.move_to("2027-01-15T13:00:00Z")
    fire(one.queue)
    one.queue.set_config("timeout", "9")
    one.queue.set_config("grace", "9")
    clock.move_to("2027-01-15T14:00:00Z")
    fire(one.queue)
    first, second = (one.queue.job(id) for id in ids(one.queue))
    assert (first.max_retries, first.timeout, first.policy.grace) == (3, 5.0, 5.0), "not of who adds, nor who fires"
    assert (second.max_retries, second.timeout, second.policy.grace) == (3, 5.0, 9.0)


def test_secrets_are_kept_apart_and_forgotten(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    spec = Spec(command="true", secrets={"TOKEN": "hush"})
    one.queue.schedules.add("s", spec, cron="@hourly", tz="UTC")
    clock.move_to("2027-01-15T13:00:00Z")
    fire(one.queue)
    [id] = one.claim()
    assert one.held[id].secrets == {"TOKEN": "hush"}
    one.queue.schedules.remove("s")
    one.queue.schedules.add("s", "true", cron="@hourly", tz="UTC")
    assert b"hush" not in b"".join(record.json() for record in one.queue.events())
    with one.queue.engine.transaction() as tx:
        assert tx.secrets("schedule/s") == {}


def test_run_and_backfill_are_beside_the_moments(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    one.queue.schedules.add("s", ["true"], cron="@hourly", tz="UTC")
    one.queue.schedules.pause("s")
    assert one.queue.schedules.run("s") == "1"
    since = micros("2027-01-15T10:00:00Z")
    made = one.queue.schedules.backfill("s", since)
    assert made == [f"s@2027-01-15T{hour}:00:00Z" for hour in (10, 11, 12)]
    assert one.queue.schedules.backfill("s", since) == []
    one.queue.schedules.resume("s")
    one.run()
    clock.move_to("2027-01-15T13:00:01Z")
    one.queue.schedules.run("s")
    one.run()
    fire(one.queue)
    assert told(one.queue)[-1] == "fired 13:00"
    assert faults(one.queue, "s", now()) == []


def test_many_moments_are_backfilled_in_pages(one: OneWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queuectl.scheduling.BACKFILLED", 10)
    one.queue.schedules.add("s", ["true"], cron="* * * * *", tz="UTC")
    counts: list[int] = []
    made = one.queue.schedules.backfill("s", now() - 3600 * SECOND, progress=counts.append)
    assert len(made) == len({*made}) == 61
    assert counts == [10, 20, 30, 40, 50, 60, 61]
    with pytest.raises(Refused, match="at most 100,000 at once"):
        one.queue.schedules.backfill("s", now() - 365 * 86400 * SECOND)
    with pytest.raises(Invalid, match="lie behind"):
        one.queue.schedules.backfill("s", now(), now() + SECOND)


def test_the_last_moment_is_the_last(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    until = micros("2027-01-15T14:00:00Z")
    one.queue.schedules.add("s", ["true"], cron="@hourly", tz="UTC", until=until, overlap="allow")
    assert one.queue.schedules.upcoming("s", 9) == [until - 3600 * SECOND, until]
    clock.move_to("2027-01-15T16:00:00Z")
    found = one.queue.schedules.get("s")
    assert (found.condition, found.next, found.due) == ("active", None, True)
    fire(one.queue)
    assert told(one.queue) == ["down 13:00..13:00 1", "fired 14:00"]
    assert one.queue.schedules.get("s").condition == "ended"
    assert one.queue.schedules.backfill("s", until - 3600 * SECOND) == ["s@2027-01-15T13:00:00Z"]
    assert one.queue.schedules.backfill("s", until + SECOND) == []


@pytest.mark.parametrize("terms, why", [
    ({}, "give one of them"), ({"cron": "@daily", "every": 5}, "not both"), ({"every": 0.5}, "whole seconds"),
    ({"every": 5, "tz": "UTC"}, "tz: "), ({"cron": "@daily", "anchor": 0}, "anchor: "),
    ({"cron": "@daily", "tz": "Mars"}, "Mars"),
    ({"cron": "@daily", "catch_up": "some"}, "catch_up: "), ({"cron": "@daily", "overlap": "x"}, "overlap: "),
    ({"cron": "@daily", "catch_up": "all"}, "overlap allow"), ({"cron": "@daily", "jitter": 0.1}, "jitter: "),
    ({"cron": "@daily", "window": -1}, "window: "), ({"cron": "@daily", "until": 0}, "until: "),
    ({"cron": "@daily", "until": 1 << 62}, "until: "), ({"cron": "61 * * * *"}, "character 1"), ({"what": 1}, "what: "),
])  # fmt: skip
def test_terms_that_can_not_be_are_refused(one: OneWorker, terms: dict[str, object], why: str) -> None:
    head = one.queue.status().seq
    with pytest.raises(Invalid, match=why):
        one.queue.schedules.add("s", ["true"], **terms)  # pyright: ignore[reportArgumentType]
    assert one.queue.status().seq == head


@pytest.mark.parametrize("fields", [
    {"id": "a"}, {"delay": 5.0}, {"at": 0}, {"unique": "k"}, {"batch": "b"}, {"after": ("x",)}, {"name": "n"},
    {"if_absent": True, "id": "a"},
])  # fmt: skip
def test_options_of_a_single_job_are_refused(one: OneWorker, fields: dict[str, object]) -> None:
    with pytest.raises(Invalid, match="a job of a schedule can't have that"):
        one.queue.schedules.add("s", Spec(command="true", **fields), cron="@daily")  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["", "a b", "a,b", "a@b", "-a", "a/b", "batch:x", "x" * 171])
def test_names_that_can_not_be_are_refused(one: OneWorker, name: str) -> None:
    with pytest.raises(Invalid):
        one.queue.schedules.add(name, ["true"], cron="@daily")


def test_a_name_is_taken_once(one: OneWorker) -> None:
    one.queue.schedules.add("s", ["true"], cron="@daily")
    with pytest.raises(Refused, match="there is a schedule s already"):
        one.queue.schedules.add("s", ["true"], cron="@daily")


def test_past_schedules_can_be_asked_for(one: OneWorker, clock: FrozenDateTimeFactory) -> None:
    from queuectl.units import Then

    one.queue.schedules.add("s", ["true"], cron="@daily", tz="UTC")
    seq = one.queue.status().seq
    one.queue.schedules.remove("s")
    assert [each.name for each in one.queue.schedules.summaries(then=Then(seq=seq))] == ["s"]
    assert one.queue.schedules.summaries() == []


def test_what_is_not_there_is_named(one: OneWorker) -> None:
    asked: list[Callable[[], object]] = [
        lambda: one.queue.schedules.get("x"), lambda: one.queue.schedules.pause("x"),
        lambda: one.queue.schedules.run("x"), lambda: one.queue.schedules.upcoming("x", 1),
        lambda: one.queue.schedules.remove("x"), lambda: one.queue.schedules.backfill("x", 0),
        lambda: one.queue.schedules.edit("x", terms={"jitter": 5}),
    ]  # fmt: skip
    for each in asked:
        with pytest.raises(QueueError, match="no schedule 'x'"):
            each()

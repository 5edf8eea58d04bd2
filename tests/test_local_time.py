"""Moments as people write them: times of day, hours that the clock skips or shows twice, and Unix times."""

import time
import warnings
from collections.abc import Iterator

import pytest

from queuectl import clock, spec, units
from queuectl.errors import Invalid, TimeWarning
from queuectl.option_kinds import when

NOW = clock.micros("2026-11-24T09:00:00Z")


@pytest.fixture(autouse=True)
def _zone_again(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    monkeypatch.undo()
    time.tzset()


def live_in(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()


@pytest.mark.parametrize(
    "zone,text,moment",
    [
        ("Europe/Berlin", "2026-03-29T02:30", "2026-03-29T01:00:00Z"),
        ("America/New_York", "2026-03-08 02:00:01", "2026-03-08T07:00:00Z"),
        ("Australia/Lord_Howe", "2026-10-04T02:15", "2026-10-03T15:30:00Z"),
        ("Pacific/Apia", "2011-12-30T12:00", "2011-12-30T10:00:00Z"),
    ],
)
def test_a_skipped_time_becomes_the_first_after_it(monkeypatch: pytest.MonkeyPatch, zone: str, text: str, moment: str):
    live_in(zone, monkeypatch)
    with pytest.warns(
        TimeWarning, match=rf"^'{text}' is a time that the clock skips: 20.* is meant, the first after it"
    ):
        assert units.moment(text, NOW) == clock.micros(moment)


@pytest.mark.parametrize(
    "zone,text,moment",
    [
        ("Europe/Berlin", "2026-10-25T02:30", "2026-10-25T00:30:00Z"),
        ("Australia/Lord_Howe", "2026-04-05T01:45", "2026-04-04T14:45:00Z"),
        ("Europe/Berlin", "2026-03-29T03:00", "2026-03-29T01:00:00Z"),
        ("Europe/Berlin", "2026-03-29T01:59:59", "2026-03-29T00:59:59Z"),
        ("Europe/Berlin", "2026-03-29T02:30+01:00", "2026-03-29T01:30:00Z"),
    ],
)
def test_a_repeated_time_is_its_first_occurrence(monkeypatch: pytest.MonkeyPatch, zone: str, text: str, moment: str):
    live_in(zone, monkeypatch)
    assert units.moment(text, NOW) == clock.micros(moment)


@pytest.mark.parametrize(
    "now,text,moment",
    [
        ("2026-11-24T09:00:00Z", "10:01", "2026-11-24T09:01:00Z"),
        ("2026-11-24T09:00:00Z", "10:00", "2026-11-25T09:00:00Z"),
        ("2026-11-24T09:00:00Z", "02:30", "2026-11-25T01:30:00Z"),
        ("2026-11-24T23:30:00Z", "today 14:00", "2026-11-25T13:00:00Z"),
        ("2026-11-24T09:00:00Z", "Tomorrow 2:30:05", "2026-11-25T01:30:05Z"),
        ("2026-03-29T01:00:00Z", "02:30", "2026-03-30T00:30:00Z"),
    ],
)
def test_a_time_of_day_is_the_next_one(monkeypatch: pytest.MonkeyPatch, now: str, text: str, moment: str):
    live_in("Europe/Berlin", monkeypatch)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert units.moment(text, clock.micros(now)) == clock.micros(moment)
        assert units.moment(text, clock.micros(now)) > clock.micros(now) or text.startswith("today")


@pytest.mark.parametrize(
    "now,text,moment",
    [
        ("2026-10-25T00:45:00Z", "02:30", "2026-10-25T01:30:00Z"),  # 02:45, to be put back at 03:00
        ("2026-10-25T01:15:00Z", "02:30", "2026-10-25T01:30:00Z"),  # 02:15, the second time
        ("2026-10-25T01:15:00Z", "today 02:30", "2026-10-25T01:30:00Z"),
        ("2026-10-25T01:15:00Z", "2026-10-25T02:30", "2026-10-25T01:30:00Z"),
        ("2026-10-25T00:15:00Z", "02:30", "2026-10-25T00:30:00Z"),
        ("2026-10-25T01:30:00Z", "02:30", "2026-10-26T01:30:00Z"),
        ("2026-10-25T01:30:00Z", "2026-10-25T02:30", "2026-10-25T00:30:00Z"),
    ],
)
def test_the_repeated_hour_gives_the_next_occurrence(monkeypatch: pytest.MonkeyPatch, now: str, text: str, moment: str):
    live_in("Europe/Berlin", monkeypatch)
    assert units.moment(text, clock.micros(now)) == clock.micros(moment)


def test_a_repeated_past_time_is_its_latest_occurrence(monkeypatch: pytest.MonkeyPatch):
    live_in("Europe/Berlin", monkeypatch)
    for now, moment in (("01:45", "01:30"), ("01:15", "00:30"), ("00:45", "00:30")):
        assert units.past("02:30", clock.micros(f"2026-10-25T{now}:00Z")) == clock.micros(f"2026-10-25T{moment}:00Z")


def test_a_past_time_of_day_is_the_latest(monkeypatch: pytest.MonkeyPatch):
    live_in("UTC", monkeypatch)
    for text, moment in (("09:00", "24T09:00"), ("09:01", "23T09:01"), ("yesterday 14:00", "23T14:00")):
        assert units.past(text, NOW) == clock.micros(f"2026-11-{moment}:00Z")


@pytest.mark.parametrize("text", ["24:00", "02:60", "yesterday 10:00", "monday 10:00", "2:3"])
def test_an_invalid_time_of_day_is_refused(text: str):
    with pytest.raises(Invalid, match=r"is not a moment; write .* 02:30, tomorrow 02:30 or, from now, 2h30m"):
        units.moment(text, NOW)


@pytest.mark.parametrize("text", ["1796000000", "1796000000.25", "1796000000000"])
def test_a_unix_time_is_refused_with_a_remedy(text: str):
    for read in (units.duration, units.moment, units.past, when):
        with pytest.raises(
            Invalid, match=rf"^'{text}' is not a duration but a Unix time: .* write 2026-11-30T00:53:20Z"
        ):
            read(text)
    with pytest.raises(Invalid, match=r"write 2026-11-30T00:53:20Z"):
        spec.command_or_spec('{"command": "true", "at": 1796000000}')


@pytest.mark.parametrize("field", ["at", "delay", "timeout", "backoff_max"])
@pytest.mark.parametrize("text", ["1796000000", "1796000000.25"])
def test_a_unix_time_in_a_spec_is_refused(field: str, text: str):
    with pytest.raises(Invalid, match=rf"^{field}: '{text}' is not a duration but a Unix time: .*00:53:20Z"):
        spec.command_or_spec(f'{{"command": "true", "{field}": {text}}}')
    assert spec.command_or_spec('{"command": "true", "timeout": 1e8}').timeout == 1e8
    assert spec.command_or_spec('{"command": "true", "delay": 1e-7}').delay == 1e-7


def test_at_accepts_a_date_without_dashes(monkeypatch: pytest.MonkeyPatch):
    live_in("UTC", monkeypatch)
    assert when("20261201") == {"at": clock.micros("2026-12-01T00:00:00Z")}
    assert when("20269901") == {"delay": 20269901.0}


@pytest.mark.parametrize("text", ["9500-01-01", "1969-12-30T00:00Z"])
def test_a_moment_out_of_range_is_refused(text: str):
    with pytest.raises(Invalid, match=rf"^'{text}' is not a moment from 1970 to the year 9000$"):
        when(text)


def test_a_spec_may_have_a_time_of_day(monkeypatch: pytest.MonkeyPatch):
    live_in("UTC", monkeypatch)
    at = spec.command_or_spec('{"command": "true", "at": "tomorrow 02:30"}').at
    assert at is not None
    assert at % (86_400 * clock.SECOND) == 9_000 * clock.SECOND

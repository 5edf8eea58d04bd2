"""When something recurs, across the days on which clocks are changed; bad expressions are named with the place."""

from datetime import UTC, datetime, timedelta
from itertools import islice
from zoneinfo import ZoneInfo

import pytest
from freezegun import freeze_time
from hypothesis import example, given
from hypothesis import strategies as st

from queuectl.clock import SECOND, micros
from queuectl.errors import Invalid
from queuectl.recurrence import Interval, Recurrence, check_expression, cron, find_zone

CHANGES = {
    "Europe/Berlin": ("2027-03-28T01:00Z", "2027-10-31T01:00Z"),
    "America/New_York": ("2027-03-14T07:00Z", "2027-11-07T06:00Z"),
    "Australia/Lord_Howe": ("2027-10-02T15:30Z", "2027-04-03T15:00Z"),
}
"""When the clock is put forward and back in 2027; on Lord Howe by half an hour."""
OVER_MIDNIGHT = {
    "America/Nuuk": ("2027-03-28T01:00Z", "2027-10-31T01:00Z"),
    "Pacific/Apia": ("2011-12-30T10:00Z",),
}
"""Changes that begin on one day and end on another: from 23:00 to 0:00 and back, and over a whole day."""


def moments(recurrence: Recurrence, since: str, upto: str) -> list[str]:
    """The moments later than one and no later than another, by `after`."""
    found: list[str] = []
    moment: int | None = micros(since)
    while (moment := recurrence.after(moment)) is not None and moment <= micros(upto):
        found.append(text(moment))
    return found


def text(moment: int) -> str:
    return datetime.fromtimestamp(moment // SECOND, UTC).isoformat(timespec="minutes").removesuffix("+00:00") + "Z"


@pytest.mark.parametrize("zone, expression, around", [
    ("Europe/Berlin", "30 2 * * *", ["2027-03-27T01:30Z", "2027-03-28T01:00Z", "2027-03-29T00:30Z"]),
    ("America/New_York", "30 2 * * *", ["2027-03-13T07:30Z", "2027-03-14T07:00Z", "2027-03-15T06:30Z"]),
    ("Australia/Lord_Howe", "15 2 * * *", ["2027-10-01T15:45Z", "2027-10-02T15:30Z", "2027-10-03T15:15Z"]),
])  # fmt: skip
def test_a_skipped_time_is_the_first_after(zone: str, expression: str, around: list[str]) -> None:
    with freeze_time("2027-01-01"):
        assert moments(cron(expression, zone), around[0][:10] + "T00:00Z", around[-1]) == around


@pytest.mark.parametrize("zone, expression, around", [
    ("Europe/Berlin", "30 2 * * *", ["2027-10-30T00:30Z", "2027-10-31T00:30Z", "2027-11-01T01:30Z"]),
    ("America/New_York", "30 1 * * *", ["2027-11-06T05:30Z", "2027-11-07T05:30Z", "2027-11-08T06:30Z"]),
    ("Australia/Lord_Howe", "45 1 * * *", ["2027-04-02T14:45Z", "2027-04-03T14:45Z", "2027-04-04T15:15Z"]),
])  # fmt: skip
def test_a_time_shown_twice_runs_first(zone: str, expression: str, around: list[str]) -> None:
    assert moments(cron(expression, zone), around[0][:10] + "T00:00Z", around[-1]) == around


@pytest.mark.parametrize("zone", CHANGES)
def test_wildcards_go_by_real_hours(zone: str) -> None:
    for change in CHANGES[zone]:
        middle = datetime.fromisoformat(change)
        since, upto = ((middle + timedelta(hours=hours)).isoformat() for hours in (-6, 6))
        assert len(moments(cron("*/30 * * * *", zone), since, upto)) == 24


def test_several_times_in_a_gap_run_once() -> None:
    found = moments(cron("0,15,30 2,3 * * *", "Europe/Berlin"), "2027-03-28T00:00Z", "2027-03-28T02:00Z")
    assert found == ["2027-03-28T01:00Z", "2027-03-28T01:15Z", "2027-03-28T01:30Z"]


FIELDS = (
    ("*", "*/7", "0", "15,45", "30-40/5"), ("*", "*/3", "1", "1,2", "0-4", "0,23"), ("*", "*/2", "L", "28-31", "2,3,7")
)  # fmt: skip
DAYS = ("*", "*", "SUN", "6,7", "SUN#1")


def expected(expression: str, zone: str, since: int, upto: int) -> list[int]:
    """The same moments, by looking at what the clock shows at each minute."""
    from cronsim import CronSim

    fields = expression.split()
    sim = CronSim(expression, datetime(2000, 1, 1, tzinfo=UTC))
    is_fixed = not fields[0].startswith("*") and not fields[1].startswith("*")
    first, last = since // SECOND - 2 * 86400, upto // SECOND + 2 * 86400
    shown = [
        (second, datetime.fromtimestamp(second, UTC).astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0))
        for second in range(first // 60 * 60, last, 60)
    ]

    def matches(local: datetime) -> bool:
        return (
            local.minute in sim.minutes and local.hour in sim.hours
            and local.month in sim.months and sim.match_day(local.date())
        )  # fmt: skip

    if not is_fixed:
        found = {second for second, local in shown if matches(local)}
    else:
        found, latest = set[int](), shown[0][1] - timedelta(minutes=1)
        for second, local in shown:
            while latest < local:  # each minute that it has come to, and those that it has skipped
                latest += timedelta(minutes=1)
                if matches(latest):
                    found.add(second)
    return [second * SECOND for second in sorted(found) if since < second * SECOND <= upto]


@example("0 0,23 * * *", ("America/Nuuk", "2027-03-28T01:00Z"), -2000, 2880)
@example("0 0 * * *", ("Pacific/Apia", "2011-12-30T10:00Z"), -2000, 2880)
@given(
    expression=st.tuples(*map(st.sampled_from, FIELDS), st.just("*"), st.sampled_from(DAYS)).map(" ".join),
    change=st.sampled_from(
        [(zone, change) for zone, changes in {**CHANGES, **OVER_MIDNIGHT}.items() for change in changes]
    ),
    start=st.integers(-48 * 60, 60),
    length=st.integers(0, 48 * 60),
)
def test_every_question_agrees_with_a_clock(expression: str, change: tuple[str, str], start: int, length: int) -> None:
    zone, moment = change
    since = micros(moment) + start * 60 * SECOND
    upto = since + length * 60 * SECOND
    wanted, found = expected(expression, zone, since, upto), cron(expression, zone)
    each: list[int] = []
    after: int | None = since
    while after is not None and (after := found.after(after)) is not None and after <= upto:
        each.append(after)
    assert each == wanted
    assert found.count(since, upto) == len(wanted)
    assert found.latest(since, upto) == (wanted[-1] if wanted else None)


def test_intervals_are_counted_from_their_anchor() -> None:
    anchor = micros("2027-01-01T00:00:10Z")
    every = Interval(900, anchor)
    assert [every.after(anchor - 5), every.after(anchor), every.after(anchor + 1)] == [
        anchor, anchor + 900 * SECOND, anchor + 900 * SECOND
    ]  # fmt: skip
    assert every.count(anchor - 1, anchor + 1800 * SECOND) == 3
    assert every.latest(anchor, anchor + 1799 * SECOND) == anchor + 900 * SECOND
    assert every.latest(0, anchor - 1) is None
    assert every.words == "Every 15m"


def test_a_year_of_minutes_is_counted_fast() -> None:
    minutes, since = cron("* * * * *", "Europe/Berlin"), micros("2027-01-01T00:00Z")
    assert minutes.count(since, since + 365 * 86400 * SECOND) == 365 * 1440
    far = micros("2099-01-01T00:00Z")
    assert minutes.latest(since, far) == far
    leap = cron("0 0 29 2 *", "UTC")
    assert [text(each) for each in islice(iter_from(leap, "2096-01-01T00:00Z"), 2)] == [
        "2096-02-29T00:00Z", "2104-02-29T00:00Z"
    ]  # fmt: skip


def iter_from(recurrence: Recurrence, since: str):
    moment: int | None = micros(since)
    while (moment := recurrence.after(moment)) is not None:
        yield moment


def test_nothing_recurs_after_the_calendar() -> None:
    late = micros("8999-01-01T00:00Z")
    assert cron("* * * * *", "UTC").after(late) is None
    assert Interval(10**9, 0).after(micros("9000-01-01T00:00Z")) is None


@pytest.mark.parametrize("expression, place, what", [
    ("61 * * * *", 1, "'61' is no minute"),
    ("0 25 * * *", 3, "'25' is no hour"),
    ("0  1-x * * *", 4, "'1-x' is no hour"),
    ("5,,6 * * * *", 3, "a minute is missing"),
    ("5, * * * *", 3, "a minute is missing"),
    ("0 0 * FOO *", 7, "'FOO' is no month"),
    ("0 0 * * MON-FRI,FOO", 17, "'FOO' is no day of the week"),
    ("*/0 * * * *", 1, "'*/0' is no minute"),
    ("0 0 ² * *", 5, "'²' is no day of the month"),
    ("0 0 30 2 *", 5, "that day never comes in month 2"),
    ("0 0 31 4,6 *", 5, "that day never comes in month 4,6"),
    ("0 0 */20 * 1#5", 5, "that day never comes in any month"),
    ("@dayly", 1, "'@dayly' is none of"),
    ("@reboot", 1, "nothing is scheduled for the start of a machine"),
    ("@every 5m", 1, "write --every 5m"),
    ("1/2147483648 * * * *", 1, "'1/2147483648' is no minute"),
])  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(expression: str, place: int, what: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_expression(expression)
    assert f"character {place}: " in str(refused.value)
    assert what in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("expression, why", [
    ("* * * * * *", "6 fields, not 5"),
    ("* * * *", "4 fields, not 5"),
    ("", "0 fields, not 5"),
    ("0", "quote the five as one word"),
    ("1" * 201, "201 characters; at most 200"),
])  # fmt: skip
def test_other_than_five_fields_are_refused(expression: str, why: str) -> None:
    with pytest.raises(Invalid, match=why.replace("*", r"\*")):
        check_expression(expression)


@given(st.text("0123456789*/,-#L WMONFRIsun@²\n", max_size=30))
def test_no_text_is_more_than_refused(text: str) -> None:
    try:
        expression = check_expression(text)
    except Invalid:
        return
    assert cron(expression, "UTC").after(0) is not None


@pytest.mark.parametrize("name, hint", [
    ("Europe/Berln", "did you mean 'Europe/Berlin'"), ("berlin", "did you mean 'Europe/Berlin'"),
    ("Mars", "there is none"), ("../etc/passwd", "there is none"), ("Europe", "there is none"), ("", "there is none"),
])  # fmt: skip
def test_unknown_zones_are_named(name: str, hint: str) -> None:
    with pytest.raises(Invalid, match=hint):
        find_zone(name)


def test_a_system_without_zones_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    import zoneinfo

    monkeypatch.setattr(zoneinfo, "TZPATH", ())
    monkeypatch.setattr(zoneinfo, "available_timezones", set[str])
    with pytest.raises(Invalid, match="install the package tzdata"):
        find_zone("Atlantis/Berlin")


@pytest.mark.parametrize("expression, words", [
    ("30 2 * * *", "At 02:30 every day"), ("@hourly", "At the start of every hour"),
    ("*/15 * * * *", "Every 15th minute of every hour"),
])  # fmt: skip
def test_an_expression_in_words(expression: str, words: str) -> None:
    assert cron(expression, "UTC").words == words

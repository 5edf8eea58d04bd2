"""Durations, moments, sizes and numbers, as people write them."""

from datetime import UTC, datetime

import pytest

from queuectl import clock, units
from queuectl.errors import Invalid


@pytest.mark.parametrize(
    "text,seconds",
    [
        ("90", 90), ("1.5", 1.5), ("90s", 90), ("5m", 300), ("2h30m", 9000), ("1d", 86400), ("250ms", 0.25),
        ("1w", 604800), (" 5M ", 300), ("0", 0), ("1.5h", 5400),
    ],
)  # fmt: skip
def test_a_duration_is_read(text: str, seconds: float):
    assert units.duration(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "-5", "5 m", "m", "1e3", "nan", "inf", "1h30", "٣s", "5y", "1_000", "99999999999"]
)
def test_an_invalid_duration_is_refused_and_quoted(text: str):
    with pytest.raises(Invalid, match="is not a duration") as caught:
        units.duration(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    "text,iso",
    [
        ("2026-11-24T09:00:00Z", "2026-11-24T09:00:00+00:00"),
        ("2026-11-24T09:00:00.123456+01:00", "2026-11-24T08:00:00.123456+00:00"),
        ("20261124T090000Z", "2026-11-24T09:00:00+00:00"),
    ],
)
def test_a_moment_with_a_zone_is_exact(text: str, iso: str):
    assert units.moment(text) == clock.micros(iso)


def test_a_moment_without_a_zone_is_local_time(monkeypatch: pytest.MonkeyPatch):
    import time

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert units.moment("2026-11-24T09:00") == clock.micros("2026-11-24T00:00:00Z")
        assert units.moment("2026-11-24") == clock.micros("2026-11-23T15:00:00Z")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_duration_is_a_moment_ahead_or_ago():
    now = clock.micros("2026-11-24T09:00:00Z")
    assert units.moment("2h30m", now) == clock.micros("2026-11-24T11:30:00Z")
    assert units.past("-10m", now) == units.past("10m", now) == clock.micros("2026-11-24T08:50:00Z")


@pytest.mark.parametrize("text", ["", "tomorrow", "2026-13-01", "2026-11-24T25:00", "-5m", "2026W01", "seq:5"])
def test_an_invalid_moment_is_refused(text: str):
    with pytest.raises(Invalid, match="is not a moment"):
        units.moment(text)


def test_seq_names_an_event():
    assert units.seq("seq:17") == 17
    assert units.seq("2026-11-24") is None
    with pytest.raises(Invalid, match="'seq:x'"):
        units.seq("seq:x")


@pytest.mark.parametrize("text", ["", "1.5", "1_0", "٣", "--1", "11", "-1", "9" * 5000, "0x1"])
def test_a_whole_number_is_strict_and_bounded(text: str):
    assert units.integer("7", 0, 10) == 7
    with pytest.raises(Invalid, match="whole number from 0 to 10"):
        units.integer(text, 0, 10)


@pytest.mark.parametrize("text", ["", "nan", "inf", "1e400", "1e9999", "-0.1", "1.1", "1_0", "0x1p3"])
def test_a_number_is_finite_and_bounded(text: str):
    assert units.number("0.5", 0, 1) == 0.5
    with pytest.raises(Invalid, match="number from 0 to 1"):
        units.number(text, 0, 1)


@pytest.mark.parametrize(
    "text,count", [("4096", 4096), ("64K", 65536), ("64KiB", 65536), ("1.5", None), ("2 GiB", 2 << 30), ("x", None)]
)
def test_a_size(text: str, count: int | None):
    if count is None:
        with pytest.raises(Invalid, match="is not a size"):
            units.size(text)
    else:
        assert units.size(text) == count


@pytest.mark.parametrize(
    "seconds,text",
    [
        (0, "0s"), (0.00128, "1.3ms"), (0.25, "250ms"), (0.9999, "1s"), (4.2, "4.2s"), (9.99, "10s"), (42, "42s"),
        (60, "1m"), (90061, "1d1h"), (86400, "1d"), (5400, "1h30m"), (-90, "-1m30s"),
    ],
)  # fmt: skip
def test_a_duration_for_people(seconds: float, text: str):
    assert units.span(seconds) == text


@pytest.mark.parametrize(
    "count,text", [(0, "0 B"), (812, "812 B"), (1536, "1.5 KiB"), (64 << 20, "64 MiB"), (12 << 50, "12288 TiB")]
)
def test_a_size_for_people(count: int, text: str):
    assert units.size_text(count) == text


def test_only_a_near_word_is_suggested():
    assert units.nearest("max-retres", ["max-retries", "timeout"]) == " (did you mean 'max-retries'?)"
    assert units.nearest("max-retries", ["max_retries"]) == " (did you mean 'max_retries'?)"
    assert units.nearest("statsu", ["stats", "status"]) == " (did you mean 'status'?)"
    assert units.nearest("retires", ["retries"]) == " (did you mean 'retries'?)"
    assert units.nearest("--max-ret", ["--max-retries", "--memory"]) == " (did you mean '--max-retries'?)"
    for word, known in (
        ("zzz", "timeout"),
        ("pause", "status"),
        ("edit", "audit"),
        ("--daemon", "--drain"),
        ("", "run"),
    ):
        assert units.nearest(word, [known]) == ""
    assert units.nearest("x", []) == ""


def test_the_end_of_the_calendar_is_a_moment():
    last = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert units.moment("9999-12-31T23:59:59Z") == int(last.timestamp()) * 1_000_000


def test_long_lists_name_some_and_count_the_rest():
    found = [units.listed([str(number) for number in range(count)]) for count in (0, 1, 2, 4, 5, 1203)]
    assert found == ["", "0", "0 and 1", "0, 1, 2 and 3", "0, 1, 2 and 2 more", "0, 1, 2 and 1,200 more"]

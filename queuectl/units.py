"""How people write durations, moments, sizes and numbers, and how QueueCTL writes them back.

Every reader here takes text and returns a bounded number, or raises `Invalid` with a message that shows the
text and says what is accepted; the caller puts the name of the flag, key or field before it. Durations are
seconds (float), moments are microseconds UTC (int), sizes are bytes (int).
"""

import math
import re
import warnings
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from queuectl import clock
from queuectl.errors import Invalid, TimeWarning

LONGEST = 100 * 366 * 86400.0
"""The longest duration that is accepted, in seconds (100 years): sums with it stay within the calendar."""

LATEST = clock.micros("9000-01-01T00:00:00Z")
"""The latest moment of an event or a job: what comes after it is still within the calendar."""

_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)
_DURATION = r"(?:\d+(?:\.\d+)?(?:us|ms|[smhdw]))+"


def duration(text: str) -> float:
    """Seconds from `90`, `1.5`, `90s`, `5m`, `2h30m`, `1d`, `250ms`. Raises Invalid; never negative."""
    word = text.strip().lower()
    if _is_unix_time(word):
        raise _unix_time(word, text)
    if re.fullmatch(r"\d+(?:\.\d+)?", word, re.ASCII):
        seconds = float(word)
    elif re.fullmatch(_DURATION, word, re.ASCII):
        parts = re.findall(r"([\d.]+)([a-z]+)", word)
        seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
    else:
        raise Invalid(f"{text!r} is not a duration; write 90, 90s, 5m, 2h30m or 1d")
    return bounded(seconds, text)


def seconds(value: float) -> float:
    """A duration that is given as a number of seconds, if it can be one. Raises Invalid."""
    text = decimal(value)
    if _is_unix_time(text):
        raise _unix_time(text, text)
    return bounded(value, f"{value:g}")


def decimal(value: float) -> str:
    """A number without an exponent, to six decimals."""
    return f"{value:f}".rstrip("0").rstrip(".")


def bounded(seconds: float, text: str) -> float:
    """The same seconds, if they are a duration at all: finite, not negative, at most 100 years. Raises Invalid."""
    if not 0 <= seconds <= LONGEST:  # also false for nan
        raise Invalid(f"{text!r} is not a duration from 0 to 100 years")
    return float(seconds)


def moment(text: str, now: int | None = None) -> int:
    """A moment as microseconds UTC: ISO 8601 (local time where it names no zone), a time of day, or a duration ahead.

    `02:30` is the next one; `today 14:00` and `tomorrow 02:30` say the day. A local time that a clock skips means the
    first moment after it, with a TimeWarning; of one that it shows twice, the first is meant, or the second where only
    the first has passed. Raises Invalid. `now` is the clock's unless given.
    """
    now = clock.now() if now is None else now
    stamp = written(text, now)
    if stamp is not None:
        return stamp
    try:
        ahead = duration(text)
    except Invalid as error:
        raise _no_moment(text, "moment", "tomorrow 02:30 or, from now, 2h30m", error) from None
    return now + round(ahead * 1_000_000)


def past(text: str, now: int | None = None) -> int:
    """A past moment as microseconds UTC: ISO 8601 as in `moment`, a time of day, or a duration ago (`-10m`, `10m`).

    `02:30` is the last one; `today 09:00` and `yesterday 14:00` say the day. Raises Invalid.
    """
    now = clock.now() if now is None else now
    stamp = written(text, now, ahead=False)
    if stamp is not None:
        return stamp
    try:
        ago = duration(text.strip().removeprefix("-"))
    except Invalid as error:
        raise _no_moment(text, "past moment", "yesterday 14:00 or, before now, -10m", error) from None
    return now - round(ago * 1_000_000)


def _no_moment(text: str, what: str, others: str, error: Invalid) -> Invalid:
    if _is_unix_time(text.strip().removeprefix("-")):
        return error
    return Invalid(f"{text!r} is not a {what}; write 2026-11-24T09:00 (local), 2026-11-24T09:00:00Z, 02:30, {others}")


def _is_unix_time(word: str) -> bool:
    """Whether this can only be a Unix time, in seconds or milliseconds: as a duration it would be 31 years or more."""
    return re.fullmatch(r"\d{10,13}(?:\.\d+)?", word, re.ASCII) is not None


def _unix_time(word: str, text: str) -> Invalid:
    value = float(word)
    then = (_EPOCH + timedelta(seconds=round(value / (1000 if value >= 1e11 else 1)))).isoformat()
    return Invalid(f"{text!r} is not a duration but a Unix time: as a moment write {then.replace('+00:00', 'Z')}")


def written(text: str, now: int, *, ahead: bool = True) -> int | None:
    """A moment that is written as a date or as a time of day; None for anything else."""
    word = text.strip().lower()
    found = re.fullmatch(r"(?:(today|tomorrow|yesterday)[ t]+)?(\d{1,2}):(\d\d)(?::(\d\d))?", word, re.ASCII)
    if found is None:
        return _iso(text, now, ahead)
    day, hour, minute, second = found[1], int(found[2]), int(found[3]), int(found[4] or 0)
    if hour > 23 or minute > 59 or second > 59 or (day == "yesterday" if ahead else day == "tomorrow"):
        return None
    local = datetime.fromtimestamp(now / 1_000_000, UTC).astimezone().replace(tzinfo=None)
    wanted = local.replace(hour=hour, minute=minute, second=second, microsecond=0, fold=0)
    if day is not None:
        wanted += timedelta(days={"today": 0, "tomorrow": 1, "yesterday": -1}[day])
        return _one_of(_local(wanted, text), now, ahead)
    days = (0, 1, 2) if ahead else (0, -1, -2)
    pairs = [_local(wanted + timedelta(days=each), text, quiet=True) for each in days]
    best = next(each for each, pair in zip(days, pairs, strict=True) if (pair[1] > now if ahead else pair[0] <= now))
    first, second = _local(wanted + timedelta(days=best), text)
    return second if not ahead and second <= now else _one_of((first, second), now, ahead)


def _one_of(times: tuple[int, int], now: int, ahead: bool) -> int:
    """Of the two moments of a local time the first, or the second where that is still to come and the first is not."""
    first, second = times
    return second if ahead and first <= now < second else first


def _local(when: datetime, text: str, *, quiet: bool = False) -> tuple[int, int]:
    """The two moments of a local time without a zone, nearly always one and the same.

    A time that the clock skips is the first moment after it, and is warned of.
    """
    early, late = sorted((when.replace(fold=fold).astimezone(UTC) - _EPOCH) // _TICK for fold in (0, 1))
    shown = datetime.fromtimestamp(early // 1_000_000, UTC).astimezone().replace(tzinfo=None)
    if shown.replace(microsecond=when.microsecond, fold=0) == when.replace(fold=0):
        return early, late
    low, high = early // 1_000_000, late // 1_000_000  # the clock was put forward between the two
    offset = _offset(low)
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(middle) == offset:
            low = middle
        else:
            high = middle
    if not quiet:
        then = datetime.fromtimestamp(high, UTC).astimezone().isoformat(timespec="seconds")
        warnings.warn(f"{text!r} is a time that the clock skips: {then} is meant, the first after it", TimeWarning, 1)
    return high * 1_000_000, high * 1_000_000


def _offset(seconds: int) -> timedelta | None:
    return datetime.fromtimestamp(seconds, UTC).astimezone().utcoffset()


class Then(msgspec.Struct, frozen=True):
    """A past moment: microseconds UTC, or the number of an event of the log."""

    at: int | None = None
    seq: int | None = None


def then(text: str) -> Then:
    """A past moment as `past` reads it, or `seq:N`. Raises Invalid."""
    number = seq(text)
    return Then(seq=number) if number is not None else Then(at=past(text))


def seq(text: str) -> int | None:
    """N of `seq:N`, the number of an event, or None where the text does not begin with `seq:`. Raises Invalid."""
    if not text.startswith("seq:"):
        return None
    return integer(text[4:], 0, 2**63 - 1, shown=text)


def _iso(text: str, now: int, ahead: bool) -> int | None:
    word = text.strip()
    if not re.match(r"\d{4}-?\d\d-?\d\d", word, re.ASCII):  # `fromisoformat` would take 2026W01 too: leave that
        return None
    try:
        when = datetime.fromisoformat(word)
        if when.tzinfo is None:
            return _one_of(_local(when, text), now, ahead)
        return (when.astimezone(UTC) - _EPOCH) // _TICK
    except (ValueError, OverflowError):
        return None


def integer(text: str, low: int, high: int, shown: str | None = None) -> int:
    """A whole number within the bounds, both included. Raises Invalid."""
    word = text.strip()
    if re.fullmatch(r"[+-]?\d{1,19}", word, re.ASCII) and low <= int(word) <= high:
        return int(word)
    raise Invalid(f"{shown or text!r} is not a whole number from {low} to {high}")


def number(text: str, low: float, high: float) -> float:
    """A number within the bounds, both included; never nan or infinite. Raises Invalid."""
    word = text.strip()
    if re.fullmatch(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d{1,3})?", word, re.ASCII | re.IGNORECASE):
        value = float(word)
        if math.isfinite(value) and low <= value <= high:
            return value
    raise Invalid(f"{text!r} is not a number from {plain(low)} to {plain(high)}")


def plain(value: float) -> str:
    """A number for people, without an exponent or a needless `.0`."""
    return f"{int(value)}" if value == int(value) else f"{value:g}"


def size(text: str) -> int:
    """Bytes from `4096`, `64K`, `64KiB`, `64M`, `2GiB` (powers of 1024). Raises Invalid."""
    match = re.fullmatch(r"(\d{1,15})\s*([kmgt]?)(?:i?b)?", text.strip().lower(), re.ASCII)
    if match is None:
        raise Invalid(f"{text!r} is not a size; write bytes, or 64KiB, 64MiB, 2GiB")
    return int(match[1]) * _SIZES[match[2]]


def nearest(word: str, known: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the known word most like this one, or nothing: to be put behind a message."""
    near = sorted((_edit_distance(_letters(word), _letters(name)), abs(len(word) - len(name)), name) for name in known)
    if near and near[0][0] <= max(len(_letters(near[0][2])) // 4, 1):
        return f" (did you mean {near[0][2]!r}?)"
    begun = [name for _, _, name in near if len(_letters(word)) > 2 and _letters(name).startswith(_letters(word))]
    return f" (did you mean {begun[0]!r}?)" if len(begun) == 1 else ""


def _letters(word: str) -> str:
    return word.lower().replace("_", "-").lstrip("-")


def _edit_distance(word: str, meant: str) -> int:
    """How many letters are wrong, missing, too many, or have changed places with the next one."""
    before, last = [0] * (len(meant) + 1), list(range(len(meant) + 1))
    for i, typed in enumerate(word):
        row = [i + 1]
        for j, letter in enumerate(meant):
            least = min(last[j] + (typed != letter), last[j + 1] + 1, row[j] + 1)
            if i and j and typed == meant[j - 1] and word[i - 1] == letter:
                least = min(least, before[j - 1] + 1)
            row.append(least)
        before, last = last, row
    return last[-1]


def span(seconds: float) -> str:
    """A duration for people, in at most two units: `2.5ms`, `250ms`, `4.2s`, `42s`, `2h30m`, `1d`."""
    if seconds < 0:
        return "-" + span(-seconds)
    if 0 < seconds < 0.9995:
        return f"{seconds * 1000:.3g}ms" if seconds >= 0.01 else f"{seconds * 1000:.2g}ms"
    if seconds < 10:
        return f"{seconds:.2g}s"
    left = round(seconds)
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        count, left = divmod(left, int(_UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
        elif parts:
            break  # 1d 0h 5m reads as 1d: two neighbouring units are as exact as a person reads
        if len(parts) == 2:
            break
    return "".join(parts)


def size_text(count: int) -> str:
    """A size for people: `812 B`, `1.5 KiB`, `64 MiB`."""
    value, unit = float(count), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.0f} {unit}" if unit == "B" or value >= 10 or value == int(value) else f"{value:.1f} {unit}"


def counted(count: int, noun: str, nouns: str | None = None) -> str:
    """Return a number with its noun: `1 file`, `2,000 files`."""
    return f"{count:,} {noun if count == 1 else nouns or noun + 's'}"


def listed(words: Sequence[str]) -> str:
    """Return words in a row, no more than four: `7`, `7 and 9`, `7, 9, 12 and 3 more`."""
    first = [*words[:3], f"{len(words) - 3:,} more"] if len(words) > 4 else words
    return " and ".join([", ".join(first[:-1]), first[-1]] if len(first) > 1 else first)

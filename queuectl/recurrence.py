"""When something recurs: by a cron expression in a time zone, or at intervals from a moment on.

Moments are microseconds UTC, and all of them are whole seconds. A recurrence is asked for the moment after another one,
for the latest within a span, and for how many lie within it, which takes no longer where it recurs each minute.

What a clock that is put forward or back makes of a cron expression is as in Debian: a fixed time (neither minute nor
hour begins with `*`) that is skipped is the first moment after the gap, and one that is shown twice is the first of
both. Any other expression matches what the clock shows: nothing in the gap, and twice what is shown twice.
"""

import os
import re
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol

from queuectl import units
from queuectl.clock import EPOCH, NAIVE_EPOCH, SECOND
from queuectl.errors import Invalid

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

LONGEST_EXPRESSION = 200
"""Characters of a cron expression."""
NAMED = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
"""Expressions that have a name."""
FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day of the month": "1 to 31, L or LW",
    "month": "1 to 12, or JAN to DEC",
    "day of the week": "0 to 7 (both are Sunday), SUN to SAT, MON#1 or 5L",
}
"""The fields of an expression, and what each may have."""
RAREST = 50
"""Years within which a moment of an expression has to come."""

_DAY = timedelta(days=1)
_FIRST = date(1970, 1, 1)
_SOME_DAY = datetime(2000, 1, 1, tzinfo=UTC)
_LAST_DAY = 2_567_000
"""The days since 1970 up to which moments are looked for: the year 8998."""


class Recurrence(Protocol):
    """Moments without an end."""

    def after(self, moment: int) -> int | None:
        """The first moment after another one; None: there is none any more."""
        ...

    def latest(self, after: int, upto: int) -> int | None:
        """The last moment that is later than `after` and no later than `upto`; None: there is none."""
        ...

    def count(self, after: int, upto: int) -> int:
        """How many moments are later than `after` and no later than `upto`."""
        ...

    @property
    def words(self) -> str:
        """It in words, as `At 02:30 every day`."""
        ...


class Interval:
    """At `anchor` (µs UTC), and again and again after so many whole seconds."""

    def __init__(self, seconds: int, anchor: int) -> None:
        self.seconds = seconds
        self._anchor = anchor
        self._period = seconds * SECOND

    def after(self, moment: int) -> int | None:
        """See `Recurrence`."""
        found = self._anchor + self._number(moment) * self._period
        return found if found <= units.LATEST else None

    def latest(self, after: int, upto: int) -> int | None:
        """See `Recurrence`."""
        found = self._anchor + (self._number(upto) - 1) * self._period
        return found if found > after and found >= self._anchor else None

    def count(self, after: int, upto: int) -> int:
        """See `Recurrence`."""
        return max(0, self._number(upto) - self._number(after))

    def _number(self, moment: int) -> int:
        """How many of its moments are no later than this one."""
        return max(0, (moment - self._anchor) // self._period + 1)

    @property
    def words(self) -> str:
        """See `Recurrence`."""
        return f"Every {interval_text(self.seconds)}"


class Cron:
    """The moments at which a clock in a time zone shows what a cron expression says."""

    def __init__(self, expression: str, zone: str) -> None:
        """Raises Invalid for what is no expression, naming the place, and for a zone that is not known."""
        from cronsim import CronSim

        self.expression = check_expression(expression)
        self.zone = zone
        self._zone = find_zone(zone)
        self._sim = CronSim(NAMED.get(self.expression, self.expression), _SOME_DAY)
        hours, minutes = sorted(self._sim.hours), sorted(self._sim.minutes)
        self._minutes = [60 * hour + minute for hour in hours for minute in minutes]
        """The minutes of a day at which it recurs."""
        fields = self._sim.parts
        self._is_fixed = not fields[1].startswith("*") and not fields[2].startswith("*")
        self._special: dict[int, Sequence[int]] = {}
        """By day: the moments of those on which the clock is changed."""

    def after(self, moment: int) -> int | None:
        """See `Recurrence`."""
        second = moment // SECOND
        first = self._day_of(second) - 1  # where a clock is put back over midnight, the day before goes on
        for day in range(first, min(first + RAREST * 366, _LAST_DAY)):
            if self._matches(day) and (found := self._first_after(day, second)) is not None:
                return found * SECOND
        return None

    def latest(self, after: int, upto: int) -> int | None:
        """See `Recurrence`."""
        first, last = self._day_of(after // SECOND) - 1, self._day_of(upto // SECOND) + 1
        for day in range(min(last, _LAST_DAY), max(first, last - RAREST * 366) - 1, -1):
            if self._matches(day) and (found := self._last_upto(day, upto // SECOND)) is not None:
                return found * SECOND if found > after // SECOND else None
        return None

    def count(self, after: int, upto: int) -> int:
        """See `Recurrence`: a day takes some microseconds."""
        if upto <= after:
            return 0
        start, end = after // SECOND, upto // SECOND
        first, last = self._day_of(start) - 1, min(self._day_of(end) + 1, _LAST_DAY)
        found = 0
        for day in filter(self._matches, range(first, last + 1)):
            # Only at the ends may a day belong to the span in part.
            inside = first + 2 < day < last - 2
            found += self._size(day) if inside else self._upto(day, end) - self._upto(day, start)
        return found

    @property
    def words(self) -> str:
        """See `Recurrence`."""
        return self._sim.explain()

    # -- days, as numbers of days since 1970, and seconds ----------------------------------------------------------

    def _day_of(self, second: int) -> int:
        """The day that a clock in the zone shows then."""
        return (second + self._shown_offset(second)) // 86400

    def _matches(self, day: int) -> bool:
        """Whether it recurs on this day."""
        found = _FIRST + day * _DAY
        return found.month in self._sim.months and self._sim.match_day(found)

    def _first_after(self, day: int, second: int) -> int | None:
        place = self._upto(day, second)
        return self._nth(day, place) if place < self._size(day) else None

    def _last_upto(self, day: int, second: int) -> int | None:
        place = self._upto(day, second)
        return self._nth(day, place - 1) if place else None

    def _size(self, day: int) -> int:
        """How many moments a day has."""
        return len(self._minutes) if self._start_of(day) is not None else len(self._moments_of(day))

    def _nth(self, day: int, place: int) -> int:
        start = self._start_of(day)
        return start + 60 * self._minutes[place] if start is not None else self._moments_of(day)[place]

    def _upto(self, day: int, second: int) -> int:
        """How many moments of a day are no later than a second."""
        if (start := self._start_of(day)) is not None:
            return bisect_right(self._minutes, (second - start) // 60)
        return bisect_right(self._moments_of(day), second)

    def _start_of(self, day: int) -> int | None:
        """The second at which a day begins; None where it has not 24 hours."""
        start = 86400 * day
        offset = self._offset(start)
        return start - offset if self._offset(start + 86400) == offset else None

    def _moments_of(self, day: int) -> Sequence[int]:
        """The moments of a day on which the clock is changed, in order."""
        if day not in self._special:
            found: set[int] = set()
            for minute in self._minutes:
                found.update(self._seconds_of(86400 * day + 60 * minute))
            self._special[day] = sorted(second for second in found if not self._is_of_later(day, second))
        return self._special[day]

    def _is_of_later(self, day: int, second: int) -> bool:
        """Whether a moment of a day, put off over midnight by the clock, is one of a later day anyhow."""
        shown = self._day_of(second)
        return shown > day and self._matches(shown) and self._upto(shown, second) > self._upto(shown, second - 1)

    def _seconds_of(self, local: int) -> Sequence[int]:
        """The seconds that are meant by a local time, which is given as if it were UTC."""
        early, late = self._offset(local), self._offset(local, fold=1)
        if early >= late:  # it is shown once, or twice
            return (local - early,) if self._is_fixed else (local - early, local - late)
        # The clock is put forward over it, somewhere between these two.
        seconds = range(local - late, local - early + 1)
        return (seconds[bisect_left(seconds, late, key=self._shown_offset)],) if self._is_fixed else ()

    def _offset(self, local: int, fold: int = 0) -> int:
        """How far (seconds) a clock in the zone is ahead of UTC when it shows a local time, given as if it were UTC."""
        shown = NAIVE_EPOCH + timedelta(seconds=local)
        return _seconds(self._zone.utcoffset(shown.replace(fold=fold)))

    def _shown_offset(self, second: int) -> int:
        """How far (seconds) it is ahead of UTC at a second."""
        return _seconds((EPOCH + timedelta(seconds=second)).astimezone(self._zone).utcoffset())


def interval_text(seconds: int) -> str:
    """An interval as it is written: `15m`, `1d12h`."""
    words: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, seconds = divmod(seconds, size)
        words += [f"{count}{unit}"] if count else []
    return "".join(words)


def _seconds(offset: timedelta | None) -> int:
    return round(offset.total_seconds()) if offset is not None else 0


@lru_cache(maxsize=1024)
def cron(expression: str, zone: str) -> Cron:
    """The recurrence of an expression in a zone; the same object for the same words. Raises as `Cron` does."""
    return Cron(expression, zone)


def check_expression(text: str) -> str:
    """The same expression with single spaces, if there is a moment that it ever comes to.

    Raises Invalid, which names the place of what is wrong: the first character is 1.
    """
    if len(text) > LONGEST_EXPRESSION:
        raise Invalid(f"a cron expression of {len(text)} characters; at most {LONGEST_EXPRESSION}")
    words = text.split()
    if words and words[0].startswith("@"):
        return _check_named(text, words)
    fields = [(match.start() + 1, match[0]) for match in re.finditer(r"\S+", text)]
    if len(fields) != len(FIELDS):
        more = "; there are no seconds (--every has them)" if len(fields) == 6 else ""
        quoted = "; quote the five as one word" if len(fields) == 1 else ""
        raise Invalid(
            f"cron expression {text!r}: {units.counted(len(fields), 'field')}, not 5: {', '.join(FIELDS)}{more}{quoted}"
        )
    for place, ((at, field), (name, accepted)) in enumerate(zip(fields, FIELDS.items(), strict=True)):
        for term in field.split(","):
            if not _is_term(term, place):
                what = f"{term!r} is no {name}" if term else f"a {name} is missing"
                raise Invalid(f"cron expression {text!r}: character {at}: {what}: {accepted}")
            at += len(term) + 1
    if not _ever_comes(" ".join(words)):
        raise Invalid(
            f"cron expression {text!r}: character {fields[2][0]}: that day never comes in {_months(words[3])}"
        )
    return " ".join(words)


def _check_named(text: str, words: Sequence[str]) -> str:
    word = words[0].lower()
    if word in NAMED and len(words) == 1:
        return word
    instead = {
        "@reboot": "; nothing is scheduled for the start of a machine",
        "@every": "; write --every 5m",
    }.get(word, units.nearest(word, NAMED))
    raise Invalid(f"cron expression {text!r}: character 1: {words[0]!r} is none of {', '.join(NAMED)}{instead}")


def _is_term(term: str, place: int) -> bool:
    """Whether a part between commas can stand in the field at this place."""
    from cronsim import CronSim, CronSimError

    if not re.fullmatch(r"[0-9A-Za-z*/#-]+", term, re.ASCII) or re.search(r"\d{5}", term):
        return False
    fields = ["*"] * len(FIELDS)
    fields[place] = term
    try:
        CronSim(" ".join(fields), _SOME_DAY)
    except CronSimError:
        return False
    return True


def _ever_comes(expression: str) -> bool:
    from cronsim import CronSim, CronSimError

    try:
        next(CronSim(expression, _SOME_DAY))
    except (CronSimError, StopIteration):
        return False
    return True


def _months(field: str) -> str:
    return "any month" if field.startswith("*") else f"month {field}"


def local_zone() -> str:
    """The name of this process's time zone: of TZ, of the system, or UTC where neither has one. Raises Invalid."""
    if name := os.environ.get("TZ", "").lstrip(":"):
        try:
            find_zone(name)
        except Invalid:
            raise Invalid(f"TZ={name} is no name of a time zone: give --tz, as Europe/Berlin") from None
        return name
    try:
        link = os.readlink("/etc/localtime")
    except OSError:
        return "UTC"
    name = link.rpartition("zoneinfo/")[2]
    try:
        find_zone(name)
    except Invalid:
        return "UTC"
    return name


def find_zone(name: str) -> "ZoneInfo":
    """The time zone of this name, as `Europe/Berlin`. Raises Invalid."""
    import zoneinfo

    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; no relative path; a folder
        known = zoneinfo.available_timezones()
    if not known:
        raise Invalid(
            f"time zone {name!r}: no time zones are known here: install the package tzdata, of the system or of Python"
        )
    last = {zone.rpartition("/")[2].lower(): zone for zone in sorted(known)}
    meant = last.get(name.strip().replace(" ", "_").lower())
    hint = f" (did you mean {meant!r}?)" if meant is not None else units.nearest(name, known)
    raise Invalid(f"time zone {name!r}: there is none{hint}; names are as Europe/Berlin or UTC")

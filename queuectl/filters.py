"""Filters: which jobs are meant, in one small grammar for lists and for changes of many jobs (R39).

    state:dead,failed queue:gpu tag:exp=3 by:ann* since:2d -exit:137 resize "text with: colons"

A filter is a row of terms, which must all hold. A term is a key with its value, or a word; several values, with commas
between them, are alternatives, and a hyphen before a term negates it. What stands in double quotes has no further
meaning, but for a backslash, which takes that of the next character. Nothing here reads the database: `Condition` has
what an index can answer as a `JobFilter`, the rest as a question of one job.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial

import msgspec
from msgspec.structs import replace

from projections.job_list import JobFilter
from projections.jobs import STATES, Job
from queuectl import units
from queuectl.clock import now
from queuectl.errors import Invalid

CAUSES = ("exit", "signal", "timeout", "spawn", "lost", "output", "memory", "dependency", "halt")
"""The causes of failures, and of cancels that nobody asked for."""

_SPECIAL = re.compile(r'[\s",]')
_HAS_KEY = re.compile(r'[^\s",]*?:')


class Term(msgspec.Struct, frozen=True):
    """One term of a filter."""

    key: str
    """One of `KEYS`; empty: the values are words."""
    values: tuple[str, ...]
    """The alternatives: at least one, none empty."""
    negated: bool = False

    def __str__(self) -> str:
        """The term as it is written."""
        values = ",".join(_quoted(value) for value in self.values)
        if not self.key and not values.startswith('"') and (values[0] == "-" or _HAS_KEY.match(values)):
            values = _in_quotes(self.values[0]) + values[len(self.values[0]) :]
        return f"{'-' * self.negated}{self.key}{':' * bool(self.key)}{values}"


NotesOf = Callable[[str], Iterable[str]]
"""Gives the texts of the notes on a job, by its id."""


class Condition(msgspec.Struct, frozen=True):
    """What a filter means at one moment."""

    listed: JobFilter
    """The part that indexes answer."""
    rest: Callable[[Job, NotesOf], bool] | None = None
    """Whether a job of that part is meant; None: each of them is."""


def text(terms: Iterable[Term]) -> str:
    """The filter as it is written; `parse` gives the same terms of it."""
    return " ".join(map(str, terms))


def parse(text: str) -> tuple[Term, ...]:
    """The terms of a filter; none of an empty one. Raises Invalid, which names the place of what is wrong."""
    return (*_Parser(text).terms(),)


def condition(terms: Iterable[Term], listed: JobFilter, at: int | None = None) -> Condition:
    """What the terms mean together with a JobFilter, at a moment (µs UTC; None: now)."""
    at = now() if at is None else at
    rest: list[_Meant] = []
    for term in terms:
        narrowed = _narrowed(term, listed, at)
        if narrowed is not None:
            listed = narrowed
        else:
            rest.append(partial(_matches, term, _TESTS[term.key](term.values, at)))
    return Condition(listed, (lambda job, notes: all(matches(job, notes) for matches in rest)) if rest else None)


def states(terms: Iterable[Term]) -> tuple[str, ...] | None:
    """The states that these terms name as those that are meant, in their order; None where they name none."""
    named = [set(term.values) for term in terms if term.key == "state" and not term.negated]
    return tuple(state for state in STATES if all(state in each for each in named)) if named else None


# -- what is written -------------------------------------------------------------------------------------------------


class _Parser:
    """Reads one filter from left to right."""

    def __init__(self, text: str) -> None:
        self._text, self._at = text, 0

    def terms(self) -> Iterator[Term]:
        while self._skip_space():
            yield self._term()

    def _skip_space(self) -> bool:
        while self._at < len(self._text) and self._text[self._at].isspace():
            self._at += 1
        return self._at < len(self._text)

    def _term(self) -> Term:
        begin = self._at
        if negated := self._text[begin] == "-":
            self._at += 1
            if self._text.startswith("--", begin):
                raise _wrong(f"{self._text[begin:].split()[0]!r} is no option, and no term", begin)
        key = ""
        if found := _HAS_KEY.match(self._text, self._at):
            key = found[0][:-1].lower()
            if key not in KEYS:
                near = units.nearest(key, KEYS) or f"; in quotes it is text; the keys are {', '.join(KEYS)}"
                raise _wrong(f"unknown key {found[0][:-1]!r}", self._at, near)
            self._at = found.end()
        values = (self._value(key, begin),)
        while self._text[self._at : self._at + 1] == ",":
            self._at += 1
            values = (*values, self._value(key, begin))
        if key in _MOMENTS and len(values) > 1:
            raise _wrong(f"{key} has one value, not {len(values)}", begin)
        return Term(key, values, negated)

    def _value(self, key: str, term: int) -> str:
        """The next value, checked. A comma, a space or the end of the filter ends it."""
        begin, value = self._at, ""
        while self._at < len(self._text) and (char := self._text[self._at]) != "," and not char.isspace():
            self._at += 1
            value += char if char != '"' else self._rest_of_quotes()
        if not value:
            before = self._text[term:begin]
            raise _wrong(f"nothing stands behind {before!r}" if before else "a value is empty", term)
        try:
            return KEYS[key](value) if key else value
        except Invalid as error:
            raise _wrong(key, begin, f": {error}") from None

    def _rest_of_quotes(self) -> str:
        begin, text = self._at - 1, ""
        while self._at < len(self._text):
            char = self._text[self._at]
            self._at += 1
            if char == '"':
                return text
            if char == "\\" and self._at < len(self._text):
                char = self._text[self._at]
                self._at += 1
            text += char
        raise _wrong("a quote is not closed", begin)


def _wrong(what: str, at: int, more: str = "") -> Invalid:
    return Invalid(f"filter: {what} at {at + 1}{more}")


def _quoted(value: str) -> str:
    return _in_quotes(value) if _SPECIAL.search(value) else value


def _in_quotes(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _word_of(words: Sequence[str], what: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if (word := value.lower()) in words:
            return word
        raise Invalid(f"{value!r} is not a {what}{units.nearest(value, words)}; there are {', '.join(words)}")

    return read


def _code(value: str) -> str:
    return str(units.integer(value, 0, 255))


def _past(value: str) -> str:
    units.past(value)
    return value


KEYS: Mapping[str, Callable[[str], str]] = {
    "state": _word_of(STATES, "state"),
    "queue": str,
    "tag": str,
    "batch": str,
    "exit": _code,
    "cause": _word_of(CAUSES, "cause"),
    "by": str,
    "trigger": str,
    "since": _past,
    "until": _past,
    "ended": _past,
}
"""The keys of terms, each with what checks one of its values, and gives it back as it is compared."""

_MOMENTS = ("since", "until", "ended")


# -- what it means ---------------------------------------------------------------------------------------------------


def _narrowed(term: Term, listed: JobFilter, at: int) -> JobFilter | None:
    """The JobFilter narrowed by a term; None where it can't say that."""
    if term.key == "state":
        before = listed.states if listed.states is not None else STATES
        return replace(listed, states=tuple(state for state in before if (state in term.values) != term.negated))
    if term.negated:
        return None
    match term.key, term.values:
        case "queue", (queue,) if "*" not in queue and listed.queue in (None, queue):
            return replace(listed, queue=queue)
        case "batch", (batch,) if "*" not in batch and listed.batch in (None, batch):
            return replace(listed, batch=batch)
        case "since", (when,):
            return replace(listed, since=max(units.past(when, at), listed.since or 0))
        case "until", (when,):
            moment = units.past(when, at)
            return replace(listed, until=min(moment, listed.until) if listed.until is not None else moment)
        case "ended", (when,):
            return replace(listed, ended_since=max(units.past(when, at), listed.ended_since or 0))
        case _:
            return None


_Meant = Callable[[Job, NotesOf], bool]


def _matches(term: Term, test: _Meant, job: Job, notes: NotesOf) -> bool:
    return test(job, notes) != term.negated


_Test = Callable[[tuple[str, ...], int], _Meant]


def _pattern(values: Iterable[str]) -> Callable[[str], object]:
    """Whether a text is one of these, of which `*` stands for anything."""
    alternatives = (".*".join(map(re.escape, value.split("*"))) for value in values)
    return re.compile("|".join(alternatives), re.DOTALL).fullmatch


def _words(values: tuple[str, ...], _: int) -> _Meant:
    wanted = [value.casefold() for value in values]

    def test(job: Job, notes: NotesOf) -> bool:
        texts = "\n".join((job.id, job.command, job.error or "", *_tags(job), *notes(job.id))).casefold()
        return any(each in texts for each in wanted)

    return test


def _tag(values: tuple[str, ...], _: int) -> _Meant:
    whole = _pattern(value for value in values if "=" in value)
    key = _pattern(value for value in values if "=" not in value)
    return lambda job, _: any(key(name) or whole(f"{name}={value}") for name, value in job.policy.tags.items())


def _tags(job: Job) -> Iterator[str]:
    return (f"{key}={value}" if value else key for key, value in job.policy.tags.items())


def _queue(values: tuple[str, ...], _: int) -> _Meant:
    matches = _pattern(values)
    return lambda job, _: bool(matches(job.queue))


def _batch(values: tuple[str, ...], _: int) -> _Meant:
    matches = _pattern(values)
    return lambda job, _: job.batch is not None and bool(matches(job.batch))


def _by(values: tuple[str, ...], _: int) -> _Meant:
    matches = _pattern(values)
    return lambda job, _: bool(matches(job.enqueued_by) or matches(job.enqueued_by.partition(":")[2]))


def _trigger(values: tuple[str, ...], _: int) -> _Meant:
    matches = _pattern(values)

    def test(job: Job, _: NotesOf) -> bool:
        source = job.triggered_by
        return source is not None and bool(matches(source) or matches(source.partition(":")[2]))

    return test


def _exit(values: tuple[str, ...], _: int) -> _Meant:
    codes = {int(value) for value in values}
    return lambda job, _: (128 + job.signal if job.signal is not None else job.exit_code) in codes


def _cause(values: tuple[str, ...], _: int) -> _Meant:
    return lambda job, _: job.cause in values


def _since(values: tuple[str, ...], at: int) -> _Meant:
    moment = units.past(values[0], at)
    return lambda job, _: job.enqueued_at >= moment


def _until(values: tuple[str, ...], at: int) -> _Meant:
    moment = units.past(values[0], at)
    return lambda job, _: job.enqueued_at <= moment


def _ended(values: tuple[str, ...], at: int) -> _Meant:
    moment = units.past(values[0], at)
    return lambda job, _: job.finished_at is not None and job.finished_at >= moment


_TESTS: Mapping[str, _Test] = {
    "": _words, "queue": _queue, "tag": _tag, "batch": _batch, "exit": _exit, "cause": _cause, "by": _by,
    "trigger": _trigger,
    "since": _since, "until": _until, "ended": _ended,
}  # fmt: skip
"""By key: whether a job has one of some values, at a moment."""

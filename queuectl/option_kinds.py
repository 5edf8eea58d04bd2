"""The kinds of values that options of a job have: how each is written, read and checked (R2)."""

import os
from collections.abc import Callable, Sequence
from functools import partial
from signal import SIGSTOP
from typing import Any

import msgspec

from queuectl import amounts, bounds, clock, units
from queuectl.errors import Invalid
from queuectl.host import signal_names
from queuectl.host.working_directory import working_directory


def _same(value: Any) -> Any:
    return value


class Kind(msgspec.Struct, frozen=True, kw_only=True):
    """What the values of an option are, how they are written, and what they may be."""

    type: str
    """The annotation of a value."""
    json: Any
    """The types that a JSON spec may have in its place."""
    documented: str
    """What the documentation of specs calls that."""
    read: Callable[[str], Any] = _same
    """The value of a text: a flag's, a setting's. Raises Invalid."""
    load: Callable[[Any], Any] = _same
    """The value of what a JSON spec has. Raises Invalid."""
    check: Callable[[str, Any], Any]
    """(name, value) -> the value as it is used. Raises Invalid, which begins with the name."""
    note: str = ""
    """What the help of a flag adds: how it is written."""
    words: tuple[str, ...] = ()
    """The only values that there are; empty: there are others."""
    many: bool = False
    """Whether the flag may be repeated."""
    read_all: Callable[[Sequence[str]], Any] = tuple
    """Of a flag that may be repeated: the value of all its texts. Raises Invalid."""


def whole(low: int, high: int) -> Kind:
    """A whole number within bounds."""
    read, check = partial(units.integer, low=low, high=high), partial(bounds.within, low=low, high=high)
    return Kind(type="int", json=int, documented="integer", read=read, check=check)


def number(low: float, high: float) -> Kind:
    """A number within bounds."""
    read, check = partial(units.number, low=low, high=high), partial(bounds.within, low=low, high=high)
    return Kind(type="float", json=float, documented="number", read=read, check=check)


def text(check: Callable[[str], str]) -> Kind:
    """A string that `check` gives back, or refuses with Invalid."""
    return Kind(type="str", json=str, documented="string", read=check, check=lambda _, value: check(value))


def choice(*words: str) -> Kind:
    """One of some words."""

    def read(text: str) -> str:
        if (word := text.strip().lower()) in words:
            return word
        raise Invalid(f"{text!r} is not one of {', '.join(words)}{units.nearest(text, words)}")

    def check(name: str, value: str) -> str:
        if value not in words:
            raise Invalid(f"{name}: {value!r} is not one of {', '.join(words)}")
        return value

    quoted = ", ".join(f'"{word}"' for word in words)
    documented = ", ".join(f'`"{word}"`' for word in words)
    return Kind(
        type=f"Literal[{quoted}]", json=str, documented=documented, read=read, load=read, check=check, words=words
    )


def _seconds(value: float | str) -> float:
    return units.duration(value) if isinstance(value, str) else units.seconds(value)


def _is_none(text: Any) -> bool:
    return text is None or (isinstance(text, str) and text.strip().lower() == "none")


def _timeout(value: float | str | None) -> float | None:
    return None if _is_none(value) else bounds.check_timeout(_seconds(value or 0))


def _memory(value: int | str | None) -> int | None:
    if _is_none(value):
        return None
    return bounds.check_memory(units.size(value) if isinstance(value, str) else value or 0)


def _steps(value: float | str | Sequence[float | str]) -> tuple[float, ...]:
    if _is_none(value):
        return ()
    if isinstance(value, str):
        value = value.split(",")
    return tuple(map(_seconds, value)) if isinstance(value, Sequence) else (_seconds(value),)


def _check_steps(name: str, steps: tuple[float, ...]) -> tuple[float, ...]:
    if len(steps) > bounds.MOST_STEPS:
        raise Invalid(f"{name}: {len(steps)} delays; at most {bounds.MOST_STEPS}, of which the last is repeated")
    for seconds in steps:
        bounds.within(name, seconds, 0, units.LONGEST)
    return steps


def codes(low: int, *always: int) -> Kind:
    """Exit codes from `low` on, in order; `always`: those that are among them without being named."""

    def read(value: int | str | Sequence[int]) -> tuple[int, ...]:
        if isinstance(value, str):
            value = () if _is_none(value) else [units.integer(each, low, 255) for each in value.split(",")]
        return (*sorted({*always, *(value if isinstance(value, Sequence) else (value,))}),)

    def check(name: str, value: Sequence[int]) -> tuple[int, ...]:
        for code in value:
            bounds.within(name, code, low, 255)
        return read(value)

    return Kind(
        type="tuple[int, ...]", json=int | str | list[int], documented="integer, or array of integers", read=read,
        load=read, check=check,
    )  # fmt: skip


def _ids(texts: Sequence[str]) -> tuple[str, ...]:
    found = tuple(id.strip() for text in texts for id in text.split(","))
    if "" in found:  # of a variable that is not set: without it the job would start at once
        raise Invalid("an id is empty")
    return found


def _signal(value: int | str) -> str:
    try:
        found = signal_names.number(str(value))
    except ValueError:
        near = units.nearest(str(value).strip().upper().removeprefix("SIG"), signal_names.NAMES)
        raise Invalid(f"{value!r} is no signal{near}; write INT, SIGINT or 2") from None
    if found == SIGSTOP:
        raise Invalid(f"{value!r} asks nothing to end: it only stops it")
    return signal_names.name(found)


def _check_signal(name: str, value: int | str) -> str:
    try:
        return _signal(value)
    except Invalid as error:
        raise Invalid(f"{name}: {error}") from None


def _folder(name: str, path: str) -> str:
    found = _path(name, path)
    if path.startswith("/") or ".." in path.split("/"):
        return found  # `..` is what the system calls so: the folder above, not the one in which a link to this stands
    return os.path.normpath(os.path.join(working_directory(), path))


def _path(name: str, path: str) -> str:
    if not path:
        raise Invalid(f"{name}: is empty")
    bounds.passable(name, path)
    try:
        return os.path.abspath(path)
    except OSError as error:
        raise Invalid(f"{name}: {path!r} is relative, and the working directory is gone ({error.strerror})") from None


def callback(text: str | None) -> str | None:
    """The command line of a callback; None: there is none. Raises Invalid."""
    return bounds.check_line(text) if text is not None and not _is_none(text) else None


def _check_callback(name: str, line: str | None) -> str | None:
    try:
        return callback(line)
    except Invalid as error:
        raise Invalid(f"{name}: {error}") from None


def when(text: str) -> dict[str, Any]:
    """`{"delay": seconds}` for a duration ahead, or `{"at": microseconds}` for a moment. Raises Invalid."""
    if (at := units.written(text, clock.now())) is not None:  # 20261201 is a day, not so many seconds
        if not 0 <= at <= units.LATEST:
            raise Invalid(f"{text!r} is not a moment from 1970 to the year 9000")
        return {"at": at}
    try:
        return {"delay": units.duration(text)}
    except Invalid:
        return {"at": units.moment(text)}


DURATION = Kind(
    type="float",
    json=float | str,
    documented="duration",
    read=units.duration,
    load=_seconds,
    check=partial(bounds.within, low=0, high=units.LONGEST),
)
MOMENT = Kind(
    type="int",
    json=float | str,
    documented="moment",
    read=when,
    load=lambda value: when(value if isinstance(value, str) else units.decimal(value)),
    check=partial(bounds.within, low=0, high=units.LATEST),
)
TIMEOUT = Kind(
    type="float | None",
    json=float | str | None,
    documented="duration, or null",
    read=_timeout,
    load=_timeout,
    check=lambda _, value: bounds.check_timeout(value) if value is not None else None,
)
MEMORY = Kind(
    type="int | None",
    json=int | str | None,
    documented="size, or null",
    read=_memory,
    load=_memory,
    check=lambda _, value: bounds.check_memory(value) if value is not None else None,
)
STEPS = Kind(
    type="tuple[float, ...]",
    json=float | str | list[float | str],
    documented="duration, or array of durations",
    read=_steps,
    load=_steps,
    check=_check_steps,
)
CALLBACK = Kind(
    type="str | None",
    json=str | None,
    documented="string, or null",
    read=callback,
    load=callback,
    check=_check_callback,
)
SIGNAL = Kind(
    type="int | str",
    json=int | str,
    documented="string, or integer",
    read=_signal,
    load=_signal,
    check=_check_signal,
)
VARIABLES = Kind(
    type="dict[str, str]",
    json=dict[str, str],
    documented="object of strings",
    check=bounds.check_variables,
    note=" May be repeated; K alone: its value now.",
    many=True,
)
NAMES = Kind(
    type="tuple[str, ...]",
    json=tuple[str, ...],
    documented="array of strings",
    check=lambda _, value: value,
    note=" May be repeated.",
    many=True,
)
IDS = Kind(
    type="tuple[str, ...]",
    json=str | list[str],
    documented="string, or array of strings",
    load=lambda value: _ids([value] if isinstance(value, str) else value),
    check=bounds.check_ids,
    note=" May be repeated.",
    many=True,
    read_all=lambda texts: _ids(texts),
)
NEEDS = Kind(
    type="dict[str, int]",
    json=dict[str, int | str],
    documented="object of amounts",
    load=lambda value: amounts.needs(f"{name}={much}" for name, much in value.items()),
    check=lambda _, value: amounts.check_needs(value),
    note=" May be repeated.",
    many=True,
    read_all=amounts.needs,
)
TAGS = Kind(
    type="dict[str, str]",
    json=dict[str, str],
    documented="object of strings",
    check=lambda _, value: bounds.check_tags(value),
    note=" May be repeated.",
    many=True,
    read_all=lambda words: bounds.check_tags({key: value for key, _, value in (word.partition("=") for word in words)}),
)
SWITCH = Kind(type="bool", json=bool, documented="boolean", check=lambda _, value: value)
FOLDER = Kind(type="str", json=str, documented="string", check=_folder)
INPUT = Kind(
    type="str", json=str, documented="string", check=lambda name, path: path if path == "-" else _path(name, path)
)

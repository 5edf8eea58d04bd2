"""A parser of plain command lines, without cyclopts, whose import takes longer than most commands.

A line is plain if its options have their full names, and no value or argument begins with a hyphen. All else is left to
cyclopts, errors and help too: a line that is parsed here is one that cyclopts would parse to the same call.
"""

from collections.abc import Callable, Container, Iterator, Sequence
from functools import partial
from types import FunctionType
from typing import Any, get_args

import msgspec

from queuectl.cli import commands
from queuectl.cli import parameters as p
from queuectl.errors import Invalid

VARARGS = 4
"""The flag of code that takes any number of arguments (`inspect.COVARARGS`)."""


class _NotPlain(Exception):
    """A line that cyclopts must parse."""


class GivenOption(msgspec.Struct, frozen=True):
    """An option of a command, with what it is given."""

    path: tuple[str, ...]
    """The name of its parameter, and its key if that is a mapping."""
    type: Any
    described: p.Parameter
    texts: list[str]
    """What it is given."""


def parse(words: Sequence[str]) -> partial[object] | None:
    """Return the call that a command line makes; None if the line is not plain."""
    for width in (1, 2):
        name = " ".join(words[:width])
        if name in commands.COMMANDS and name.split(" ") == list(words[:width]):
            command = commands.load(name)
            given = list(options(command))
            try:
                operands = _distribute(words[width:], given)
                values = _values(given)
            except (_NotPlain, Invalid):
                return None
            return partial(command, *operands, **values) if _takes(command, len(operands), values) else None
    return None


def _takes(command: Callable[..., object], operands: int, values: Container[str]) -> bool:
    """Whether a command can be called so. `inspect` could tell, but its import takes longer than all else here."""
    assert isinstance(command, FunctionType)
    code, may_lack = command.__code__, command.__kwdefaults__ or {}
    if operands < code.co_argcount - len(command.__defaults__ or ()):
        return False
    if operands > code.co_argcount and not code.co_flags & VARARGS:
        return False
    named = code.co_varnames[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    return all(name in may_lack or name in values for name in named)


def options(command: Callable[..., object]) -> Iterator[GivenOption]:
    """Yield the options of a command, none of them given."""
    for name, annotation in command.__annotations__.items():
        match get_args(annotation):
            case _, p.Options() as mapping:
                for key, (type_, described) in mapping.items():
                    yield GivenOption((name, key), type_, described, [])
            case type_, p.Parameter() as described:
                yield GivenOption((name,), type_, described, [])
            case _:
                pass


def _distribute(words: Sequence[str], options: Sequence[GivenOption]) -> list[str]:
    """Give the options their texts, and return the operands. Raises _NotPlain."""
    named = {name: option for option in options for name in option.described.names}
    operands: list[str] = []
    complete = False
    rest = iter(words)
    for word in rest:
        if word.startswith("-"):
            if (option := named.get(word)) is None:
                raise _NotPlain
            option.texts.append("" if option.type is bool else next(rest, "-"))
            if option.texts[-1].startswith("-"):
                raise _NotPlain
            complete = bool(operands)
        elif complete:  # there are operands on both sides of an option
            raise _NotPlain
        else:
            operands.append(word)
    return operands


def _values(options: Sequence[GivenOption]) -> dict[str, Any]:
    """Return the values of the options that were given. Raises _NotPlain, or Invalid for a value."""
    values: dict[str, Any] = {}
    for option in options:
        if option.texts:
            *outer, key = option.path
            (values.setdefault(outer[0], {}) if outer else values)[key] = _value(option)
    return values


def _value(option: GivenOption) -> Any:
    if option.described.read_all is not None:
        return option.described.read_all(option.texts)
    if len(option.texts) > 1:
        raise _NotPlain
    if option.type is bool:
        return True
    if option.described.read is not None:
        return option.described.read(option.texts[0])
    if option.type not in (str, str | None):
        raise _NotPlain
    return option.texts[0]

"""Which part of a command line is being completed: the name of a command or option, or the value of a parameter."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from types import FunctionType
from typing import Any, Literal, get_args, get_origin

import msgspec

from projections.suggestions import Suggestion
from queuectl.cli import commands, plain_parser
from queuectl.cli import parameters as p
from queuectl.cli.commands.summaries import SUMMARIES
from queuectl.cli.completion.values import FILES, FOLDERS, OF_PLACEHOLDER, Values, words

_EVERYWHERE = {"--db": FILES, "--logs": FOLDERS}
"""The values of the options that may precede the command."""
_HELP = Suggestion("--help", "Explain the command.")
_VERSION = Suggestion("--version", "Print the version.")


class CursorSlot(msgspec.Struct, frozen=True, kw_only=True):
    """What stands at the cursor."""

    text: str
    """The word as far as it is typed, without what is in `head`."""
    head: str = ""
    """What stands before that in the same word: `--queue=`."""
    names: Sequence[Suggestion] = ()
    """The names of commands or options that it may be."""
    values: Values | None = None
    """The values that it may be."""
    operands: Sequence[str] = ()
    """The arguments before it, but for the values of options."""
    database: str | None = None
    """The database that the line names."""
    is_argv: bool = False
    """Whether it belongs to a program and its arguments, behind `--`."""


def slot(words: Sequence[str]) -> CursorSlot:
    """What the last of these words is. They stand behind the name of our program; the last may be empty."""
    *before, text = words
    ahead: list[str] = []
    while before and before[0].partition("=")[0] in _EVERYWHERE:
        width = 1 if "=" in before[0] else 2
        if len(before) < width:
            return CursorSlot(text=text, values=_EVERYWHERE[before[0]])
        ahead += before[:width]
        before = before[width:]
    is_help = before[:1] == ["help"]
    before = before[is_help:]
    for width in (1, 2):
        if (name := " ".join(before[:width])) in commands.COMMANDS and len(before) >= width:
            return _CommandLine(name, [*ahead, *before[width:]]).slot(text) if not is_help else CursorSlot(text=text)
    if text.startswith("-") and not before:
        flag, equals, value = text.partition("=")
        if equals:
            return CursorSlot(text=value, head=flag + equals, values=_EVERYWHERE.get(flag))
        return CursorSlot(text=text, names=[*map(Suggestion, _EVERYWHERE), _HELP, _VERSION])
    return CursorSlot(text=text, names=[*_command_names(before)])


def _command_names(group: Sequence[str]) -> Iterator[Suggestion]:
    """Yield the names of the commands, or of those of a group, each once."""
    found: dict[str, str] = {}
    for name in commands.COMMANDS:
        if name == commands.ALIAS:
            continue
        *outer, last = name.split(" ")
        if outer == [*group]:
            found[last] = SUMMARIES.get(name, "")
        elif not group:
            found[outer[0]] = SUMMARIES.get(outer[0], "")
    yield from (Suggestion(name, text) for name, text in found.items())
    if not group:
        yield Suggestion("help", "Explain a command.")


class _CommandLine:
    """The words of one command, behind its name and before the cursor."""

    def __init__(self, name: str, before: Sequence[str]) -> None:
        command = commands.load(name)
        self._options = [
            each for each in plain_parser.options(command) if "".join(each.described.names).startswith("-")
        ]
        self._flags = {flag: each for each in self._options for flag in each.described.names}
        self._operand_values = partial(_operand_values, command)
        self._runs_argv = name in commands.RUNS_ARGV
        self._operands: list[str] = []
        self._given: dict[str, str] = {}
        self._pending = ""
        """The option whose value comes next."""
        self._end = ""
        """What ended the options: `--`, or of `--each` also `:::`."""
        for word in before:
            self._read(word)

    def _read(self, word: str) -> None:
        if self._pending:
            self._given[self._pending] = word
            self._pending = ""
        elif self._end or word in ("", "-") or not word.startswith(("-", ":::")):
            self._operands.append(word)
        elif word == "--" or (word.startswith(":::") and "--each" in self._given):
            self._end = word
        else:
            flag, equals, value = word.partition("=")
            self._given[flag] = value
            if not equals and flag in self._flags and self._flags[flag].type is not bool:
                self._pending = flag

    def slot(self, text: str) -> CursorSlot:
        """What this word is."""
        if self._end == "--" and self._runs_argv:
            return CursorSlot(text=text, is_argv=True)
        if self._end.startswith(":::"):
            return CursorSlot(text=text, values=FILES)
        found = CursorSlot(text=text, operands=self._operands, database=self._given.get("--db"))
        if self._pending:
            return msgspec.structs.replace(found, values=self._values_of(self._pending))
        flag, equals, value = text.partition("=")
        if text.startswith("-") and not self._end and ":" not in flag:
            if not equals:
                return msgspec.structs.replace(found, names=[*self._flag_names(), _HELP])
            return msgspec.structs.replace(found, text=value, head=flag + equals, values=self._values_of(flag))
        return msgspec.structs.replace(found, values=self._operand_values(len(self._operands)))

    def _values_of(self, flag: str) -> Values | None:
        """The values of an option."""
        option = self._flags.get(flag)
        return values_of(option.type, option.described) if option is not None else None

    def _flag_names(self) -> Iterator[Suggestion]:
        """Yield the names of the options that may be given, or given once more."""
        for option in self._options:
            names = option.described.names
            if option.described.read_all is not None or self._given.keys().isdisjoint(names):
                text = (option.described.help or "").partition(". ")[0].removesuffix(".")
                yield from (Suggestion(name, text) for name in names)


def _operand_values(command: Callable[..., object], place: int) -> Values | None:
    """The values of the argument of a command at a place, counted from 0; None where nothing is known of them."""
    assert isinstance(command, FunctionType)
    code = command.__code__
    names = code.co_varnames[: code.co_argcount]
    if code.co_flags & plain_parser.VARARGS:
        rest = code.co_varnames[code.co_argcount + code.co_kwonlyargcount]
        names = (*names, *(rest for _ in range(place + 1 - len(names))))
    match get_args(command.__annotations__[names[place]]) if place < len(names) else ():
        case type_, p.Parameter() as described:
            return values_of(type_, described)
        case _:
            return None


def values_of(type_: Any, described: p.Parameter) -> Values | None:
    """The values of a parameter: those it names, those of its type, or those that its placeholder stands for."""
    if described.values is not None:
        return described.values
    for part in (type_, *get_args(type_)):
        if get_origin(part) is Literal:
            return words(*get_args(part))
    return OF_PLACEHOLDER.get(described.metavar or "".join(described.names[:1]))

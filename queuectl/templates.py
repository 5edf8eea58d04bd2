"""Many jobs of one template: for each argument a job, with the argument in the place of GNU parallel's `{}`.

In a line of shell an argument is quoted, once: it reaches the program as the word that it is. In an argv, and in the
other fields of a job, it stands as it is.
"""

import re
import shlex
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, Unpack, cast

from msgspec import structs

from queuectl import spec, units
from queuectl.errors import Invalid
from queuectl.job_fields import Fields, Spec
from queuectl.option_kinds import CALLBACK
from queuectl.options import OPTIONS
from queuectl.shell_quoting import ESCAPED, quoted, unquotable

Argument = str | Sequence[str] | Mapping[str, str]
"""What a job is made of: a text (`{}`, `{1}`), several in order (`{1}`, `{2}`), or several by their names."""

_CHANGES: dict[str, Callable[[str], str]] = {
    "": str,
    ".": lambda text: re.sub(r"\.[^/.]*\Z", "", text),
    "/": lambda text: text.rpartition("/")[2],
    "//": lambda text: _folder(text),
    "/.": lambda text: re.sub(r"\.[^/.]*\Z", "", text.rpartition("/")[2]),
}
"""What a placeholder makes of an argument: without its extension, its last part, its folder, its bare name."""

_LINES = {"command", *(option.name for option in OPTIONS if option.kind is CALLBACK)}
"""The fields of Spec that are lines of shell."""

_KEYS = {option.name: option.key for option in OPTIONS}
"""The options by the names of their fields."""

_NUMBER, _ALL = -1, 0
"""In the place of the number of an argument: the number of the job (`{#}`), and all arguments (`{}`)."""

_SLOT = (
    "{%}: which slot runs a job is known only once it starts; after `queuectl resource set slot --indices 1-4`, what "
    "is enqueued with --resource slot has a number of its own in $QUEUECTL_SLOT"
)


class Placeholder(NamedTuple):
    """One placeholder of a template."""

    place: int
    """Which argument, from 1; or `_ALL`, `_NUMBER`."""
    change: Callable[[str], str]

    def values(self, number: int, arguments: Sequence[str]) -> list[str]:
        """The texts for which it stands in the job of this number, from 1."""
        if self.place == _NUMBER:
            return [str(number)]
        return [self.change(text) for text in (arguments if self.place == _ALL else [arguments[self.place - 1]])]


Parts = list[str | Placeholder]
"""A text, cut at its placeholders."""
Cut = Callable[[str, Sequence[str]], Parts]
"""(text, contexts of its characters) -> its parts; see `_cut`."""
Fill = Callable[[int, Sequence[str]], Any]
"""(number, arguments) -> a value of the job of that number."""


def each(
    template: str | Sequence[str] | Spec, arguments: Iterable[Argument], **fields: Unpack[Fields]
) -> Iterator[Spec]:
    """Yield a job for each argument, for `Queue.enqueue_many`.

    `template` is a line of shell, a sequence of words to run without a shell, or a whole Spec; `fields` are those of
    Spec. In all texts `{}` stands for the argument, `{.}` for it without its extension, `{/}` for its last part,
    `{//}` for its folder, `{/.}` for its last part without the extension, and `{#}` for the number of the job, from 1.
    Of several arguments `{1}`, `{2.}` stand for one of them, `{name}` for one that has a name (of a mapping), `{}` for
    all.

    In a line of shell a placeholder may not stand in quotes: what it stands for is quoted. There `\\{}` stays as it is.

    Raises Invalid for a template without a placeholder, for a placeholder that stands for nothing, and for a job that
    can't be; that names the argument.
    """
    plan: Plan | None = None
    for number, argument in enumerate(arguments, 1):
        names = tuple(argument) if isinstance(argument, Mapping) else ()
        values = [argument] if isinstance(argument, str) else [*_listed(argument)]
        if plan is None:
            plan = Plan(spec.described(template, fields), len(values), names)
        elif (len(values), names) != (plan.count, plan.names):
            raise Invalid(f"argument {number}: is not of the same parts as those before it")
        yield plan.job(number, values)


def _listed(argument: Sequence[str] | Mapping[str, str]) -> Iterable[str]:
    return argument.values() if isinstance(argument, Mapping) else argument


class Plan:
    """A template that is ready to be filled in with arguments, of which each job has as many."""

    def __init__(self, template: Spec, count: int = 1, names: Sequence[str] = ()) -> None:
        """`names`: what the arguments are called. Raises Invalid for a bad template."""
        self.count, self.names = count, tuple(names)
        self._template = template
        cut = partial(_cut, count=count, names=self.names)
        self._fills: dict[str, Fill] = {}
        for name, value in structs.asdict(template).items():
            try:
                fill = _line(cut, value) if name in _LINES else _filled(cut, value)
            except Invalid as error:
                raise Invalid(f"{_KEYS[name]}: {error}" if name in _KEYS else str(error)) from None
            if fill is not None:
                self._fills[name] = fill
        if not self._fills:
            line = template.command or shlex.join(template.argv or ())
            named = "" if names or not re.search(_WORD, line) else " ({NAME} is for --csv)"
            raise Invalid(f"there is no placeholder in {line!r}: write {{}} where the argument is to stand{named}")

    @property
    def filled(self) -> Collection[str]:
        """The fields of Spec in which there is a placeholder."""
        return self._fills

    def job(self, number: int, arguments: Sequence[str]) -> Spec:
        """The job of this number, from 1, checked. Raises Invalid, which names the argument."""
        changed = {name: fill(number, arguments) for name, fill in self._fills.items()}
        try:
            return spec.check(structs.replace(self._template, **changed))
        except Invalid as error:
            text = " ".join(arguments)
            text = f"{text[:60]!r}{'…' if len(text) > 60 else ''}"
            raise Invalid(f"argument {number} ({text}): {error}") from None


def _line(cut: Cut, line: Any) -> Fill | None:
    """As `_filled`, of a line of shell."""
    if not isinstance(line, str) or len(parts := cut(line, unquotable(line))) < 2:
        return None
    return partial(_joined, parts, quote=quoted)


def _filled(cut: Cut, value: Any) -> Fill | None:
    """A function that gives the value with the arguments in it; None for a value without a placeholder."""
    match value:
        case str() if len(parts := cut(value, ())) > 1:
            return partial(_joined, parts)
        case dict():
            table = cast("dict[str, Any]", value)
            fills = {key: fill for key, held in table.items() if (fill := _filled(cut, held)) is not None}
            return partial(_table, table, fills) if fills else None
        case (str(), *_):
            words = [cut(word, ()) for word in cast("tuple[str, ...]", value)]
            return partial(_argv, words) if max(map(len, words)) > 1 else None
        case _:
            pass
    return None


def _table(table: dict[str, Any], fills: dict[str, Fill], number: int, arguments: Sequence[str]) -> dict[str, Any]:
    return table | {key: fill(number, arguments) for key, fill in fills.items()}


def _argv(words: list[Parts], number: int, arguments: Sequence[str]) -> tuple[str, ...]:
    return tuple(word for parts in words for word in _words(parts, number, arguments))


def _joined(parts: Parts, number: int, arguments: Sequence[str], *, quote: Callable[[str], str] = str) -> str:
    return "".join(
        part if isinstance(part, str) else " ".join(map(quote, part.values(number, arguments))) for part in parts
    )


def _words(parts: Parts, number: int, arguments: Sequence[str]) -> list[str]:
    """The words that one word becomes: a lone placeholder may stand for several."""
    match parts:
        case ["", Placeholder() as alone, ""]:
            return alone.values(number, arguments)
        case _:
            return [_joined(parts, number, arguments)]


_WORD = r"(?<!\$)\{[A-Za-z_][\w-]*(?:\.|//?|/\.)?\}"


def _cut(text: str, contexts: Sequence[str], count: int, names: Sequence[str]) -> Parts:
    """The text, cut at its placeholders: text and placeholder in turn, text at both ends.

    `contexts`: of a line of shell, those of its characters (`unquotable`). Raises Invalid.
    """
    named = "|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)"
    pattern = rf"\{{(?:(?P<sign>[#%])|(?:(?P<number>\d+)|(?P<name>{named}))?(?P<change>\.|//?|/\.)?)\}}"
    parts: Parts = []
    end = 0
    for found in re.finditer(f"{pattern}|{_WORD}" if names else pattern, text):
        start, context = found.start(), contexts[found.start()] if contexts else ""
        if context == ESCAPED or (contexts and start and text[start - 1] == "$"):
            continue
        if (placeholder := _placeholder(found, context, count, names)) is not None:
            parts += [text[end:start], placeholder]
            end = found.end()
    return [*parts, text[end:]]


def _placeholder(found: re.Match[str], context: str, count: int, names: Sequence[str]) -> Placeholder | None:
    """What stands in the place of this match; None: it is none. Raises Invalid."""
    sign, number, name, change = found.group("sign", "number", "name", "change")
    if sign == "%":
        raise Invalid(_SLOT)
    if sign == "#":
        return Placeholder(_NUMBER, str)
    if found[0] != "{}" and not (number or name or change):  # a name that is none of theirs
        if context:
            return None
        raise Invalid(f"{found[0]}: there is no such column{units.nearest(found[0][1:-1], names)}; there are "
                      f"{', '.join(names)}")  # fmt: skip
    if context:
        raise Invalid(f"{found[0]} stands {context}")
    place = names.index(name) + 1 if name else int(number) if number else _ALL
    if number and not 1 <= place <= count:
        raise Invalid(f"{found[0]}: there {'is 1 argument' if count == 1 else f'are {count} arguments'} for each job")
    return Placeholder(place, _CHANGES[change or ""])


def _folder(path: str) -> str:
    """The folder of a path, as `dirname` names it."""
    above, slash, _ = path.rstrip("/").rpartition("/")
    return above.rstrip("/") or ("/" if slash or path.startswith("/") else ".")

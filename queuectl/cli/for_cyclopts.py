"""The commands as cyclopts reads them: each is an attribute here by its name, its parameters described in its classes.

The commands themselves do not know cyclopts, so that a call that `plain_parser` reads need not import it.
"""

from collections.abc import Callable, Sequence
from types import FunctionType
from typing import Annotated, Any, TypedDict, get_args

from cyclopts import Group, Parameter, Token

from queuectl.cli import commands
from queuectl.cli import parameters as p

_typed_dict: Any = TypedDict  # for a type checker its fields must be spelled out
_EVERYWHERE = Group("Everywhere", sort_key=20)


def __getattr__(name: str) -> Callable[..., object]:
    if name not in commands.COMMANDS:
        raise AttributeError(f"there is no command {name!r}")
    command = commands.load(name)
    assert isinstance(command, FunctionType)
    copy = FunctionType(command.__code__, command.__globals__, command.__name__, command.__defaults__)
    copy.__kwdefaults__, copy.__doc__, copy.__module__ = command.__kwdefaults__, command.__doc__, command.__module__
    copy.__annotations__ = {key: _annotation(hint) for key, hint in command.__annotations__.items()}
    return copy


def _annotation(hint: Any) -> Any:
    """Return an annotation with cyclopts' Parameter in place of ours."""
    match get_args(hint):
        case type_, p.Parameter() as ours:
            return _described(type_, ours)
        case _, p.Options() as ours:
            fields = {key: _described(*each) for key, each in ours.items()}
            return Annotated[_typed_dict("Options", fields, total=False) | None, Parameter(name="*")]
        case _:
            return hint


def _described(type_: Any, ours: p.Parameter) -> Any:
    more: dict[str, Any] = {**ours.extra}
    if ours.name in commands.EVERYWHERE:
        more["group"] = _EVERYWHERE
    if ours.read is not None or ours.read_all is not None:
        more["converter"] = _converter(ours)
    return Annotated[type_, Parameter(name=ours.name, help=ours.help, metavar=ours.metavar, **more)]


def _converter(ours: p.Parameter) -> Callable[[Any, Sequence[Token]], Any]:
    if (read := ours.read) is not None:
        return lambda _type, tokens: read(tokens[0].value)
    read_all = ours.read_all
    assert read_all is not None
    return lambda _type, tokens: read_all([token.value for token in tokens])

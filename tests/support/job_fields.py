"""What is generated from the table of options: `queuectl/job_fields.py`, and the table of docs/reference/job-spec.md.

`python -m tests.support.job_fields` writes both anew.
"""

import re
import textwrap
from collections.abc import Callable, Iterable

from msgspec import UNSET

from queuectl.options import OPTIONS, SETTINGS, Option
from tests.support.paths import ROOT

MODULE = ROOT / "queuectl" / "job_fields.py"
PAGE = ROOT / "docs" / "reference" / "job-spec.md"
COMMAND = "python -m tests.support.job_fields"
"""What writes them."""

_TOP = f'''"""The fields of a job, as the library takes them.

Generated from `queuectl.options` by `{COMMAND}`. Durations are seconds, moments
microseconds UTC.
"""

from typing import Literal, TypedDict

from msgspec import UNSET, Struct, UnsetType
'''

_SPEC = '''

class Spec(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One job as it was asked for. Exactly one of `command` (for a shell) and `argv` (run without a shell) is set.

    What is left out is filled from the settings when the job is enqueued.
    """

    command: str | None = None
    argv: tuple[str, ...] | None = None
'''

_CHANGES = '''

class Changes(Policy, total=False):
    """What may be changed of a job when it is run again; of `command` and `argv` one takes the place of the other."""

    command: str
    argv: tuple[str, ...]
'''


def module() -> str:
    """Return the text of the module."""
    return "".join([
        _TOP,
        _struct("JobSettings(Struct, frozen=True)", "The settings that a job has where it does not say otherwise.",
                SETTINGS, lambda option: f"{_plain(option)} = {_literal(option.kind.read(option.setting or ''))}"),
        _SPEC, *(_field(option, _in_spec(option)) for option in OPTIONS),
        _struct("Policy(TypedDict, total=False)",
                "What may be said of a job beside its command, and be changed when it is run again.",
                [option for option in OPTIONS if not option.only_new], lambda option: option.kind.type),
        _struct("Fields(Policy, total=False)", "What may be said of a new job beside its command.",
                [option for option in OPTIONS if option.only_new], lambda option: option.kind.type),
        _CHANGES,
    ])  # fmt: skip


def _struct(head: str, about: str, options: Iterable[Option], annotation: Callable[[Option], str]) -> str:
    return f'\n\nclass {head}:\n    """{about}"""\n\n' + "".join(_field(each, annotation(each)) for each in options)


def _field(option: Option, annotation: str) -> str:
    lines = [f"{option.name}: {annotation}", *textwrap.wrap(f'"""{option.help}"""', 116)]
    return textwrap.indent("\n".join(lines), "    ") + "\n"


def _plain(option: Option) -> str:
    return "str" if option.kind.type.startswith("Literal") else option.kind.type


def _in_spec(option: Option) -> str:
    kind, default = option.kind.type, option.default
    if default is UNSET:
        return f"{kind.removesuffix(' | None')} | UnsetType | None = UNSET"
    return f"{kind} | None = None" if default is None else f"{kind} = {_literal(default)}"


def _literal(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def table() -> str:
    """Return the table of the page."""
    runs = "a line for a shell; an array is a program and its arguments, run without a shell. Required"
    rows = [("`command`", "string, or array of strings", runs)]
    for option in OPTIONS:
        default = f" ({option.default_text})" if option.default_text else ""
        rows.append((f"`{option.name}`", option.kind.documented, option.help.rstrip(".") + default))
    return "| field | type | meaning |\n|---|---|---|\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)


def page() -> str:
    """Return the text of the page, with its table anew."""
    return re.sub(r"(?m)(^\|.*\n)+", lambda _: table(), PAGE.read_text(encoding="utf-8"), count=1)


if __name__ == "__main__":
    MODULE.write_text(module(), encoding="utf-8")
    PAGE.write_text(page(), encoding="utf-8")

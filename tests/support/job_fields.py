"""What is generated from the table of options: `queuectl/job_fields.py`, and the table of docs/reference/job-spec.md.

`python -m tests.support.job_fields` writes both anew.
"""

import re
import textwrap

from msgspec import UNSET

from queuectl.options import OPTIONS, SETTINGS, Option
from tests.support.paths import ROOT

MODULE = ROOT / "queuectl" / "job_fields.py"
PAGE = ROOT / "docs" / "reference" / "job-spec.md"
COMMAND = "python -m tests.support.job_fields"
"""What writes them."""

_MODULE = '''"""The fields of a job, as the library takes them.

Generated from `queuectl.options` by `{command}`. Durations are seconds, moments
microseconds UTC.
"""

from typing import Literal, TypedDict

from msgspec import UNSET, Struct, UnsetType


class Spec(Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One job as it was asked for. Exactly one of `command` (for a shell) and `argv` (run without a shell) is set.

    What is left out is filled from the settings when the job is enqueued.
    """

    command: str | None = None
    argv: tuple[str, ...] | None = None
{spec}

class JobSettings(Struct, frozen=True):
    """The settings that a job has where it does not say otherwise; see Spec for each."""

{settings}

class Policy(TypedDict, total=False):
    """What may be said of a job beside its command, and be changed when it is run again; see Spec for each."""

{policy}

class Fields(Policy, total=False):
    """What may be said of a new job beside its command."""

{new}

class Changes(Policy, total=False):
    """What may be changed of a job when it is run again; of `command` and `argv` one takes the place of the other."""

    command: str
    argv: tuple[str, ...]


class Edits(Changes, total=False):
    """What may be changed of a job by an edit, as far as it has not come too far for that."""

{edits}'''


def module() -> str:
    """Return the text of the module."""
    return _MODULE.format(
        command=COMMAND,
        spec="".join(f"    {each.name}: {_in_spec(each)}\n{_docstring(each)}" for each in OPTIONS),
        settings="".join(
            f"    {each.name}: {_plain(each)} = {_literal(each.kind.read(each.setting or ''))}\n" for each in SETTINGS
        ),
        policy="".join(f"    {each.name}: {each.kind.type}\n" for each in OPTIONS if not each.only_new),
        edits="".join(f"    {each.name}: {each.kind.type}\n" for each in OPTIONS if each.only_new and each.edit),
        new="".join(f"    {each.name}: {each.kind.type}\n" for each in OPTIONS if each.only_new),
    )


def _docstring(option: Option) -> str:
    return textwrap.indent(textwrap.fill(f'"""{option.help}"""', 116), "    ") + "\n"


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

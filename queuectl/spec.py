"""What a user asks for: one job, read from a JSON spec, a line of a job file or the fields of a call.

A `Spec` says only what was said; what was left out is filled from the settings when the job is enqueued. Nothing here
reads the database.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from msgspec import UNSET, structs

from queuectl import bounds, clock, units
from queuectl.errors import Invalid
from queuectl.job_fields import Spec
from queuectl.option_kinds import MOMENT
from queuectl.options import OF_NAME, OPTIONS, refuse_both

FIELDS = ("command", *(option.name for option in OPTIONS))
"""The fields of a JSON spec."""

_NAMES = FIELDS[1:]
_OPTIONS = len(Spec.__struct_fields__) - len(OPTIONS)
"""Where the options begin among the fields of Spec."""
_DEFAULTS = structs.astuple(Spec())[_OPTIONS:]


def said(spec: Spec) -> dict[str, Any]:
    """What was said of a job beside its command: option by option, in the order of the table."""
    values = structs.astuple(spec)[_OPTIONS:]
    if values == _DEFAULTS:
        return {}
    return {
        name: value
        for name, value, default in zip(_NAMES, values, _DEFAULTS, strict=True)
        if value is not default and value != default  # most are the very default
    }


@cache
def _decoder() -> msgspec.json.Decoder[Any]:
    """Decodes JSON specs as they may be written: with units, and null for what is left out."""
    fields = [(option.name, option.kind.json | None, UNSET) for option in OPTIONS]
    command = ("command", str | list[str] | None, None)
    document = msgspec.defstruct("Document", [command, *fields], forbid_unknown_fields=True)
    return msgspec.json.Decoder(document)


def looks_like_spec(text: str) -> bool:
    """Whether text is meant as a JSON spec: it parses as an object, or begins with `{"`."""
    word = text.lstrip()
    if not word.startswith("{"):
        return False
    if word.startswith('{"'):
        return True
    try:
        return isinstance(msgspec.json.decode(word), dict)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return False


def command_or_spec(text: str) -> Spec:
    """The job that one argument or one line of a job file names: a JSON spec, or else a shell command.

    Checked. Raises Invalid.
    """
    if looks_like_spec(text):
        return parse(text)
    return check(Spec(command=text))


def parse(text: str | bytes) -> Spec:
    """The job that a JSON object describes, checked. Raises Invalid, which names the field."""
    return check(Spec(**read_fields(text)))


def read_fields(text: str | bytes) -> dict[str, Any]:
    """The fields of Spec that a JSON object gives: their bounds are not looked at. Raises Invalid, as `parse` does."""
    try:
        document = _decoder().decode(text)
    except UnicodeEncodeError:
        raise Invalid("the spec is not valid UTF-8") from None
    except msgspec.ValidationError as error:
        raise Invalid(_explain(text, str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        why = str(error).removeprefix("JSON is malformed: ")
        raise Invalid(f"the spec is not valid JSON: {why}") from None
    written: dict[str, Any] = structs.asdict(document)
    command = written.pop("command")
    fields: dict[str, Any] = {}
    if command is not None:
        fields = {"argv": (*command,)} if isinstance(command, list) else {"command": command}
    refuse_both({name for name, value in written.items() if value not in (UNSET, None)})
    for name, value in written.items():
        option = OF_NAME[name]
        if value is UNSET or (value is None and option.default is not UNSET):
            continue
        try:
            read = option.kind.load(value)
        except Invalid as error:
            raise Invalid(f"{name}: {str(error).removeprefix(f'{name}: ')}") from None
        fields |= read if option.kind is MOMENT else {name: read}
    return fields


def as_spec(command: str | Sequence[str] | Spec, fields: Mapping[str, Any]) -> Spec:
    """The job that a call of the library asks for, checked. Raises Invalid, which names the field."""
    return check(described(command, fields))


def described(command: str | Sequence[str] | Spec, fields: Mapping[str, Any]) -> Spec:
    """As `as_spec`, with only the types looked at: bounds are not, and paths stay as they are. Raises Invalid."""
    if isinstance(command, Spec):
        if not fields:
            return command
        said = {name: value for name, value in structs.asdict(command).items() if value is not UNSET}
        return _converted({**said, **fields})
    if isinstance(command, str):
        return _converted({"command": command, **fields}) if fields else Spec(command=command)
    if not isinstance(command, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise Invalid(f"the command must be a string or a sequence of strings, not {command!r}")
    return _converted({"argv": tuple(command), **fields})


def build(fields: Mapping[str, Any]) -> Spec:
    """The job that these fields of Spec describe, checked: types and bounds. Raises Invalid, which names the field."""
    return check(_converted(fields))


def _converted(fields: Mapping[str, Any]) -> Spec:
    for name in fields:
        if name not in Spec.__struct_fields__:
            known = ", ".join(Spec.__struct_fields__)
            raise Invalid(f"unknown field {name!r}{units.nearest(name, Spec.__struct_fields__)}; known: {known}")
    try:
        return msgspec.convert(fields, Spec)
    except msgspec.ValidationError as error:
        raise Invalid(_explain("", str(error))) from None


def document(spec: Spec) -> dict[str, Any]:
    """The JSON object that describes the job: `parse` reads it."""
    command = spec.command if spec.argv is None else [*spec.argv]
    return {"command": command, **said(spec)} | ({"at": clock.text(spec.at)} if spec.at is not None else {})


def filled(spec: Spec, fields: Mapping[str, Any]) -> Spec:
    """The job with these fields wherever it does not say them itself: not checked. Raises Invalid.

    Of variables and names it has both, its own first.
    """
    own = said(spec)
    new: dict[str, Any] = {}
    for name, value in fields.items():
        option = OF_NAME[name]
        if name == "shell" and spec.argv is not None:
            raise Invalid("--shell: what stands behind -- is run without a shell")
        if option.kind.many:
            mine = getattr(spec, name)
            new[name] = value | mine if isinstance(value, dict) else value + mine
        elif not own.keys() & {name, *option.instead_of}:
            new[name] = value
    return structs.replace(spec, **new) if new else spec


def read(lines: Iterable[bytes]) -> Iterator[tuple[int, Spec]]:
    """The jobs of a job file, one JSON spec or plain command a line, each with the number of its line.

    Blank lines and lines that begin with # are none.

    Raises Invalid, which names the line by its number, when it comes to a line that is wrong.
    """
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise Invalid(f"line {number}: not valid UTF-8 (byte {error.start + 1} of the line)") from None
        if not text or text[0] == "#":
            continue
        if (len(text) - len(text.rstrip("\\"))) % 2:
            raise Invalid(
                f"line {number}: ends in a backslash, and a line does not go on here: put the whole command on one line"
            )
        try:
            spec = command_or_spec(text)
        except Invalid as error:
            raise Invalid(f"line {number}: {error}") from None
        yield number, spec


def check(spec: Spec) -> Spec:
    """The same spec with every bound looked at, and its paths absolute. Raises Invalid, which names the field."""
    if spec.command is not None:
        if spec.argv is not None:
            raise Invalid("give a shell command or an argv, not both")
        bounds.check_line(spec.command)
    else:
        bounds.check_argv(spec.argv)
    options = said(spec)
    if not options:
        return spec
    refuse_both(options)
    changed: dict[str, Any] = {}
    for name, value in options.items():
        if (used := OF_NAME[name].kind.check(name, value)) is not value:
            changed[name] = used
    bounds.check_codes(changed.get("ok_codes", ()), changed.get("no_retry_codes", ()))
    if spec.env:
        bounds.check_env(spec.env, spec.env_in_log)
    if twice := spec.env.keys() & spec.secrets.keys():
        raise Invalid(f"{min(twice)} is given as a secret and not as one: choose")
    if spec.on_duplicate not in (None, "keep") and spec.unique is None:
        raise Invalid("on_duplicate: is for a job with a unique key: give --unique KEY as well")
    if spec.shell is not None and spec.command is None:
        raise Invalid("shell: what is given as words is run without a shell")
    return structs.replace(spec, **changed) if changed else spec


_NUMBERS = {"backoff": "a list of durations", **dict.fromkeys(("ok_codes", "no_retry_codes"), "a list of exit codes")}
"""The fields whose array is no list of strings."""


def _explain(text: str | bytes, why: str) -> str:
    """What msgspec found wrong, in the words of the person who wrote the spec."""
    if unknown := re.search(r"unknown field `(.*)`", why):
        return (
            f"unknown field {unknown[1]!r} in the spec{units.nearest(unknown[1], FIELDS)}; known: {', '.join(FIELDS)}"
        )
    kinds = {"int": "a whole number", "float": "a number", "str": "a string", "array": "a list of strings",
             "bool": "true or false", "object": "an object of strings", "null": "null"}  # fmt: skip
    if wrong := re.fullmatch(r"Expected `(.*?)`, got `(.*?)`(?: - at `(?:key in )?\$\.?(.*)`)?", why):
        if wrong[3] in _NUMBERS:
            kinds["array"] = _NUMBERS[wrong[3]]
        wanted = [kinds.get(kind, kind) for kind in wrong[1].split(" | ") if kind != "null"]
        got = kinds.get(wrong[2], wrong[2]).removesuffix(" of strings")
        if not wrong[3]:
            return f"the spec must be a JSON object, not {got}"
        return f"{wrong[3]}: must be {' or '.join(wanted)}, not {got}"
    if place := re.fullmatch(r"(.*) - at `\$\.?(.*)`", why):
        return f"{place[2]}: {place[1][0].lower()}{place[1][1:]}"
    return f"the spec is wrong: {why}"

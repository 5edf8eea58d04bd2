"""What a user asks for: one job, read from a JSON spec, a line of a job file or the fields of a call.

A `Spec` says only what was said; what was left out (None) is filled from the settings when the job is enqueued.
Nothing here reads the database.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, TypedDict

import msgspec
from msgspec import UNSET, UnsetType

from queuectl import units
from queuectl.errors import Invalid

LONGEST_ARGUMENT = 131_071
"""Bytes of one argument or variable that Linux passes to a program (MAX_ARG_STRLEN less the closing NUL)."""

LONGEST_COMMAND = 1 << 20
"""Bytes of a whole argv and of a whole environment."""

MOST_RETRIES = 1_000_000
PRIORITIES = (-(2**31), 2**31 - 1)
BASES = (1.0, 1e6)
JITTERS = (0.0, 1.0)
ON_LOST = ("retry", "dead")

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class Fields(TypedDict, total=False):
    """What may be said of a job beside its command; see Spec for each."""

    id: str
    queue: str
    priority: int
    delay: float
    at: int
    max_retries: int
    backoff_base: float
    backoff_max: float
    jitter: float
    timeout: float | None
    env: dict[str, str]
    cwd: str
    stdin: str
    on_lost: Literal["retry", "dead"]
    keep_children: bool
    reason: str


class Spec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One job as it was asked for. Exactly one of `command` (for /bin/sh) and `argv` (run without a shell) is set."""

    command: str | None = None
    argv: tuple[str, ...] | None = None
    id: str | None = None
    queue: str = "default"
    priority: int = 0
    """Higher first."""
    delay: float | None = None
    """Seconds until it may run; at most one of `delay` and `at`."""
    at: int | None = None
    """The moment from which it may run, microseconds UTC."""
    max_retries: int | None = None
    backoff_base: float | None = None
    backoff_max: float | None = None
    """Seconds."""
    jitter: float | None = None
    """The fraction of each delay (0 to 1) by which it is randomly longer or shorter."""
    timeout: float | UnsetType | None = UNSET
    """Seconds; None: no timeout; UNSET: what the settings say."""
    env: dict[str, str] = {}
    cwd: str | None = None
    """Absolute after `check`; None: the working directory of whoever enqueues."""
    stdin: str | None = None
    """The file to read from; absolute after `check`; None: /dev/null."""
    on_lost: Literal["retry", "dead"] | None = None
    keep_children: bool = False
    """Leave what the command left running in the background, rather than ending it with the command."""
    reason: str | None = None


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON spec as it may be written: strings where people write units."""

    command: str | list[str] | None = None
    id: str | None = None
    queue: str | None = None
    priority: int | None = None
    delay: float | str | None = None
    at: str | float | None = None
    max_retries: int | None = None
    backoff_base: float | None = None
    backoff_max: float | str | None = None
    jitter: float | None = None
    timeout: float | str | UnsetType | None = UNSET
    env: dict[str, str] | None = None
    cwd: str | None = None
    stdin: str | None = None
    on_lost: str | None = None
    keep_children: bool | None = None
    reason: str | None = None


FIELDS = _Document.__struct_fields__
"""The fields of a JSON spec."""

_document = msgspec.json.Decoder(_Document)


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


def given(text: str) -> Spec:
    """The job that one argument or one line of a job file names: a JSON spec, or else a shell command.

    Checked. Raises Invalid.
    """
    if looks_like_spec(text):
        return parse(text)
    return check(Spec(command=text))


def parse(text: str | bytes) -> Spec:
    """The job that a JSON object describes, checked. Raises Invalid, which names the field."""
    try:
        document = _document.decode(text)
    except UnicodeEncodeError:
        raise Invalid("the spec is not valid UTF-8") from None
    except msgspec.ValidationError as error:
        raise Invalid(_explain(text, str(error))) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        why = str(error).removeprefix("JSON is malformed: ")
        raise Invalid(f"the spec is not valid JSON: {why}") from None
    command = document.command
    fields: dict[str, Any] = {"command": command} if not isinstance(command, list) else {"argv": tuple(command)}
    for name in ("id", "queue", "priority", "max_retries", "backoff_base", "jitter", "env", "cwd", "stdin", "on_lost",
                 "keep_children", "reason"):  # fmt: skip
        if (value := getattr(document, name)) is not None:
            fields[name] = value
    if document.delay is not None:
        fields["delay"] = _seconds("delay", document.delay)
    if document.backoff_max is not None:
        fields["backoff_max"] = _seconds("backoff_max", document.backoff_max)
    if document.at is not None:
        fields |= _when(document.at)
    if document.timeout is not UNSET:
        fields["timeout"] = None if document.timeout in (None, "none") else _seconds("timeout", document.timeout)
    if document.at is not None and document.delay is not None:
        raise Invalid("give delay or at, not both")
    return check(Spec(**fields))


def build(fields: Mapping[str, Any]) -> Spec:
    """The job that these fields of Spec describe, checked: types and bounds. Raises Invalid, which names the field."""
    for name in fields:
        if name not in Spec.__struct_fields__:
            known = ", ".join(Spec.__struct_fields__)
            raise Invalid(f"unknown field {name!r}{units.nearest(name, Spec.__struct_fields__)}; known: {known}")
    try:
        return check(msgspec.convert(fields, Spec))
    except msgspec.ValidationError as error:
        raise Invalid(_explain("", str(error))) from None


def read(lines: Iterable[bytes]) -> Iterator[Spec]:
    """The jobs of a job file, one JSON spec or plain command a line; blank lines and lines that begin with # are none.

    Raises Invalid, which names the line by its number, when it comes to a line that is wrong.
    """
    for number, line in enumerate(lines, 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
        except UnicodeDecodeError as error:
            raise Invalid(f"line {number}: not valid UTF-8 (byte {error.start + 1} of the line)") from None
        if not text or text[0] == "#":
            continue
        try:
            spec = given(text)
        except Invalid as error:
            raise Invalid(f"line {number}: {error}") from None
        yield spec


def check(spec: Spec) -> Spec:
    """The same spec with every bound looked at, and its paths absolute. Raises Invalid, which names the field."""
    if spec.command is not None:
        if spec.argv is not None:
            raise Invalid("give a shell command or an argv, not both")
        if not spec.command or spec.command.isspace():
            raise Invalid("the command is empty")
        _passable("the command", spec.command)
    else:
        _check_argv(spec.argv)
    if spec.id is not None:
        check_id(spec.id)
    if spec.queue != "default":
        check_queue(spec.queue)
    if spec.delay is not None and spec.at is not None:
        raise Invalid("give delay or at, not both")
    if spec.priority:
        _within("priority", spec.priority, *PRIORITIES)
    if spec.max_retries is not None:
        _within("max_retries", spec.max_retries, 0, MOST_RETRIES)
    if spec.backoff_base is not None:
        _within("backoff_base", spec.backoff_base, *BASES)
    if spec.jitter is not None:
        _within("jitter", spec.jitter, *JITTERS)
    if spec.delay is not None:
        _within("delay", spec.delay, 0, units.LONGEST)
    if spec.at is not None:
        _within("at", spec.at, 0, 253_402_300_799_999_999)  # the end of the year 9999
    if spec.backoff_max is not None:
        _within("backoff_max", spec.backoff_max, 0, units.LONGEST)
    if spec.timeout is not UNSET and spec.timeout is not None:
        check_timeout(spec.timeout)
    if spec.on_lost is not None and spec.on_lost not in ON_LOST:
        raise Invalid(f"on_lost: {spec.on_lost!r} is not one of {', '.join(ON_LOST)}")
    if spec.reason is not None:
        check_reason(spec.reason)
    if spec.env:
        check_env(spec.env)
    if spec.cwd is not None or spec.stdin is not None:
        return msgspec.structs.replace(spec, cwd=_path("cwd", spec.cwd), stdin=_path("stdin", spec.stdin))
    return spec


def check_id(id: str) -> str:
    """The same id, if a user may give it to a job. Raises Invalid."""
    _name("id", id)
    if id.isdigit():
        raise Invalid(f"id: {id!r} is all digits; such ids are made by the queue itself: put a letter into it")
    return id


def check_queue(queue: str) -> str:
    """The same name, if a queue may have it. Raises Invalid."""
    _name("queue", queue)
    if " " in queue or "," in queue:
        raise Invalid(f"queue: {queue!r} has a space or a comma in it")
    return queue


def check_timeout(seconds: float) -> float:
    """The same timeout, if an attempt can have it. Raises Invalid."""
    if not 0 < seconds <= units.LONGEST:
        raise Invalid(f"timeout: {seconds:g} is not a duration above 0 and up to 100 years; 'none' is no timeout")
    return seconds


def check_reason(reason: str) -> str:
    """The same reason, if it can stand in the log. Raises Invalid."""
    _passable("reason", reason)
    return reason


def check_env(env: dict[str, str]) -> dict[str, str]:
    """The same variables, if a command can be started with them. Raises Invalid."""
    total = 0
    for name, value in env.items():
        if not _VARIABLE.fullmatch(name):
            raise Invalid(f"env: {name!r} is not the name of a variable (letters, digits and _)")
        total += _passable(f"env {name}", value)
    if total > LONGEST_COMMAND:
        raise Invalid(f"env: {total} bytes of variables; at most {LONGEST_COMMAND} can be passed to a command")
    return env


def _check_argv(argv: tuple[str, ...] | None) -> None:
    if argv is None:
        raise Invalid("there is no command")
    if not argv or not argv[0]:
        raise Invalid("the command is empty")
    total = sum(_passable("the command", word) for word in argv)
    if total > LONGEST_COMMAND:
        raise Invalid(f"the command is {total} bytes long; at most {LONGEST_COMMAND} can be run: put it in a script")


def _passable(what: str, text: str) -> int:
    """The bytes of a text that can be an argument of a program. Raises Invalid."""
    if "\0" in text:
        raise Invalid(f"{what}: has a NUL byte in it, which no program can be given")
    try:
        length = len(text) if text.isascii() else len(text.encode())
    except UnicodeEncodeError:
        raise Invalid(f"{what}: is not valid UTF-8") from None
    if length > LONGEST_ARGUMENT:
        raise Invalid(
            f"{what}: is {length} bytes long; a program is given at most {LONGEST_ARGUMENT} at once: put it in a file"
        )
    return length


def _name(what: str, name: str) -> None:
    if not name:
        raise Invalid(f"{what}: is empty")
    if not name.isprintable() or name != name.strip():
        raise Invalid(f"{what}: {name!r} has control characters, or spaces at an end")
    if "/" in name or name[0] == "-" or name in (".", ".."):
        raise Invalid(f"{what}: {name!r} may have no '/' in it, not begin with '-' and not be '.' or '..'")
    if len(name.encode()) > 200:
        raise Invalid(f"{what}: is {len(name.encode())} bytes long; at most 200")


def _within(what: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # also false for nan
        raise Invalid(f"{what}: {value!r} is not from {units.plain(low)} to {units.plain(high)}")


def _path(what: str, path: str | None) -> str | None:
    if path is None:
        return None
    if not path:
        raise Invalid(f"{what}: is empty")
    _passable(what, path)
    try:
        return os.path.abspath(path)
    except OSError as error:
        raise Invalid(f"{what}: {path!r} is relative, and the working directory is gone ({error.strerror})") from None


def _seconds(what: str, value: float | str) -> float:
    try:
        return units.duration(value) if isinstance(value, str) else units.bounded(value, f"{value:g}")
    except Invalid as error:
        raise Invalid(f"{what}: {error}") from None


def when(text: str) -> dict[str, Any]:
    """`{"delay": seconds}` for a duration ahead, or `{"at": microseconds}` for a moment. Raises Invalid."""
    try:
        return {"delay": units.duration(text)}
    except Invalid:
        return {"at": units.moment(text)}


def _when(value: float | str) -> dict[str, Any]:
    try:
        return when(value if isinstance(value, str) else f"{value:f}")
    except Invalid as error:
        raise Invalid(f"at: {error}") from None


def _explain(text: str | bytes, why: str) -> str:
    """What msgspec found wrong, in the words of the person who wrote the spec."""
    if unknown := re.search(r"unknown field `(.*)`", why):
        return (
            f"unknown field {unknown[1]!r} in the spec{units.nearest(unknown[1], FIELDS)}; known: {', '.join(FIELDS)}"
        )
    kinds = {"int": "a whole number", "float": "a number", "str": "a string", "array": "a list of strings",
             "bool": "true or false", "object": "an object of strings", "null": "null"}  # fmt: skip
    if wrong := re.fullmatch(r"Expected `(.*?)`, got `(.*?)`(?: - at `(?:key in )?\$\.?(.*)`)?", why):
        wanted = [kinds.get(kind, kind) for kind in wrong[1].split(" | ") if kind != "null"]
        got = kinds.get(wrong[2], wrong[2]).removesuffix(" of strings")
        if not wrong[3]:
            return f"the spec must be a JSON object, not {got}"
        return f"{wrong[3]}: must be {' or '.join(wanted)}, not {got}"
    if place := re.fullmatch(r"(.*) - at `\$\.?(.*)`", why):
        return f"{place[2]}: {place[1][0].lower()}{place[1][1:]}"
    return f"the spec is wrong: {why}"

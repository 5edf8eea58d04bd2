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

from queuectl import clock, units
from queuectl.bounds import (
    BASES,
    JITTERS,
    MOST_RETRIES,
    ON_LOST,
    PRIORITIES,
    check_argv,
    check_env,
    check_id,
    check_queue,
    check_reason,
    check_secrets,
    check_shell,
    check_timeout,
    passable,
    within,
)
from queuectl.errors import Invalid


class Policy(TypedDict, total=False):
    """What may be said of a job beside its command, and be changed when it is run again; see Spec for each."""

    priority: int
    max_retries: int
    backoff_base: float
    backoff_max: float
    jitter: float
    timeout: float | None
    env: dict[str, str]
    env_in_log: tuple[str, ...]
    secrets: dict[str, str]
    shell: str
    cwd: str
    stdin: str
    on_lost: Literal["retry", "dead"]
    keep_children: bool
    reason: str


class Fields(Policy, total=False):
    """What may be said of a new job beside its command."""

    id: str
    queue: str
    delay: float
    at: int


class Changes(Policy, total=False):
    """What may be changed of a job when it is run again; of `command` and `argv` one takes the place of the other."""

    command: str
    argv: tuple[str, ...]


class Spec(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """One job as it was asked for. Exactly one of `command` (for a shell) and `argv` (run without a shell) is set."""

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
    """Variables over those that are kept (`keep-env`); they stand in the log."""
    env_in_log: tuple[str, ...] = ()
    """Names in `env` that look as if their values were secret, and are to stand in the log all the same."""
    secrets: dict[str, str] = {}
    """Variables whose values are kept apart from the log."""
    shell: str | None = None
    """What runs `command`: an absolute path."""
    cwd: str | None = None
    """Absolute after `check`; None: the enqueuer's working directory."""
    stdin: str | None = None
    """The file to read from; absolute after `check`; `-`: this process's stdin; None: /dev/null."""
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
    env_in_log: tuple[str, ...] | None = None
    secrets: dict[str, str] | None = None
    shell: str | None = None
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


def command_or_spec(text: str) -> Spec:
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
    for name in ("id", "queue", "priority", "max_retries", "backoff_base", "jitter", "env", "env_in_log", "secrets",
                 "shell", "cwd", "stdin", "on_lost", "keep_children", "reason"):  # fmt: skip
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
        if (len(text) - len(text.rstrip("\\"))) % 2:
            raise Invalid(
                f"line {number}: ends in a backslash, and a line does not go on here: put the whole command on one line"
            )
        try:
            spec = command_or_spec(text)
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
        passable("the command", spec.command)
    else:
        check_argv(spec.argv)
    if spec.id is not None:
        check_id(spec.id)
    if spec.queue != "default":
        check_queue(spec.queue)
    if spec.delay is not None and spec.at is not None:
        raise Invalid("give delay or at, not both")
    if spec.priority:
        within("priority", spec.priority, *PRIORITIES)
    if spec.max_retries is not None:
        within("max_retries", spec.max_retries, 0, MOST_RETRIES)
    if spec.backoff_base is not None:
        within("backoff_base", spec.backoff_base, *BASES)
    if spec.jitter is not None:
        within("jitter", spec.jitter, *JITTERS)
    if spec.delay is not None:
        within("delay", spec.delay, 0, units.LONGEST)
    if spec.at is not None:
        within("at", spec.at, 0, units.LATEST)
    if spec.backoff_max is not None:
        within("backoff_max", spec.backoff_max, 0, units.LONGEST)
    if spec.timeout is not UNSET and spec.timeout is not None:
        check_timeout(spec.timeout)
    if spec.on_lost is not None and spec.on_lost not in ON_LOST:
        raise Invalid(f"on_lost: {spec.on_lost!r} is not one of {', '.join(ON_LOST)}")
    if spec.reason is not None:
        check_reason(spec.reason)
    if spec.env:
        check_env(spec.env, spec.env_in_log)
    if spec.secrets:
        check_secrets(spec.secrets)
        if twice := spec.env.keys() & spec.secrets.keys():
            raise Invalid(f"{min(twice)} is given as a secret and not as one: choose")
    if spec.shell is not None:
        if spec.command is None:
            raise Invalid("shell: what is given as words is run without a shell")
        check_shell(spec.shell)
    if spec.cwd is not None or spec.stdin is not None:
        return msgspec.structs.replace(spec, cwd=_folder(spec.cwd), stdin=_input(spec.stdin))
    return spec


def working_directory() -> str:
    """The working directory as its user names it: `$PWD`, where that is the same folder, symbolic links and all.

    Raises FileNotFoundError where it is gone.
    """
    named = os.environ.get("PWD", "")
    if named.startswith("/") and not {".", ".."}.intersection(named.split("/")):
        try:
            if os.path.samestat(os.stat(named), os.stat(".")):
                named.encode()
                return named
        except (OSError, ValueError):
            pass
    return os.getcwd()


def _folder(path: str | None) -> str | None:
    found = _path("cwd", path)
    if not path or path.startswith("/") or ".." in path.split("/"):
        return found  # `..` is what the system calls so: the folder above, not the one in which a link to this stands
    return os.path.normpath(os.path.join(working_directory(), path))


def _input(path: str | None) -> str | None:
    return path if path == "-" else _path("stdin", path)


def _path(what: str, path: str | None) -> str | None:
    if path is None:
        return None
    if not path:
        raise Invalid(f"{what}: is empty")
    passable(what, path)
    try:
        return os.path.abspath(path)
    except OSError as error:
        raise Invalid(f"{what}: {path!r} is relative, and the working directory is gone ({error.strerror})") from None


def _seconds(what: str, value: float | str) -> float:
    try:
        return units.duration(value) if isinstance(value, str) else units.seconds(value)
    except Invalid as error:
        raise Invalid(f"{what}: {error}") from None


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


def _when(value: float | str) -> dict[str, Any]:
    try:
        return when(value if isinstance(value, str) else units.decimal(value))
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

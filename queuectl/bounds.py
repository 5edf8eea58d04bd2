"""The bounds of what a user may ask for: every value is looked at before anything is made of it (R2)."""

import re
from collections.abc import Collection

from queuectl import units
from queuectl.environment import looks_secret
from queuectl.errors import Invalid
from queuectl.events import BATCH

LONGEST_ARGUMENT = 131_071
"""Bytes of one argument or variable that Linux passes to a program (MAX_ARG_STRLEN less the closing NUL)."""

LONGEST_COMMAND = 1 << 20
"""Bytes of a whole argv and of a whole environment."""

MOST_RETRIES = 1_000_000
PRIORITIES = (-(2**31), 2**31 - 1)
BASES = (1.0, 1e6)
JITTERS = (0.0, 1.0)
ON_LOST = ("retry", "dead")
ON_DUPLICATE = ("keep", "replace", "fail")
MOST_SLOTS = 10_000
MOST_TAGS = 100
LEAST_MEMORY, MOST_MEMORY = 4 << 20, 1 << 50
"""Bytes: with less, a shell can't begin."""
LONGEST_NOTE = 1000
"""Characters of a note."""
MOST_STEPS = 100
"""Delays of a backoff that lists them."""

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def check_id(id: str) -> str:
    """The same id, if a user may give it to a job. Raises Invalid."""
    check_name("id", id)
    if id.isdigit():
        raise Invalid(f"id: {id!r} is all digits; such ids are made by the queue itself: put a letter into it")
    if id.startswith(BATCH):
        raise Invalid(f"id: {id!r} would be taken for a batch: let it begin otherwise")
    return id


def check_key(key: str) -> str:
    """The same unique key, if a job may have it. Raises Invalid."""
    passable("unique", key)
    if not key.strip() or len(key.encode()) > 500:
        raise Invalid(f"unique: {key[:40]!r} is empty, or longer than 500 bytes")
    return key


def check_batch(name: str) -> str:
    """The same name, if a batch may have it. Raises Invalid."""
    check_name("batch", name)
    if " " in name or "," in name:
        raise Invalid(f"batch: {name!r} has a space or a comma in it")
    return name


def check_label(name: str) -> str:
    """The same label, if others can refer to it. Raises Invalid."""
    check_name("name", name)
    if " " in name or "," in name or name.startswith("@"):
        raise Invalid(f"name: {name!r} has a space or a comma in it, or begins with @")
    return name


def check_ids(name: str, ids: Collection[str]) -> tuple[str, ...]:
    """The same ids, each once, if jobs can have them; labels of a file and `batch:NAME` too. Raises Invalid."""
    for id in ids:
        if id.startswith(BATCH):
            check_batch(id.removeprefix(BATCH))
        check_name(name, id)
    return (*dict.fromkeys(ids),)


def check_tags(tags: dict[str, str]) -> dict[str, str]:
    """The same tags, if filters can name them. Raises Invalid."""
    if len(tags) > MOST_TAGS:
        raise Invalid(f"tag: {len(tags)} of them; at most {MOST_TAGS}")
    for key, value in tags.items():
        check_name("tag", key)
        if set(key) & set(" ,="):
            raise Invalid(f"tag: {key!r} has a space, a comma or '=' in it")
        if not value.isprintable() or len(value.encode()) > 200:
            raise Invalid(f"tag: {key}={value!r} has control characters, or more than 200 bytes")
    return tags


def check_queue(queue: str) -> str:
    """The same name, if a queue may have it. Raises Invalid."""
    check_name("queue", queue)
    if " " in queue or "," in queue:
        raise Invalid(f"queue: {queue!r} has a space or a comma in it")
    return queue


def check_timeout(seconds: float) -> float:
    """The same timeout, if an attempt can have it. Raises Invalid."""
    if not 0 < seconds <= units.LONGEST:
        raise Invalid(f"timeout: {seconds:g} is not a duration above 0 and up to 100 years; 'none' is no timeout")
    return seconds


def check_memory(size: int) -> int:
    """The same limit of memory, if a command can be started within it. Raises Invalid."""
    if not LEAST_MEMORY <= size <= MOST_MEMORY:
        least, most = units.size_text(LEAST_MEMORY), units.size_text(MOST_MEMORY)
        raise Invalid(f"memory_limit: {size} bytes are not from {least} to {most}; write 64M or 2G, or none")
    return size


def check_reason(reason: str) -> str:
    """The same reason, if it can stand in the log. Raises Invalid."""
    passable("reason", reason)
    return reason


def check_note(text: str) -> str:
    """The same text, if it can be a note. Raises Invalid."""
    passable("note", text)
    if not text.strip():
        raise Invalid("note: is empty: say what is to be noted")
    if len(text) > LONGEST_NOTE:
        raise Invalid(
            f"note: is {len(text):,} characters long; at most {LONGEST_NOTE:,}: print it, and it is in the output"
        )
    return text


def check_shell(path: str) -> str:
    """The same path, if it can name a shell: whether it is there is found out when the job starts. Raises Invalid."""
    if not path.startswith("/") or path.endswith("/"):
        raise Invalid(f"shell: {path!r} is not the absolute path of a shell, as /bin/bash is")
    passable("shell", path)
    return path


def check_env(env: dict[str, str], in_log: Collection[str] = ()) -> dict[str, str]:
    """The same variables, if they can stand in the log and a command can be started with them.

    One whose name looks as if its value were secret must be named in `in_log`. Raises Invalid.
    """
    for name in env:
        if looks_secret(name) and name not in in_log:
            raise Invalid(
                f"env: {name} looks like a secret, and the log is never rewritten: give it with --secret (or, to have "
                f"it in the log, with --env-in-log {name})"
            )
    return check_variables("env", env)


def check_variables(what: str, variables: dict[str, str]) -> dict[str, str]:
    """The same variables, if a command can be started with them. Raises Invalid, which begins with `what`."""
    total = 0
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name):
            raise Invalid(f"{what}: {name!r} is not the name of a variable (letters, digits and _)")
        total += passable(f"{what} {name}", value)
    if total > LONGEST_COMMAND:
        raise Invalid(f"{what}: {total} bytes of variables; at most {LONGEST_COMMAND} can be passed to a command")
    return variables


def check_line(line: str) -> str:
    """The same command line, if a shell can be given it. Raises Invalid."""
    if not line or line.isspace():
        raise Invalid("the command is empty")
    passable("the command", line)
    return line


def check_argv(argv: tuple[str, ...] | None) -> None:
    """Look whether a program can be started with these words. Raises Invalid."""
    if argv is None:
        raise Invalid("there is no command")
    if not argv or not argv[0]:
        raise Invalid("the command is empty")
    total = sum(passable("the command", word) for word in argv)
    if total > LONGEST_COMMAND:
        raise Invalid(f"the command is {total} bytes long; at most {LONGEST_COMMAND} can be run: put it in a script")


def check_codes(ok: Collection[int], no_retry: Collection[int]) -> None:
    """Look whether an exit code is to be success and a failure. Raises Invalid."""
    if both := {*ok} & {*no_retry}:
        raise Invalid(f"exit code {min(both)} is among ok-codes and among no-retry-codes: choose")


def passable(what: str, text: str) -> int:
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


def check_name(what: str, name: str) -> None:
    """Look whether this can be the name of something, and of a file. Raises Invalid."""
    if not name:
        raise Invalid(f"{what}: is empty")
    if not name.isprintable() or name != name.strip():
        raise Invalid(f"{what}: {name!r} has control characters, or spaces at an end")
    if "/" in name or name[0] == "-" or name in (".", ".."):
        raise Invalid(f"{what}: {name!r} may have no '/' in it, not begin with '-' and not be '.' or '..'")
    if len(name.encode()) > 200:
        raise Invalid(f"{what}: is {len(name.encode())} bytes long; at most 200")


def within(what: str, value: float, low: float, high: float) -> float:
    """The same number, if it lies within its bounds. Raises Invalid."""
    if not low <= value <= high:  # also false for nan
        raise Invalid(f"{what}: {value!r} is not from {units.plain(low)} to {units.plain(high)}")
    return value

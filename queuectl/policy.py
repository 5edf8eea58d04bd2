"""From what a user asked for to the policy that stands in the log: a `Spec` with the settings filled in."""

import os
import stat
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import to_builtins
from msgspec.structs import replace

from queuectl.clock import SECOND, text
from queuectl.errors import Invalid, Unusable, shown
from queuectl.events import SHELL, Enqueued
from queuectl.home import Home
from queuectl.host.atomic_file import write_file
from queuectl.settings import Settings
from queuectl.spec import Spec

STDIN_LIMIT = 64 << 20
"""Bytes of input that are copied for a job."""


def template(settings: Settings, now: int, here: str, environment: str | None = None) -> Enqueued:
    """The policy of a job of which only its command was said (and that is still to be filled in).

    `now` is µs UTC, `here` the enqueuer's folder, `environment` names what is kept of the enqueuer's.
    """
    return Enqueued(
        run_at=text(now),
        cwd=here,
        environment=environment,
        shell=settings.shell,
        timeout=settings.timeout,
        max_retries=settings.max_retries,
        backoff_base=settings.backoff_base,
        backoff_max=settings.backoff_max,
        jitter=settings.jitter,
        on_lost=settings.on_lost,
    )


DEFAULTS = ("max_retries", "backoff_base", "backoff_max", "jitter", "timeout", "on_lost", "shell")
"""The fields of a job that settings fill in where it does not say them itself."""


def check_settings(settings: Settings, spec: Spec) -> None:
    """Raise, as QueueError, what is wrong with a setting that this job needs."""
    if settings.unusable:
        said = to_builtins(spec)
        settings.require("keep_env", *(field for field in DEFAULTS if field not in said))


def resolve(spec: Spec, base: Enqueued, now: int, stdin: str | None) -> Enqueued:
    """A job's whole policy: the template with all that was said of the job. `now` is µs UTC, `stdin` the name of the
    copied input."""
    said: dict[str, Any] = to_builtins(spec)  # without what was left out
    said.pop("id", None)
    said.pop("env_in_log", None)
    if spec.argv is not None:
        said |= {"argv": list(spec.argv), "shell": SHELL}
    if spec.secrets:
        said["secrets"] = sorted(spec.secrets)
    if spec.stdin is not None:
        said["stdin"] = stdin
    if spec.at is not None:
        said["run_at"] = text(said.pop("at"))
    elif spec.delay is not None:
        said["run_at"] = text(now + round(said.pop("delay") * SECOND))
    return replace(base, **said)


def edit(before: Enqueued, said: Mapping[str, Any], stdin: str | None) -> Enqueued:
    """A job's whole policy with changes: `said` has values of a checked Spec, `stdin` the name of the copied input."""
    new = {name: value for name, value in said.items() if name != "env_in_log"}
    if "command" in new:
        new["argv"] = None
    elif "argv" in new:
        new |= {"argv": list(new["argv"]), "command": None, "shell": SHELL}
    if "env" in new:
        new["env"] = before.env | new["env"]
    if "stdin" in new:
        new["stdin"] = stdin
    return replace(before, **new)


def copy_stdin(path: str, home: Home, is_database: Callable[[str], bool]) -> str:
    """Copy a job's input into the queue's folder and give the copy's name: the same content has the same name.

    Only a regular file, or `-` for what this process reads, to its end; up to 64 MiB. A file for which
    `is_database` is true is not opened. Raises Invalid.
    """
    import hashlib

    data = _stdin() if path == "-" else _file(path, is_database)
    if len(data) > STDIN_LIMIT:
        what = "what is piped in" if path == "-" else repr(path)
        raise Invalid(
            f"stdin: {what} is larger than {STDIN_LIMIT >> 20} MiB; put it into a file that the command opens itself"
        )
    name = hashlib.sha256(data).hexdigest()
    target = f"{home.stdin}/{name}"
    if not os.path.exists(target):
        try:
            write_file(target, data, replace=True)
        except OSError as error:
            raise Unusable(f"{shown(home.stdin)}: can't keep the input: {error.strerror}") from error
    return name


def _stdin() -> bytes:
    """What this process is given to read, as far as the limit needs it."""
    try:
        with open(0, "rb", closefd=False) as source:
            return source.read(STDIN_LIMIT + 1)
    except OSError as error:
        raise Invalid(f"stdin: can't read what this command was given: {error.strerror}") from None


def _file(path: str, is_database: Callable[[str], bool]) -> bytes:
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise Invalid(f"stdin: {path!r} is not a regular file; give one, or pipe it into --stdin -")
        if is_database(path):
            # To close it again would drop SQLite's locks.
            raise Invalid(f"stdin: {path!r} is the queue's own database; give a copy of it")
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as source:
            return source.read(STDIN_LIMIT + 1)
    except OSError as error:
        raise Invalid(f"stdin: can't read {path!r}: {error.strerror}") from None

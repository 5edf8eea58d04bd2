"""The options of a job, as `enqueue`, `run` and `retry` take them, and the job that a command line describes."""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from queuectl import settings, spec, units
from queuectl.cli import parameters as p
from queuectl.cli.ui import output
from queuectl.errors import Invalid
from queuectl.job_fields import Spec
from queuectl.options import EDITABLE, OPTIONS, refuse_both

if TYPE_CHECKING:
    from queuectl.queue import Queue

Command = Annotated[
    str | None,
    p.Parameter(
        name="COMMAND",
        help="A line for /bin/sh, or a job spec as a JSON object. Behind -- a program and its "
        "arguments, run without a shell.",
    ),
]
Words = Annotated[str, p.Parameter(name="WORD", extra={"show": False})]
Argv = Annotated[tuple[str, ...] | None, p.Parameter(extra={"parse": False})]

Cascade = Annotated[
    bool,
    p.Parameter(
        name="--cascade", help="Also run again the jobs that were cancelled because these ended as they did, and so on."
    ),
]
IgnoreDependencies = Annotated[
    bool,
    p.Parameter(name="--ignore-dependencies", help="Run them whatever has become of the jobs that they depend on."),
]

if TYPE_CHECKING:
    JobOptions = Mapping[str, Any] | None
    ChangeOptions = Mapping[str, Any] | None
    EditOptions = Mapping[str, Any] | None
else:
    _NewLine = (str | None, p.option("--command", "COMMAND", "Run this line instead.", allow_leading_hyphen=True))
    _Changes = {option.name: p.job_option(option) for option in OPTIONS if not option.only_new}
    JobOptions = p.options({option.name: p.job_option(option) for option in OPTIONS if not option.only_in_specs})
    """All options of a new job; only given ones are present."""
    ChangeOptions = p.options({**_Changes, "command": _NewLine})
    """The options that change a job when it is retried."""
    _Edits = {option.name: p.job_option(option) for option in OPTIONS if option.name in EDITABLE}
    EditOptions = p.options({"command": _NewLine, **_Edits})
    """The options that change a job by an edit."""


def given_fields(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of a Spec that the options set. Raises Invalid."""
    fields = dict(options or {})
    refuse_both(fields, lambda option: f"--{option.key}")
    return fields | fields.pop("at", {})


def spec_from_words(command: str | None, words: tuple[str, ...], argv: tuple[str, ...] | None, verb: str) -> Spec:
    """Return the job that the words of a command line describe. Raises Invalid."""
    if argv is not None:
        if command is not None:
            raise Invalid(f"{command!r} stands before --; what is to run stands behind it")
        return spec.check(Spec(argv=argv))
    if command is None:
        raise Invalid(f"{verb} needs a COMMAND, or a program behind --; see queuectl {verb} --help")
    if words:
        import shlex

        line = shlex.join((command, *words))
        raise Invalid(
            f"several words: quote the command ({' '.join((command, *words))!r}), or put -- before it (queuectl "
            f"{verb} -- {line})"
        )
    return spec.command_or_spec(command)


def mention_locks(q: "Queue", names: Iterable[str]) -> None:
    """Print of which resources nobody has said how much there is, once for each of them."""
    for name in q.unset_resources(names):
        if _is_new_notice(q, f"resource {name}"):
            output.message(f"nobody has set the resource {name}: one job at a time has it (said once)")


def mention_time_limit(q: "Queue", id: str) -> None:
    """Print the default time limit on a terminal, once for each queue, if a job runs under it."""
    if not sys.stderr.isatty():
        return
    job = q.job(id)
    if job.timeout != settings.Settings().timeout or q.config()["timeout"].source != "default":
        return
    if not _is_new_notice(q, job.queue):
        return
    limit = units.span(job.timeout or 0)
    output.message(
        f"a job may take {limit}; --timeout none, or `queuectl config set timeout none`, lifts that (said once)"
    )


def _is_new_notice(q: "Queue", notice: str) -> bool:
    """Whether this was not said yet; it is recorded that it is now."""
    try:
        fd = os.open(q.home.notices, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "rb+", buffering=0) as file:
            line = f"{notice}\n".encode()
            if line in file.readlines():
                return False
            file.write(line)
    except OSError:
        return False  # it can't be recorded, so it would be printed each time
    return True

"""The options of a job, as `enqueue`, `run` and `retry` take them, and the job that a command line describes."""

import os
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

from queuectl import runnable, settings, spec, units
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


def spec_from_words(
    command: str | None, words: tuple[str, ...], argv: tuple[str, ...] | None, verb: str, ahead: tuple[str, ...] = ()
) -> Spec:
    """Return the job that the words of a command line describe; `ahead` stand before them. Raises Invalid."""
    if argv is not None:
        if command is not None:
            raise Invalid(f"{command!r} stands before --; what is to run stands behind it")
        return spec.check(Spec(argv=argv))
    if command is None:
        raise Invalid(f"{verb} needs a COMMAND, or a program behind --; see queuectl {verb} --help")
    if words:
        import shlex

        line = shlex.join((command, *words))
        if words[0] == ":::":
            raise Invalid("::: goes with --each, which makes a job of each argument")
        raise Invalid(
            f"several words: quote the command ({' '.join((command, *words))!r}), or put -- before it (queuectl "
            f"{shlex.join((*verb.split(), *ahead, '--'))} {line})"
        )
    return spec.command_or_spec(command)


def show(jobs: Iterable[Spec], json: bool) -> None:
    """Print what would run, a job a line; as JSON the specs, as a job file has them."""
    if json:
        output.documents(map(spec.document, jobs))
        return
    for job in jobs:
        text = job.command or runnable.Argv(job.argv or ()).text
        output.line(output.escape(text) if output.is_terminal() else text)


def mention_locks(q: "Queue", names: Iterable[str]) -> None:
    """Print of which resources nobody has said how much there is, once for each of them."""
    for name in q.unset_resources(names):
        if _is_new_notice(q, f"resource {name}"):
            output.message(f"nobody has set the resource {name}: one job at a time has it (said once)")


def mention_time_limit(q: "Queue", id: str) -> None:
    """Print the default time limit on a terminal, once for each queue, if a job runs under it."""
    if sys.stderr.isatty():
        job = q.job(id)
        mention_default_limit(q, job.timeout, job.queue)


def mention_default_limit(q: "Queue", timeout: float | None, queue: str) -> None:
    """Print the same of jobs of a queue that have this time limit."""
    if not sys.stderr.isatty() or timeout != settings.Settings().timeout or q.config()["timeout"].source != "default":
        return
    if not _is_new_notice(q, queue):
        return
    limit = units.span(timeout or 0)
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

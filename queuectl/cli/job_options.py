"""The options of a job, as `enqueue`, `run` and `retry` take them, and the job that a command line describes."""

import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import msgspec
from cyclopts import Parameter

from queuectl import settings, spec, units
from queuectl.cli import parameters as p
from queuectl.cli.ui import output
from queuectl.errors import Invalid
from queuectl.spec import Spec

if TYPE_CHECKING:
    from queuectl.queue import Queue


def _timeout(text: str) -> float | None:
    return None if text.strip().lower() == "none" else spec.check_timeout(units.duration(text))


Command = Annotated[
    str | None,
    Parameter(
        name="COMMAND",
        help="A line for /bin/sh, or a job spec as a JSON object. Behind -- a program and its "
        "arguments, run without a shell.",
    ),
]
Words = Annotated[str, Parameter(name="WORD", show=False)]
Argv = Annotated[tuple[str, ...] | None, Parameter(parse=False)]
Id = Annotated[
    str | None, p.option("--id", "ID", "An id of your own, not all digits. Default: a number.", spec.check_id)
]
InQueue = Annotated[
    str | None, p.option("--queue", "NAME", "The queue it goes to. [default: default]", spec.check_queue)
]
Priority = Annotated[
    int | None, p.option("--priority", "N", "Higher runs first. [default: 0]", p.integer(*spec.PRIORITIES))
]
Delay = Annotated[
    float | None,
    p.option("--delay", "DURATION", "Not before so long from now: 90, 90s, 5m, 2h30m, 1d.", units.duration),
]
At = Annotated[
    dict[str, Any] | None,
    p.option(
        "--at",
        "WHEN",
        "Not before then: 2026-11-24T09:00 (local), 2026-11-24T09:00:00Z, 02:30 (the next one), tomorrow 02:30, or a "
        "duration ahead.",
        spec.when,
        accepts_keys=False,
        n_tokens=1,
    ),
]
MaxRetries = Annotated[
    int | None,
    p.max_retries(
        "Further attempts after the first one has failed; then it goes to the dead letter queue. "
        "[default: 3, a setting]"
    ),
]
Base = Annotated[
    float | None, p.backoff_base("The retry after failure n is due X^n seconds later. [default: 2, a setting]")
]
Most = Annotated[float | None, p.backoff_max("1d, a setting")]
Jitter = Annotated[
    float | None,
    p.option(
        "--jitter",
        "X",
        "The fraction (0 to 1) of each delay by which it is randomly longer or shorter. [default: 0, a setting]",
        lambda text: units.number(text, *spec.JITTERS),
    ),
]
Timeout = Annotated[
    float | None,
    p.option(
        "--timeout", "DURATION", "How long an attempt may take; none: for ever. [default: 60s, a setting]", _timeout
    ),
]
Shell = Annotated[
    str | None,
    p.option("--shell", "PATH", "What runs the command line. [default: /bin/sh, a setting]", spec.check_shell),
]
Cwd = Annotated[str | None, p.option("--cwd", "FOLDER", "Where it runs. [default: here]")]
Stdin = Annotated[
    str | None,
    p.option(
        "--stdin",
        "FILE",
        "What it reads, copied now; - is stdin. [default: nothing]",
        allow_leading_hyphen=True,
    ),
]
OnLost = Annotated[
    Literal["retry", "dead"] | None,
    p.option(
        "--on-lost",
        "WHAT",
        "If its worker dies: retry it, or call it dead. [default: retry, a setting]",
        show_choices=False,
    ),
]
KeepChildren = Annotated[
    bool,
    Parameter(
        name="--keep-children",
        help="Leave what it left running in the background, rather than end it with the command.",
    ),
]


class PolicyOptions(TypedDict, total=False):
    """The options of how a job runs; only given ones are present."""

    priority: Priority
    max_retries: MaxRetries
    backoff_base: Base
    backoff_max: Most
    jitter: Jitter
    timeout: Timeout
    env: p.Env
    env_in_log: p.EnvInLog
    secrets: p.Secret
    shell: Shell
    cwd: Cwd
    stdin: Stdin
    on_lost: OnLost
    keep_children: KeepChildren
    reason: p.Reason


class NewJobOptions(PolicyOptions, total=False):
    """All options of a new job."""

    id: Id
    queue: InQueue
    delay: Delay
    at: At


class EditOptions(PolicyOptions, total=False):
    """The options that change a job when it is retried."""

    command: Annotated[
        str | None, p.option("--command", "COMMAND", "Run this line instead.", allow_leading_hyphen=True)
    ]


JobOptions = Annotated[NewJobOptions | None, Parameter(name="*")]

ChangeOptions = Annotated[EditOptions | None, Parameter(name="*")]


def given_fields(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the fields of a Spec that the options set. Raises Invalid."""
    fields = dict(options or {})
    if "at" in fields:
        if "delay" in fields:
            raise Invalid("give --delay or --at, not both")
        fields |= fields.pop("at")
    for name, flag in (("env", "--env"), ("secrets", "--secret")):
        if name in fields:
            fields[name] = p.variables(flag, fields[name])
    if "env_in_log" in fields:
        fields["env_in_log"] = tuple(fields["env_in_log"])
    return fields


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


def with_defaults(job: Spec, fields: dict[str, Any]) -> Spec:
    """Return the job with these fields wherever it does not set them itself; `Queue` validates the result."""
    if not fields:
        return job
    new: dict[str, Any] = {}
    for name, value in fields.items():
        if name in ("env", "secrets"):
            new[name] = value | getattr(job, name)
        elif name == "env_in_log":
            new[name] = value + job.env_in_log
        elif name in ("delay", "at"):
            if job.delay is None and job.at is None:
                new[name] = value
        elif name == "shell" and job.argv is not None:
            raise Invalid("--shell: what stands behind -- is run without a shell")
        elif getattr(job, name) == _DEFAULTS[name]:
            new[name] = value
    return msgspec.structs.replace(job, **new) if new else job


_DEFAULTS = {name: getattr(Spec(), name) for name in Spec.__struct_fields__}


def mention_time_limit(q: "Queue", id: str) -> None:
    """Print the default time limit on a terminal, once for each queue, if a job runs under it."""
    if not sys.stderr.isatty():
        return
    job = q.job(id)
    if job.timeout != settings.Settings().timeout or q.config()["timeout"].source != "default":
        return
    try:
        fd = os.open(q.home.notices, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(fd, "rb+", buffering=0) as file:
            line = f"{job.queue}\n".encode()
            if line in file.readlines():
                return
            file.write(line)
    except OSError:
        return  # it can't be recorded, so it would be printed each time
    limit = units.span(job.timeout or 0)
    output.message(
        f"a job may take {limit}; --timeout none, or `queuectl config set timeout none`, lifts that (said once)"
    )

"""`queuectl enqueue`: one job from the command line, or many from a file."""

import os
import sys
from collections.abc import Iterator, Mapping
from typing import IO, TYPE_CHECKING, Annotated, Any, Literal, TypedDict

import msgspec
from cyclopts import Parameter

from queuectl import settings, spec, units
from queuectl.cli import job_stdin, opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output
from queuectl.errors import Invalid
from queuectl.spec import Spec

if TYPE_CHECKING:
    from queuectl.queue import Queue

_LONGEST_LINE = 4 << 20
"""Bytes of one line of a job file; no line that long can be a job (see `spec.LONGEST_COMMAND`)."""


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
    int | None, p.option("--priority", "N", "Higher runs first. [default: 0]", p.count(*spec.PRIORITIES))
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
    p.option(
        "--max-retries",
        "N",
        "Further attempts after the first one has failed; then it goes to the dead letter queue. [default: 3, a "
        "setting]",
        p.count(0, spec.MOST_RETRIES),
    ),
]
Base = Annotated[
    float | None,
    p.option(
        "--backoff-base",
        "X",
        "The retry after failure n is due X^n seconds later. [default: 2, a setting]",
        lambda text: units.number(text, *spec.BASES),
    ),
]
Most = Annotated[
    float | None,
    p.option(
        "--backoff-max", "DURATION", "The longest delay between attempts. [default: 1d, a setting]", units.duration
    ),
]
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
File = Annotated[
    str | None,
    p.option(
        "--file",
        "FILE",
        "Add many: one command or JSON spec a line (blank lines and # lines skipped), all or none. - is stdin.",
        allow_leading_hyphen=True,
    ),
]


class Policy(TypedDict, total=False):
    """The options that say how a job runs; each is there only where it was given."""

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


class NewJob(Policy, total=False):
    """All options of a new job."""

    id: Id
    queue: InQueue
    delay: Delay
    at: At


class Changes(Policy, total=False):
    """What may be changed of a job that is run again."""

    command: Annotated[
        str | None, p.option("--command", "COMMAND", "Run this line instead.", allow_leading_hyphen=True)
    ]


Options = Annotated[NewJob | None, Parameter(name="*")]

Changed = Annotated[Changes | None, Parameter(name="*")]


def enqueue(
    command: Command = None,
    /,
    *words: Words,
    options: Options = None,
    file: File = None,
    json: p.Json = False,
    db: p.Database = None,
    argv: Argv = None,
) -> None:
    """Add a job; when it is durable, print its id.

    $ queuectl enqueue 'gzip -k big.log'
    $ queuectl enqueue --id nightly --at 2026-11-25T03:00 --timeout 2h './backup.sh'
    $ queuectl enqueue -- convert 'a b.png' out.jpg         no shell: words reach the program as they are
    $ queuectl enqueue '{"id": "job1", "command": "sleep 2", "max_retries": 5}'
    $ find . -name '*.log' -printf 'gzip %p\\n' | queuectl enqueue --file -

    The fields of a JSON spec: id, queue, priority, delay, at, max_retries, backoff_base, backoff_max, jitter,
    timeout, env, env_in_log, secrets, shell, cwd, stdin, on_lost, keep_children, reason, and command (a list of
    strings is run without a shell). What a spec says itself wins over the options.
    """
    fields = said(options)
    if file is not None:
        if command is not None or argv is not None:
            raise Invalid("--file and a command: give one of them")
        if "id" in fields:
            raise Invalid("--id: an id names one job; in a file write it into the JSON spec of its line")
        _many(file, fields, json, db)
        return
    job = filled(asked(command, words, argv, "enqueue"), fields)
    if job.stdin == "-":
        job_stdin.expect()
    with opening.opened(db, create=True) as q:
        made = q.enqueue(job)
        tell_limit(q, made)
        if json:
            from queuectl.documents import job_document

            output.document(job_document(q.job(made)))
        else:
            output.line(made)


def said(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The fields of a Spec that options give. Raises Invalid."""
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


def asked(command: str | None, words: tuple[str, ...], argv: tuple[str, ...] | None, verb: str) -> Spec:
    """The job that the words of a command line name. Raises Invalid."""
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
    return spec.given(command)


def filled(job: Spec, fields: dict[str, Any]) -> Spec:
    """The job with the fields of the options where it does not say them itself; `Queue` checks the whole."""
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


def tell_limit(q: "Queue", id: str) -> None:
    """Say on a terminal how long a job may take where nobody has said so, once for each queue."""
    if not sys.stderr.isatty():
        return
    job = q.job(id)
    if job.timeout != settings.Settings().timeout or q.config()["timeout"].source != "default":
        return
    try:
        told = os.open(q.place.told, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(told, "rb+", buffering=0) as file:
            line = f"{job.queue}\n".encode()
            if line in file.readlines():
                return
            file.write(line)
    except OSError:
        return  # it can't be remembered, so it would be said each time
    limit = units.span(job.timeout or 0)
    output.note(
        f"a job may take {limit}; --timeout none, or `queuectl config set timeout none`, lifts that (said once)"
    )


def _many(path: str, fields: dict[str, Any], json: bool, db: str | None) -> None:
    name = "stdin" if path == "-" else path

    def jobs(file: IO[bytes]) -> Iterator[Spec]:
        for each in spec.read(_lines(file)):
            job = filled(each, fields)
            if path == "-" and job.stdin == "-":
                raise Invalid("--file - and --stdin -: stdin can't be both the jobs and what they read")
            yield job

    with _file(path) as file, opening.opened(db, create=True) as q:
        size = os.fstat(file.fileno()).st_size if path != "-" else 0
        bar = output.progress(f"Enqueueing {name}")
        try:
            made = q.enqueue_many(jobs(file), progress=lambda done: bar(done, 0))
        except Invalid as error:
            raise Invalid(f"{name}: {error}; nothing was enqueued") from None
        bar(size or 1, size or 1)
        if made:
            tell_limit(q, made[0])
        if json:
            from queuectl.documents import job_document

            output.documents(job_document(q.job(id)) for id in made)
        elif made:
            output.line("\n".join(made))
    if not made:
        sys.stdout.flush()
        output.note(f"{name}: there is no job in it")


def _file(path: str) -> IO[bytes]:
    if path == "-":
        return open(sys.stdin.fileno(), "rb", closefd=False)
    try:
        return open(path, "rb")
    except OSError as error:
        raise Invalid(f"--file: {path!r}: {error.strerror}") from None


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """The lines, none longer than can be held in memory."""
    while line := file.readline(_LONGEST_LINE):
        yield line

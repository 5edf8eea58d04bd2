"""`queuectl enqueue`: one job from the command line, or many from a file."""

import sys
from collections.abc import Iterator, Sequence
from typing import IO, TYPE_CHECKING, Annotated, Any, NamedTuple

from msgspec import UNSET

from queuectl import spec
from queuectl.cli import job_options, job_stdin, opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, progress
from queuectl.errors import Invalid
from queuectl.job_fields import Spec
from queuectl.labels import WrongJobs

if TYPE_CHECKING:
    from queuectl.enqueueing import Added
    from queuectl.queue import Queue

_LONGEST_LINE = 4 << 20
"""Bytes of one line of a job file; no line that long can be a job (see `bounds.LONGEST_COMMAND`)."""

File = Annotated[
    str | None,
    p.option(
        "--file",
        "FILE",
        "Add many: one command or JSON spec a line (blank lines and # lines skipped), all or none. - is stdin.",
        allow_leading_hyphen=True,
    ),
]


Each = Annotated[
    bool,
    p.Parameter(
        name="--each",
        help="A job for each argument: COMMAND, or what stands behind --, is a template in which {} stands for it. "
        "Arguments are the lines of the FILEs named behind it (- or none: of stdin), or stand behind ::: at the end.",
    ),
]
Null = Annotated[bool, p.Parameter(name=["--null", "-0"], help="In files, a NUL ends each argument: find -print0.")]
Csv = Annotated[
    bool,
    p.Parameter(name="--csv", help="The file of arguments is CSV; its first line names the columns: {NAME} is one."),
]
DryRun = Annotated[
    bool, p.Parameter(name="--dry-run", help="Only print what would run; with --json the specs, as --file takes them.")
]


def enqueue(
    command: job_options.Command = None,
    /,
    *words: job_options.Words,
    options: job_options.JobOptions = None,
    file: File = None,
    each: Each = False,
    null: Null = False,
    csv: Csv = False,
    dry_run: DryRun = False,
    json: p.Json = False,
    db: p.Database = None,
    argv: job_options.Argv = None,
) -> None:
    """Add a job; when it is durable, print its id.

    $ queuectl enqueue 'gzip -k big.log'
    $ queuectl enqueue --id nightly --at 2026-11-25T03:00 --timeout 2h './backup.sh'
    $ queuectl enqueue -- convert 'a b.png' out.jpg         no shell: words reach the program as they are
    $ queuectl enqueue '{"id": "job1", "command": "sleep 2", "max_retries": 5}'
    $ queuectl enqueue --each 'convert {} {.}.jpg' --batch pictures ::: *.png
    $ find . -name '*.log' -print0 | queuectl enqueue --each -0 'gzip {}'
    $ queuectl enqueue --file jobs.txt

    The fields of a JSON spec are command (a list of strings is run without a shell) and the options below, with _ for -
    (max_retries); --secret is secrets. What a spec says itself wins over the options. --each replaces what GNU parallel
    does, also in the options: {} {.} {/} {//} {/.} {#} {1} {2.}; in a line of shell each is quoted, once.
    """
    fields = job_options.given_fields(options)
    if (null or csv) and not each:
        raise Invalid(f"{'--null' if null else '--csv'} goes with --each")
    if file is not None:
        if command is not None or argv is not None or each:
            raise Invalid("--file and a command: give one of them")
        if "id" in fields:
            raise Invalid("--id: an id names one job; in a file write it into the JSON spec of its line")
        many = _of_file(file, fields)
    elif each:
        many = _of_arguments(command, words, argv, fields, null=null, csv=csv)
    else:
        job = spec.filled(job_options.spec_from_words(command, words, argv, "enqueue"), fields)
        many = _Many([job], "")
    if dry_run:
        job_options.show([spec.check(job) for job in many.jobs], json)
    elif file is not None or each:
        _enqueue_many(many, json, db)
    else:
        _enqueue_one(many.jobs[0], json, db)
    if not many.jobs:
        sys.stdout.flush()
        output.message(f"{many.source}: there is no {'job in it' if many.part == 'line' else many.part}")


def _enqueue_one(job: Spec, json: bool, db: str | None) -> None:
    if job.stdin == "-":
        job_stdin.wait_until_readable()
    with opening.open_queue(db, create=True) as q:
        [added] = q.add([job])
        made = added.id
        job_options.mention_time_limit(q, made)
        job_options.mention_locks(q, job.needs)
        if json:
            output.document(_document(q, added))
        else:
            output.line(made)


class _Many(NamedTuple):
    """Jobs that are asked for together."""

    jobs: list[Spec]
    source: str
    """Where they come from."""
    part: str = "argument"
    """What a job is made of there."""
    numbers: Sequence[int] = range(1, sys.maxsize)
    """Which of these each job is made of."""


def _of_file(path: str, fields: dict[str, Any]) -> _Many:
    """Return the jobs of a job file. Raises Invalid."""
    name = "stdin" if path == "-" else path
    jobs: list[Spec] = []
    lines: list[int] = []
    with _open(path) as file:
        try:
            for number, each in spec.read(_lines(file)):
                job = spec.filled(each, fields)
                if path == "-" and job.stdin == "-":
                    raise Invalid("--file - and --stdin -: stdin can't be both the jobs and what they read")
                jobs.append(job)
                lines.append(number)
        except Invalid as error:
            raise Invalid(f"{name}: {error}; nothing was enqueued") from None
    return _Many(jobs, name, "line", lines)


def _of_arguments(
    command: str | None,
    words: tuple[str, ...],
    argv: tuple[str, ...] | None,
    fields: dict[str, Any],
    *,
    null: bool,
    csv: bool,
) -> _Many:
    """Return the jobs of a template and its arguments. Raises Invalid."""
    from queuectl.cli import each_arguments
    from queuectl.templates import Plan

    program, groups = each_arguments.split(argv or ())
    files = words
    if program:
        template, files = Spec(argv=program), words if command is None else (command, *words)
    elif command is None:
        raise Invalid("--each needs a template: a command with {} in it, or a program and its arguments behind --")
    elif spec.looks_like_spec(command) and command.strip() != "{}":
        template = Spec(**spec.read_fields(command))
    else:
        template = Spec(command=command)
    template = spec.filled(template, fields)
    try:
        found = each_arguments.read(files, groups, null=null, header=csv)
        if template.stdin == "-" and (each_arguments.STDIN in files or not (files or groups)):
            raise Invalid("--stdin -: stdin can't be both the arguments and what the jobs read")
        plan = Plan(template, found.width, found.names)
        if template.id is not None and "id" not in plan.filled:
            raise Invalid(f"--id: an id names one job: put {{#}} or {{}} into {template.id!r}")
        jobs = [plan.job(number, row) for number, row in enumerate(found.rows, 1)]
    except Invalid as error:
        raise Invalid(f"--each: {error}; nothing was enqueued") from None
    return _Many(jobs, "--each")


def _enqueue_many(many: _Many, json: bool, db: str | None) -> None:
    jobs = many.jobs
    with opening.open_queue(db, create=True) as q:
        bar = progress.bar("Enqueueing")
        try:
            added = q.add(jobs, progress=lambda done: bar(done, len(jobs)))
        except Invalid as error:
            where = ""
            if isinstance(error, WrongJobs):
                where = f"{many.part} {', '.join(str(many.numbers[place]) for place in error.places)}: "
            raise Invalid(f"{many.source}: {where}{error}; nothing was enqueued") from None
        bar(1, 1)
        if added:
            job_options.mention_time_limit(q, added[0].id)
            job_options.mention_locks(q, sorted({name for job in jobs for name in job.needs}))
        if json:
            output.documents(_document(q, each) for each in added)
        elif added:
            output.line("\n".join(each.id for each in added))


def _document(q: "Queue", added: "Added") -> Any:
    """The document of a job; it says so where the job was there already."""
    from queuectl.documents import job_document

    document = job_document(q.job(added.id))
    if not added.deduplicated:
        return document
    fields = {name: value for name in document.__struct_fields__ if (value := getattr(document, name)) is not UNSET}
    return fields | {"deduplicated": True}


def _open(path: str) -> IO[bytes]:
    if path == "-":
        return open(sys.stdin.fileno(), "rb", closefd=False)
    try:
        return open(path, "rb")
    except OSError as error:
        raise Invalid(f"--file: {path!r}: {error.strerror}") from None


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines; a longer one than `_LONGEST_LINE` in pieces, which no job can be."""
    while line := file.readline(_LONGEST_LINE):
        yield line

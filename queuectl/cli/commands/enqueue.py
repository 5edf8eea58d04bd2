"""`queuectl enqueue`: one job from the command line, or many from a file."""

import os
import sys
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Annotated, Any

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


def enqueue(
    command: job_options.Command = None,
    /,
    *words: job_options.Words,
    options: job_options.JobOptions = None,
    file: File = None,
    json: p.Json = False,
    db: p.Database = None,
    argv: job_options.Argv = None,
) -> None:
    """Add a job; when it is durable, print its id.

    $ queuectl enqueue 'gzip -k big.log'
    $ queuectl enqueue --id nightly --at 2026-11-25T03:00 --timeout 2h './backup.sh'
    $ queuectl enqueue -- convert 'a b.png' out.jpg         no shell: words reach the program as they are
    $ queuectl enqueue '{"id": "job1", "command": "sleep 2", "max_retries": 5}'
    $ find . -name '*.log' -printf 'gzip %p\\n' | queuectl enqueue --file -

    The fields of a JSON spec are command (a list of strings is run without a shell) and the options below, with _ for -
    (max_retries); --secret is secrets. What a spec says itself wins over the options.
    """
    fields = job_options.given_fields(options)
    if file is not None:
        if command is not None or argv is not None:
            raise Invalid("--file and a command: give one of them")
        if "id" in fields:
            raise Invalid("--id: an id names one job; in a file write it into the JSON spec of its line")
        _enqueue_file(file, fields, json, db)
        return
    job = spec.filled(job_options.spec_from_words(command, words, argv, "enqueue"), fields)
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


def _enqueue_file(path: str, fields: dict[str, Any], json: bool, db: str | None) -> None:
    name = "stdin" if path == "-" else path
    needs: set[str] = set()
    lines: list[int] = []

    def jobs(file: IO[bytes]) -> Iterator[Spec]:
        for number, each in spec.read(_lines(file)):
            lines.append(number)
            job = spec.filled(each, fields)
            if path == "-" and job.stdin == "-":
                raise Invalid("--file - and --stdin -: stdin can't be both the jobs and what they read")
            needs.update(job.needs)
            yield job

    with _open(path) as file, opening.open_queue(db, create=True) as q:
        size = os.fstat(file.fileno()).st_size if path != "-" else 0
        bar = progress.bar(f"Enqueueing {name}")
        try:
            added = q.add(jobs(file), progress=lambda done: bar(done, 0))
        except Invalid as error:
            where = ""
            if isinstance(error, WrongJobs):
                where = f"line {', '.join(str(lines[place]) for place in error.places)}: "
            raise Invalid(f"{name}: {where}{error}; nothing was enqueued") from None
        bar(size or 1, size or 1)
        if added:
            job_options.mention_time_limit(q, added[0].id)
            job_options.mention_locks(q, sorted(needs))
        if json:
            output.documents(_document(q, each) for each in added)
        elif added:
            output.line("\n".join(each.id for each in added))
    if not added:
        sys.stdout.flush()
        output.message(f"{name}: there is no job in it")


def _document(q: "Queue", added: "Added") -> Any:
    """The document of a job; it says so where the job was there already."""
    from queuectl.documents import job_document

    document = job_document(q.job(added.id))
    if not added.deduplicated:
        return document
    fields = {name: getattr(document, name) for name in document.__struct_fields__ if name != "attempts"}
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

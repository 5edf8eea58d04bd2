"""`queuectl import`: a log becomes a queue, a queue moves to another engine; jobs of other programs become jobs."""

import os
import sys
from typing import TYPE_CHECKING, Annotated

from queuectl import engines, settings
from queuectl.cli import job_options, opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, progress, signals
from queuectl.errors import Invalid, shown
from queuectl.labels import WrongJobs
from queuectl.units import counted

if TYPE_CHECKING:
    from io import BufferedReader

    from queuectl.other_queues import Found
    from queuectl.queue import Queue

Joblog = Annotated[
    bool,
    p.Parameter(
        name="--joblog", help="FILE is what GNU parallel wrote with --joblog: enqueue what failed, as jobs to run here."
    ),
]
Pueue = Annotated[
    bool,
    p.Parameter(
        name="--pueue", help="FILE is what `pueue status --json` prints: enqueue the tasks that have not ended there."
    ),
]
All = Annotated[bool, p.Parameter(name="--all", help="With these, also what has succeeded or ended, to run again.")]
DryRun = Annotated[
    bool,
    p.Parameter(
        name="--dry-run",
        help="With these, only print the commands; with --json the specs, as `queuectl enqueue --file` takes them.",
    ),
]


def import_log(
    source: Annotated[
        str,
        p.Parameter(
            name="FILE",
            help="A queue: the URL or the file of its database, or a backup; or what `queuectl export` wrote as "
            "NDJSON, or `archive`; - is stdin.",
            extra={"allow_leading_hyphen": True},
        ),
    ],
    /,
    *,
    secrets: Annotated[
        bool,
        p.Parameter(name="--with-secrets", help="Of a queue, also the values given with --secret that it has."),
    ] = False,
    joblog: Joblog = False,
    pueue: Pueue = False,
    all: All = False,
    dry_run: DryRun = False,
    json: p.Json = False,
    db: p.Database = None,
) -> None:
    """Take a queue or a log into a new database, event by event as it was; or jobs from another program.

    $ queuectl import --db postgresql://host/jobs q.db
    $ queuectl import --db q.db postgresql://host/jobs
    $ queuectl export -o audit.ndjson
    $ queuectl import --db copy.db audit.ndjson
    $ queuectl import --joblog parallel.log
    $ pueue status --json | queuectl import --pueue -

    All or nothing. A log is taken only into a queue that has no event yet; what is packed with gzip is unpacked. Stop
    the workers of a queue before it moves. The values given with --secret come along --with-secrets, and are not in an
    export: a job that lacks some is not run before `retry ID --secret NAME=VALUE`.
    """
    if joblog and pueue:
        raise Invalid("--joblog and --pueue: FILE is one of them")
    if not (joblog or pueue) and (all or dry_run):
        raise Invalid(f"{'--all' if all else '--dry-run'} goes with --joblog or --pueue")
    if secrets and (joblog or pueue):
        raise Invalid("--with-secrets is for a queue: leave out --joblog and --pueue")
    try:
        _refuse_itself(source, db)
        if not (joblog or pueue):
            with signals.interruptible():
                _take_log(source, json, db, secrets=secrets)
            return
        with _open(source) as file:
            found = _read(source, file, joblog=joblog, all=all)
    except OSError as error:
        raise Invalid(f"can't read {source!r}: {error.strerror}") from error
    finally:
        sys.stderr.flush()
    if dry_run:
        job_options.show(found.jobs, json)
    else:
        with opening.open_queue(db, create=True) as q:
            _take_jobs(q, found, source, json)


def _take_log(source: str, json: bool, db: str | None, *, secrets: bool) -> None:
    from queuectl.audit.event_lines import lines
    from queuectl.audit.import_log import load, new_queue, take
    from queuectl.queue import Queue

    of_queue = source != "-" and engines.is_database(source)
    if secrets and not of_queue:
        raise Invalid("--with-secrets is for a queue: FILE is none")
    bar = progress.bar("Rebuilding the views")
    with (
        Queue(source, create=False) if of_queue else _open(source) as found,
        new_queue(opening.open_queue(db, create=True), settings.database(db).path) as q,
    ):
        if isinstance(found, Queue):
            count = take(q, found, secrets=secrets, progress=bar)
        else:
            count = load(q, lines(found), bar)
    if json:
        output.document({"events": count})
    else:
        output.line(f"took in {counted(count, 'event')}")


def _read(source: str, file: "BufferedReader", *, joblog: bool, all: bool) -> "Found":
    """Return the jobs in a record of another program. Raises Invalid, which names the file and the place in it."""
    from queuectl.other_queues import joblog as joblogs
    from queuectl.other_queues import pueue

    name = "stdin" if source == "-" else source
    try:
        if joblog:
            return joblogs.read(iter(lambda: file.readline(joblogs.LONGEST), b""), all=all)
        data = file.read(pueue.LONGEST + 1)
        if len(data) > pueue.LONGEST:
            raise Invalid(f"is longer than {pueue.LONGEST >> 20} MiB")
        return pueue.read(data, all=all)
    except Invalid as error:
        raise Invalid(f"{name}: {error}; nothing was enqueued") from None


def _take_jobs(q: "Queue", found: "Found", source: str, json: bool) -> None:
    """Add the jobs, and limit their queues as they were limited; a queue that has a limit already keeps it."""
    new = {name: limit for name, limit in found.concurrency.items() if q.queue(name).state.concurrency is None}
    try:
        ids = [added.id for added in q.add(found.jobs, concurrency=new)]
    except Invalid as error:
        where = ""
        if isinstance(error, WrongJobs):
            where = f"{', '.join(found.origins[place] for place in error.places)}: "
        raise Invalid(f"{'stdin' if source == '-' else source}: {where}{error}; nothing was enqueued") from None
    if json:
        output.document({"jobs": ids, "left_out": found.left_out, "concurrency": new})
        return
    output.line(f"took in {counted(len(ids), 'job')}{f', {ids[0]} to {ids[-1]}' if len(ids) > 1 else ''}")
    if found.left_out:
        output.message(f"left out {found.left_out} that have ended; --all takes them in too, to run again")
    for name, limit in new.items():
        output.message(f"queue {name}: at most {limit} at once; see `queuectl queue list`")


def _open(source: str) -> "BufferedReader":
    """Open the file or stdin."""
    return open(0 if source == "-" else source, "rb")


def _refuse_itself(source: str, db: str | None) -> None:
    """Raise Invalid for the database that is to be filled, before a file of it is opened: closing it would drop
    SQLite's locks."""
    target = settings.database(db).path
    name = engines.resolve(source) if "://" in source else os.path.realpath(source)
    if source != "-" and name in (engines.resolve(target), *engines.files(target)):
        raise Invalid(f"{shown(name)} is the queue itself: name another, or what `queuectl export` or `archive` wrote")

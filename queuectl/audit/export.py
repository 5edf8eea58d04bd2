"""The audit log for analysis, streamed: events, jobs or attempts as NDJSON or CSV, in constant memory.

Events are exported as they are stored (`Recorded.json`), never re-encoded; jobs and attempts as every command shows
them.
"""

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any

from queuectl import documents
from queuectl.clock import text
from queuectl.errors import Invalid, QueueError
from queuectl.events import Recorded, encode
from queuectl.queue import Queue

FORMATS = ("ndjson", "csv")
WHAT = ("events", "jobs", "attempts")

COLUMNS = {
    "events": Recorded.__struct_fields__,
    "jobs": tuple(name for name in documents.JobDocument.__struct_fields__ if name != "attempts"),
    "attempts": documents.AttemptDocument.__struct_fields__,
}
"""The columns of a CSV file; lists and objects stand in their cells as JSON."""

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How text begins that a spreadsheet would take for a formula, and run: its cell gets an apostrophe before it."""

CHUNK = 500
"""Rows that are turned into bytes at a time."""


def export(
    queue: Queue,
    *,
    what: str = "events",
    format: str = "ndjson",
    since: int | None = None,
    until: int | None = None,
    after: int = 0,
    queue_name: str | None = None,
    job: str | None = None,
    type: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[bytes]:
    """What is asked for, in chunks of bytes.

    `since` and `until` (µs UTC) are when an event happened, a job was enqueued, an attempt was claimed; `after` is a
    seq of the log, for events; `queue_name`, `job` and `type` filter. `progress` is told how many rows there were so
    far. Raises Invalid for a combination that means nothing.
    """
    if format not in FORMATS:
        raise Invalid(f"no format {format!r}; there are {', '.join(FORMATS)}")
    if what not in WHAT:
        raise Invalid(f"no export of {what!r}; there are {', '.join(WHAT)}")
    if what != "events" and (type is not None or after):
        raise Invalid(f"type and after choose among events, not {what}")
    if what == "events":
        rows: Iterator[Any] = queue.events(
            after=after, job=job, type=type, queue=queue_name, since=since, until=until
        )  # fmt: skip
    elif what == "jobs":
        rows = _jobs(queue, queue_name, job, since, until)
    else:
        rows = _attempts(queue, queue_name, job, since, until)
    return _encoded(rows, what, format, progress)


def _jobs(
    queue: Queue, name: str | None, job: str | None, since: int | None, until: int | None
) -> Iterator[documents.JobDocument]:
    found = queue.jobs(queue=name, since=since) if job is None else iter([queue.job(job)])
    for each in found:
        if _within(each.enqueued_at, since, until) and name in (None, each.queue):
            yield documents.job_document(each)


def _attempts(
    queue: Queue, name: str | None, job: str | None, since: int | None, until: int | None
) -> Iterator[documents.AttemptDocument]:
    if job is None:
        found = queue.all_attempts(name)
    else:
        found = iter(queue.attempts(job) if name in (None, queue.job(job).queue) else ())
    for each in found:
        if _within(each.claimed_at, since, until):
            yield documents.attempt_document(each)


def _within(at: int, since: int | None, until: int | None) -> bool:
    return (since is None or at >= since) and (until is None or at <= until)


def _encoded(rows: Iterator[Any], what: str, format: str, progress: Callable[[int], None] | None) -> Iterator[bytes]:
    done = 0
    header = True
    while (page := list(islice(rows, CHUNK))) or header:
        if format == "ndjson":
            yield b"".join((row.json() if what == "events" else encode(row)) + b"\n" for row in page)
        else:
            yield _csv(page, what, header)
        header = False
        done += len(page)
        if progress is not None:
            progress(done)


def _csv(page: list[Any], what: str, header: bool) -> bytes:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer)
    if header:
        writer.writerow(COLUMNS[what])
    writer.writerows([_cell(name, getattr(row, name)) for name in COLUMNS[what]] for row in page)
    return buffer.getvalue().encode()


def _cell(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return encode(value).decode()
    if isinstance(value, str):
        return "'" + value if value.startswith(FORMULA) else value
    return text(value) if name == "at" else value


def write_whole(path: str, chunks: Iterable[bytes], *, force: bool = False) -> int:
    """Write a file whole or not at all, and return its size: under another name first, synced, then given its own.

    An existing file is only replaced with `force`. Raises QueueError, one line, where it can't be written; nothing is
    left behind then.
    """
    draft = f"{path}.{os.urandom(4).hex()}.part"
    if os.path.lexists(path):
        if not force:
            raise QueueError(f"{path} exists already: name another file, or give --force")
        if not os.path.isfile(path):
            raise QueueError(f"{path} is no regular file: leave -o out to write to stdout")
    size = 0
    try:
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            try:
                for chunk in chunks:
                    size += file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
                if force:
                    os.replace(draft, path)
                else:
                    os.link(draft, path)
                    os.unlink(draft)
            except BaseException:
                os.unlink(draft)
                raise
    except FileExistsError:
        raise QueueError(f"{path} exists already: name another file, or give --force") from None
    except OSError as error:
        raise QueueError(f"can't write {path}: {error.strerror}; nothing was written") from error
    return size

"""Archiving: ended jobs and workers leave the log for a file, and a tombstone names that file (R24).

First the events are sealed, so that each leaves its leaf behind; then they are written to the file, which is read back
and compared with the leaves; only then they are removed, in batches that are short enough for workers not to notice.
Whenever that is cut short, log and file together have every event, and the same command goes on with the same file.

Which streams go is kept in memory: some 200 bytes a job.
"""

import gzip
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, NamedTuple

import msgspec

from projections import evolve
from projections.jobs import FINAL, Job
from projections.replay import Progress, ProgressBars
from queuectl import clock
from queuectl.audit.archive_file import read
from queuectl.audit.leaves import leaf
from queuectl.audit.seal import seal
from queuectl.engines.view import Filter, Leaf, Transaction, View, Write
from queuectl.errors import Invalid, QueueError, Refused
from queuectl.events import VOCABULARY, Archived, Moved, Passed, Recorded
from queuectl.home import progress_of, stderr_of
from queuectl.host.atomic_file import draft, sync
from queuectl.queue import Queue

PAGE = 1000
"""Events, or leaves, read at a time: nothing is kept open between two (R8)."""

PACKING = 6
"""How hard gzip tries, of 9."""

BATCH = 50
"""Streams that are removed in the first transaction; later ones are as large as fits `TARGET`."""

TARGET = 0.02
"""Seconds of a transaction, before its commit: others write in between."""


class Stream(NamedTuple):
    """The events of one stream in an archive."""

    events: int
    leases: tuple[int, ...]
    """The versions of its `claimed` events: each has an output file."""


class ArchiveResult(msgspec.Struct):
    """What was archived."""

    file: str | None = None
    """Its absolute path; None where there was nothing to archive."""
    bytes: int = 0
    """Of the whole file."""
    jobs: int = 0
    workers: int = 0
    events: int = 0
    stayed: int = 0
    """Jobs and workers in the file that something has happened to since, or that are not old enough: they are still
    in the log."""
    more: int = 0
    """Jobs that are old enough and not in the file, which had been begun before."""


def preview(queue: Queue, before: int, states: Collection[str] = FINAL) -> ArchiveResult:
    """Return what `archive` would archive; changes nothing."""
    with queue.engine.snapshot() as view:
        streams = view.archivable(before, states, queue.engine.now())
    jobs = sum(map(_is_job, streams))
    return ArchiveResult(jobs=jobs, workers=len(streams) - jobs, events=sum(streams.values()))


def archive(
    queue: Queue,
    path: str,
    before: int,
    states: Collection[str] = FINAL,
    bars: ProgressBars = lambda what: lambda done, total: None,
) -> ArchiveResult:
    """Move jobs that came to one of these final states at `before` (µs UTC) or earlier from the log to a file.

    With them go the purged ones, the workers that ended by then and have no attempt left, and the output files of all
    of them. A file that was begun is finished. Raises Refused while a projection of a user's can't follow, QueueError
    where the file can't be written, or is something else; nothing has been removed then.
    """
    path = os.path.abspath(path)
    if queue.engine.owns(path):
        raise Invalid(f"{path} is the queue itself: name another file")
    with queue.engine.transaction() as tx:  # in which a projection that is only late catches up
        _check_projections(tx)
    with queue.engine.snapshot() as view:
        streams, upto = view.archivable(before, states, queue.engine.now()), view.seq_at(before)
    if os.path.lexists(path):
        held = _read_begun(queue, path, bars("Reading the archive"))
        more = sum(_is_job(stream) for stream in streams if stream not in held)
    elif streams:
        seal(queue, bars("Sealing"))
        held = _write(queue, path, streams, upto, bars)
        more = 0
    else:
        return ArchiveResult()
    return _Removal(queue, path, held, bars("Removing")).remove(streams, before, more)


def _is_job(stream: str) -> bool:
    return stream.startswith("job:")


def _check_projections(view: View) -> None:
    """What a projection has not folded, it would never see (R4); the engine looks again when the events go."""
    head = view.head()[0]
    for each in view.projection_statuses():
        if each.broken is not None or each.seq < head:
            why = each.broken or "it is behind"
            raise Refused(f"the projection {each.name!r} would miss it ({why}): mend that, then `queuectl replay`")


# -- the file --------------------------------------------------------------------------------------------------------


def _write(queue: Queue, path: str, streams: Collection[str], upto: int, bars: ProgressBars) -> dict[str, Stream]:
    """Write the events of these streams up to seq `upto`, and read them back. Raises QueueError: there is no file."""
    with draft(path) as name:
        with (
            open(name, "wb") as file,
            gzip.GzipFile("", "wb", PACKING, file, mtime=0) as packed,
        ):
            for page in _log_pages(queue, upto, bars("Writing the archive")):
                packed.write(b"".join(record.json() + b"\n" for record in page if _belongs(record, streams)))
        try:
            return _verify_file(queue, name, bars("Reading it back"))
        except Invalid as error:
            raise QueueError(f"{error}: see `queuectl audit verify`; nothing was archived") from error


def _belongs(record: Recorded, streams: Collection[str]) -> bool:
    """Return whether an event is written; environments are too, though they stay in the log for other jobs."""
    return record.stream in streams or record.type == "environment_kept"


def _read_begun(queue: Queue, path: str, progress: Progress) -> dict[str, Stream]:
    """Return the streams of an existing file. Raises QueueError where it is no archive of this queue."""
    try:
        if not os.path.isfile(path):
            raise Invalid("no regular file")
        for each in (path, os.path.dirname(path)):
            sync(each)  # the command that began it may have been killed before
        return _verify_file(queue, path, progress)
    except Invalid as error:
        raise QueueError(f"{path} exists, and is no archive of this queue ({error}): name another file") from error


def _log_pages(queue: Queue, upto: int, progress: Progress) -> Iterator[list[Recorded]]:
    """Yield the log up to event `upto`, in pages."""
    after = 0
    while after < upto:
        with queue.engine.snapshot() as view:
            page = view.events(after=after, upto=upto, limit=PAGE)
        yield page
        after = page[-1].seq if len(page) == PAGE else upto
        progress(after, upto)


def _leaves(queue: Queue, after: int) -> Iterator[Leaf]:
    """Yield the leaves of the events behind event `after`."""
    while True:
        with queue.engine.snapshot() as view:
            page = view.leaves(after=after, limit=PAGE)
        yield from page
        if len(page) < PAGE:
            return
        after = page[-1].seq


def _verify_file(queue: Queue, path: str, progress: Progress) -> dict[str, Stream]:
    """Return the streams of an archive, in the order in which they began.

    Raises Invalid where it can't be read, or has an event that is not what was sealed, or not all events of a stream.
    """
    with queue.engine.snapshot() as view:
        head = view.head()[0]
    leaves, kept = _leaves(queue, 0), Leaf(0, 0, b"")
    found: dict[str, Stream] = {}
    distinct: dict[Stream, Stream] = {}
    for number, record in enumerate(read(path)):
        if record.seq - kept.seq > PAGE:  # leaves stay for ever: most are of other archives
            leaves = _leaves(queue, record.seq - 1)
        while kept.seq < record.seq:
            kept = next(leaves, Leaf(1 << 62, 0, b""))
        if kept != leaf(record):
            raise Invalid(f"event {record.seq} is not what was sealed")
        events, leases = found.get(record.stream, (0, ()))
        if record.version != events + 1:
            raise Invalid(f"events of {record.stream} are missing before event {record.seq}")
        stream = Stream(events + 1, (*leases, record.version) if record.type == "claimed" else leases)
        found[record.stream] = distinct.setdefault(stream, stream)
        if number % PAGE == 0:
            progress(record.seq, head)
    progress(1, 1)
    return found


# -- the log ---------------------------------------------------------------------------------------------------------


STATE_TYPES = tuple(name for name in VOCABULARY.payloads if name != "heartbeat")
"""The types of events that change a state, and end a stream."""


def _state_events(view: View, stream: str) -> list[Recorded]:
    """Return the events of a stream that change its state: of a long-lived worker few of a million."""
    return view.events(where=Filter(streams=(stream,), types=STATE_TYPES), limit=1 << 31)


def tombstone(records: Sequence[Recorded], file: str) -> Archived:
    """Return the tombstone of a stream with these events, the last one among them."""
    passed: list[Passed] = []
    moved: list[Moved] = []
    subject: Any = None
    known: Any = None
    for record in records:
        subject = evolve(subject, record, record.event)
        if isinstance(known, Job) and isinstance(subject, Job) and subject.queue != known.queue:
            moved.append(Moved(record.seq, known.queue))
        known = subject if subject is not None else known
        state = subject.state if subject is not None else record.type
        if not passed or passed[-1].state != state:
            passed.append(Passed(record.seq, clock.text(record.at), state))
    return Archived(
        file=file,
        events=records[-1].version,
        state=passed[-1].state,
        queue=getattr(known, "queue", None),
        batch=getattr(known, "batch", None),
        slots=getattr(known, "slots", None),
        passed=passed,
        moved=(*moved,),
    )


class _Removal:
    """Removes from the log the streams that an archive holds."""

    def __init__(self, queue: Queue, path: str, held: dict[str, Stream], progress: Progress) -> None:
        self._queue, self._path, self._held, self._progress = queue, path, held, progress
        self._identity = queue.home.identity()
        self._size = BATCH
        self._count = 0

    def remove(self, ended: dict[str, int], before: int, more: int) -> ArchiveResult:
        """Remove the jobs that have `ended`, then the workers that have no attempt left."""
        done = ArchiveResult(file=self._path, bytes=os.stat(self._path).st_size, more=more)
        self._remove(filter(_is_job, self._held), ended, done)
        with self._queue.engine.snapshot() as view:
            ended = view.archivable(before, (), self._queue.engine.now())
        self._remove((stream for stream in self._held if stream.startswith("worker:")), ended, done)
        self._progress(1, 1)
        return done

    def _remove(self, streams: Iterable[str], ended: dict[str, int], done: ArchiveResult) -> None:
        source = iter(streams)
        while batch := list(islice(source, self._size)):
            with self._queue.engine.snapshot() as view:
                live = {stream: _state_events(view, stream) for stream in batch}
            complete = [
                stream
                for stream, records in live.items()
                if records and ended.get(stream) == self._held[stream].events == records[-1].version
            ]
            tombstones = [(stream, tombstone(live[stream], self._path)) for stream in complete]
            removed = self._replace(tombstones) if tombstones else []
            earlier = [stream for stream in batch if live[stream] and live[stream][-1].type == "archived"]
            jobs = sum(map(_is_job, removed))
            done.jobs += jobs
            done.workers += len(removed) - jobs
            done.events += sum(self._held[stream].events for stream in removed)
            done.stayed += len(batch) - len(removed) - len(earlier)
            for stream in (*removed, *earlier):
                if _is_job(stream):
                    self._remove_outputs(stream)
            if (files := self._queue.engine.shared_files) is not None:
                gone = [stream for stream in (*removed, *earlier) if _is_job(stream)]
                files.forget_outputs(
                    [(stream.partition(":")[2], lease) for stream in gone for lease in self._held[stream].leases]
                )
            self._count += len(batch)
            self._progress(self._count, len(self._held))

    def _replace(self, tombstones: list[tuple[str, Archived]]) -> list[str]:
        """Replace the events of unchanged streams with tombstones; returns these streams."""
        with self._queue.engine.transaction() as tx:
            began = clock.monotonic()
            writes = [
                Write(stream, subject, [event], event.events)
                for stream, event in tombstones
                for version, subject in [_last_version(tx, stream)]
                if version == event.events
            ]
            removed = [write.stream for write in writes]
            tx.append(writes, self._queue.actor)
            tx.remove(removed)
            tx.forget_secrets(stream.partition(":")[2] for stream in removed if _is_job(stream))
            seconds = clock.monotonic() - began
        self._size = max(1, min(2 * self._size, int(len(tombstones) * TARGET / seconds)))
        return removed

    def _remove_outputs(self, stream: str) -> None:
        """The output of every attempt of a job; where one never started, recovery has left a folder in its place."""
        for lease in self._held[stream].leases:
            path = self._queue.home.output_of(self._identity, stream.partition(":")[2], lease)
            for each in (path, stderr_of(path)):
                try:
                    os.unlink(each)
                except FileNotFoundError:
                    pass
                except IsADirectoryError:
                    os.rmdir(each)
            with suppress(OSError):  # none was made, or the job has put something else there
                os.unlink(progress_of(path))


def _last_version(tx: Transaction, stream: str) -> tuple[int, Any]:
    """The version of a stream's last event, and its subject (None for a job that was purged)."""
    kind, _, id = stream.partition(":")
    subject = tx.job(id) if kind == "job" else tx.worker(id)
    return (subject.version, subject) if subject is not None else (tx.stream(stream)[-1].version, None)

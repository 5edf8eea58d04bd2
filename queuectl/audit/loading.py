"""A log that was exported, taken into a new database: event by event as it was stored (R26)."""

import os
import shutil
from collections.abc import Iterable, Iterator

import msgspec

from queuectl.clock import micros
from queuectl.engines.base import Progress
from queuectl.errors import Invalid, QueueError
from queuectl.events import Recorded, Unreadable
from queuectl.queue import Queue


class _Line(msgspec.Struct, frozen=True):
    """The common shape of an event, with the payload left as it is."""

    seq: int
    stream: str
    version: int
    type: str
    v: int
    at: str
    actor: str
    data: msgspec.Raw


_decode = msgspec.json.Decoder(_Line).decode


def load(queue: Queue, lines: Iterable[bytes], progress: Progress | None = None) -> int:
    """Take in a whole log, one event as JSON a line, all or nothing; returns how many events.

    The queue must have no event yet. Raises Refused where it has, Invalid for what is no whole log: it names the line.
    """
    number = last = 0

    def records() -> Iterator[Recorded]:
        nonlocal number, last
        for line in lines:
            number += 1
            record = _read(line)
            if record.seq <= last:
                raise Invalid(f"event {record.seq} comes after event {last}")
            last = record.seq
            yield record

    try:
        queue.engine.load(records(), progress)
    except Invalid as error:
        raise Invalid(f"line {number}: {error}; nothing was taken in") from error
    if not number:
        raise Invalid("there is no event in it: give what `queuectl export` wrote")
    return number


def rebuild(queue: Queue, path: str, progress: Progress | None = None) -> int:
    """Fold a queue's log into a new database at `path`; returns how many events it has.

    Only the log is read: what is wrong with the tables stays behind. Raises QueueError where something stands there.
    """
    if os.path.lexists(path) or os.path.lexists(path + ".d"):
        raise QueueError(f"{path} exists already: name a new database")
    try:
        with Queue(path) as fresh:
            fresh.engine.load(queue.events(), progress)
            return fresh.status().seq
    except BaseException:
        for made in (path, path + "-wal", path + "-shm"):
            if os.path.lexists(made):
                os.unlink(made)
        shutil.rmtree(path + ".d", ignore_errors=True)
        raise


def _read(line: bytes) -> Recorded:
    try:
        found = _decode(line)
        data = bytes(found.data).decode()
        record = Recorded(
            found.seq, found.stream, found.version, found.type, found.v, micros(found.at), found.actor, data
        )
        _ = record.event
    except (msgspec.DecodeError, Unreadable, ValueError) as error:
        raise Invalid(f"is no event as `queuectl export` writes it ({error})") from error
    return record

"""Reading archives: files of events that have left the log, NDJSON in the common shape, compressed with gzip."""

import os
import stat
import tempfile
from collections.abc import Container, Generator, Iterator
from contextlib import contextmanager

from queuectl.audit.event_lines import lines, parse, stream_of
from queuectl.engines.contents import Contents
from queuectl.errors import Invalid, NotFound, QueueError
from queuectl.events import Claimed, Recorded
from queuectl.queue import Queue


def read(path: str, streams: Container[str] | None = None) -> Iterator[Recorded]:
    """The events of an archive, or those of some streams, in the order of the log, one at a time.

    Raises Invalid, naming file and line, for one that is damaged or cut off, QueueError where it can't be read.
    """
    number = last = 0
    try:
        with open(_regular(path), "rb") as file:
            for line in lines(file):
                number += 1
                if streams is not None and stream_of(line) not in streams:
                    continue
                record = parse(line)
                if record.seq <= last:
                    raise Invalid(f"event {record.seq} comes after event {last}")
                last = record.seq
                yield record
    except Invalid as error:
        raise Invalid(f"{path}, line {number}: {error}") from error
    except OSError as error:
        raise QueueError(f"can't read {path}: {error.strerror}") from error
    if not number:
        raise Invalid(f"{path}: there is no event in it")


def _regular(path: str) -> int:
    """Open a regular file: a pipe or a device could keep who reads it for ever. Raises OSError, QueueError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    if stat.S_ISREG(os.fstat(fd).st_mode):
        return fd
    os.close(fd)
    raise QueueError(f"can't read {path}: it is no regular file")


@contextmanager
def open_archive(path: str, id: str) -> Generator[Queue]:
    """A queue, for as long as it is looked at, of one archived job and of what the archive has of its workers.

    Raises NotFound where the job is not in it, Invalid for a damaged archive, QueueError where it can't be read.
    """
    wanted = {f"job:{id}"}
    records = list(read(path, wanted))
    if not records:
        raise NotFound(f"no job {id!r} in {path}")
    wanted.update(f"worker:{event.worker}" for record in records if isinstance(event := record.event, Claimed))
    with tempfile.TemporaryDirectory(prefix="queuectl-") as folder, Queue(os.path.join(folder, "q.db")) as queue:
        queue.engine.set_durability("normal")
        queue.engine.load(Contents(read(path, wanted)))
        yield queue

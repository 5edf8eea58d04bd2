"""What an attempt has written, wherever it lies: in a file here, in one on another host, or what was kept of that.

An output is read by places: bytes from its beginning. Where there is nothing between two places, that is missing: cut
out by the limit on outputs (R43), or still on another host. Two sources make up an output: 0 is the output file, 1 the
one for stderr, of a job that has that apart.
"""

import errno
import os
import time
from collections.abc import Iterable
from typing import Protocol

from msgspec import structs

from queuectl.clock import monotonic
from queuectl.engines.base import Engine
from queuectl.engines.shared_files import ATTENTION, OutputEnds, OutputPiece, OutputRequest, SharedFiles
from queuectl.errors import OutputGone
from queuectl.home import stderr_of

END = 4096
"""Bytes of the beginning, and of the end, of an output that other hosts can read once the attempt has ended."""
PIECE = 1 << 20
"""Bytes that a worker sends at once."""

_NO_HOLES = (errno.EINVAL, errno.EOPNOTSUPP)


class Output(Protocol):
    """What can be read."""

    why: str
    """What became of the bytes that are missing: "are not kept …"."""

    @property
    def size(self) -> int:
        """Bytes, also of what is missing. It may grow, or shrink where the command empties its file."""
        ...

    def extent(self, position: int, size: int) -> tuple[int, int]:
        """Where the next bytes at or behind `position` begin, and where something is missing again; at most `size`."""
        ...

    def read(self, count: int, position: int) -> bytes:
        """At most so many bytes, of those that are there."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class LocalOutput:
    """A file on this host. Raises FileNotFoundError where there is none."""

    why = "are not kept (output-limit)"

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    @property
    def size(self) -> int:
        """See `Output`."""
        return os.fstat(self._fd).st_size

    def extent(self, position: int, size: int) -> tuple[int, int]:
        """See `Output`. What was cut out is a hole in the file (SEEK_DATA, SEEK_HOLE), and would read as NUL bytes."""
        try:
            data = min(os.lseek(self._fd, position, os.SEEK_DATA), size)
            return data, min(os.lseek(self._fd, data, os.SEEK_HOLE), size) if data < size else size
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data from here on
                return size, size
            if error.errno in _NO_HOLES:
                return position, size
            raise

    def read(self, count: int, position: int) -> bytes:
        """See `Output`."""
        return os.pread(self._fd, count, position)

    def close(self) -> None:
        """See `Output`."""
        os.close(self._fd)


class OutputOfEnds:
    """The beginning and the end of an output that lies elsewhere."""

    def __init__(self, ends: OutputEnds, where: str) -> None:
        """`where` says where the whole file is."""
        self.why = f"are not here: {where}"
        self.size = ends.size
        self._ends = ends
        self._tail = ends.size - len(ends.tail)

    def extent(self, position: int, size: int) -> tuple[int, int]:
        """See `Output`."""
        head = len(self._ends.head)
        if head == self._tail:
            return min(position, size), size
        begin, end = (position, head) if position < head else (max(position, self._tail), self.size)
        return min(begin, size), min(end, size)

    def read(self, count: int, position: int) -> bytes:
        """See `Output`."""
        head = self._ends.head
        if position < len(head):
            return head[position : position + count]
        return self._ends.tail[position - self._tail :][:count]

    def close(self) -> None:
        """See `Output`."""


class RemoteOutput:
    """A file on another host, of which a worker there sends the pieces that are asked for.

    What reads raises OutputGone where none has answered for `ATTENTION` seconds, and then at once, until one does.
    """

    why = LocalOutput.why

    def __init__(self, files: SharedFiles, identity: str, job: str, lease: int, source: int, where: str) -> None:
        """`identity` is that of the home on the other host. `where` says which file on which host."""
        self._files = files
        self._request = OutputRequest(os.urandom(8).hex(), identity, job, lease, source, 0, 0)
        self._where = where
        self._woken = 0.0
        """When the workers were woken, in monotonic seconds."""
        self._piece: OutputPiece | None = None
        self._is_silent = False
        """Whether the last question has no answer yet."""

    def ask(self, position: int, patience: float) -> OutputPiece | None:
        """What is at this place now; None where no worker has answered within so many seconds."""
        last, began = self._request, monotonic()
        if not self._is_silent or position != last.start:
            self._request = structs.replace(last, start=position, number=last.number + 1)
        wake = began - self._woken > ATTENTION / 2
        self._woken = began if wake else self._woken
        self._files.ask(self._request, wake=wake)
        while (piece := self._files.answer_to(self._request)) is None:
            if monotonic() - began >= patience:
                self._is_silent = True
                return None
            time.sleep(_POLL)
        self._is_silent = False
        self._piece = piece
        return piece

    @property
    def size(self) -> int:
        """See `Output`. It is asked anew, and what is behind the last piece comes with the answer."""
        return self._answered(0 if self._piece is None else self._piece.begin + len(self._piece.data)).size or 0

    def extent(self, position: int, size: int) -> tuple[int, int]:
        """See `Output`."""
        if position >= size:
            return size, size
        piece = self._at(position)
        return min(max(piece.begin, position), size), min(piece.end, size)

    def read(self, count: int, position: int) -> bytes:
        """See `Output`."""
        found = b""
        while len(found) < count:
            at = position + len(found)
            piece = self._at(at)
            if not (more := piece.data[max(at - piece.begin, 0) :][: count - len(found)]):
                break
            found += more
        return found

    def close(self) -> None:
        """See `Output`."""
        self._files.withdraw(self._request.id)

    def _at(self, position: int) -> OutputPiece:
        """The piece with what is at this place."""
        piece = self._piece
        if piece is not None and self._request.start <= position < piece.begin + max(len(piece.data), 1):
            return piece
        return self._answered(position)

    def _answered(self, position: int) -> OutputPiece:
        piece = self.ask(position, 0.0 if self._is_silent else ATTENTION)
        if piece is None:
            raise OutputGone(f"no worker of that host answers any more: {self._where}")
        return piece


_POLL = 0.02
"""Seconds between two looks for an answer."""


def ends_of(path: str, job: str, lease: int) -> list[OutputEnds]:
    """The ends of the files of an attempt, by the path of its output file; none where it never started."""
    found: list[OutputEnds] = []
    for source in (0, 1):
        if (output := _local(path, source)) is None:
            continue
        try:
            size = output.size
            first = output.extent(0, size)
            if size <= 2 * END and first == (0, size):
                head, tail = output.read(size, 0), b""
            else:
                head = output.read(min(END, first[1]), 0) if first[0] == 0 else b""
                begin, end = output.extent(max(size - END, len(head)), size)
                tail = output.read(end - begin, begin)
            found.append(OutputEnds(job, lease, source, size, head, tail))
        finally:
            output.close()
    return found


def keep_ends(engine: Engine, identity: str, attempts: Iterable[tuple[str, int]]) -> None:
    """Keep the ends of what these attempts, by job and lease, have written here, for other hosts.

    `identity` is that of the home. Done before their end is in the log. Raises Unusable.
    """
    if engine.shared_files is not None:
        paths = ((engine.home.output_of(identity, job, lease), job, lease) for job, lease in attempts)
        engine.shared_files.keep_outputs([ends for path, job, lease in paths for ends in ends_of(path, job, lease)])


def piece_of(path: str, request: OutputRequest) -> OutputPiece:
    """The answer to a request for the output file at this path, or for the file for stderr beside it."""
    if (output := _local(path, request.source)) is None:
        return OutputPiece(None)
    try:
        size = output.size
        if request.start >= size:
            return OutputPiece(size, size, size)
        begin, end = output.extent(request.start, size)
        data = output.read(min(PIECE, end - begin), begin)
        if data and output.extent(begin, begin + len(data)) != (begin, begin + len(data)):
            return piece_of(path, request)  # a hole was punched meanwhile
        return OutputPiece(size, begin, end, data)
    finally:
        output.close()


def _local(path: str, source: int) -> LocalOutput | None:
    path = stderr_of(path) if source else path
    return LocalOutput(path) if os.path.isfile(path) else None  # recovery makes a folder where nothing was started

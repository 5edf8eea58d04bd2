"""Reading the output file of an attempt piece by piece, without what was cut out of its middle.

The file has a hole there (R43: nobody wrote the NUL bytes that reading it would give), which the file system tells.
"""

import errno
import os
from collections.abc import Iterator

_BLOCK = 1 << 18
_CANT_TELL = (errno.EINVAL, errno.EOPNOTSUPP)


class OutputFile:
    """An output file, and how far it was read. Raises FileNotFoundError where there is none."""

    def __init__(self, path: str) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.position = 0

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.fd)

    def more(self) -> Iterator[bytes | int]:
        """What is there and has not been read, in pieces; where something was cut out, how many bytes that were."""
        size = os.fstat(self.fd).st_size  # not what is added while it is read: within the job that would be itself
        if size < self.position:  # the command emptied its own output: begin anew
            self.position = 0
        while self.position < size:
            data, hole = self._extent(self.position, size)
            if data > self.position:
                cut, self.position = data - self.position, data
                yield cut
                continue
            piece = os.pread(self.fd, min(_BLOCK, hole - data), data)
            if not piece:
                return
            if self._extent(data, data + len(piece)) != (data, data + len(piece)):
                continue  # a hole was punched meanwhile
            self.position += len(piece)
            yield piece

    def _extent(self, position: int, size: int) -> tuple[int, int]:
        """Where data begins at the position or behind it, and where that data ends."""
        try:
            data = min(os.lseek(self.fd, position, os.SEEK_DATA), size)
            return data, min(os.lseek(self.fd, data, os.SEEK_HOLE), size) if data < size else size
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data from here on
                return size, size
            if error.errno in _CANT_TELL:
                return position, size
            raise

    def last(self, count: int) -> int:
        """Go to where the last so many bytes begin, behind a hole in them; the position."""
        size = os.fstat(self.fd).st_size
        self.position = max(size - count, 0)
        for start, end in self._backwards(size):
            if start == end:
                self.position = max(self.position, end)
            if start <= self.position:
                break
        return self.position

    def tail(self, lines: int) -> None:
        """Go to where the last so many lines begin. A line is what ends with LF."""
        size = os.fstat(self.fd).st_size
        if lines <= 0:
            self.position = size
            return
        missing = lines + 1 if size and os.pread(self.fd, 1, size - 1) == b"\n" else lines
        for start, end in self._backwards(size):
            data = os.pread(self.fd, end - start, start)
            found = data.count(b"\n")
            if found >= missing:
                cut = len(data)
                for _ in range(missing):
                    cut = data.rindex(b"\n", 0, cut)
                self.position = start + cut + 1
                return
            missing -= found
        self.position = 0

    def _backwards(self, size: int) -> Iterator[tuple[int, int]]:
        """The pieces of the file from its end on, at most a block each; of a hole an empty one, where it ends."""
        extents: list[tuple[int, int]] = []
        at = 0
        while at < size:
            data, at = self._extent(at, size)
            extents.append((data, at))
        while extents:
            first, end = extents.pop()
            while end > first:
                start = max(end - _BLOCK, first)
                yield start, end
                end = start
            if first:
                yield first, first

    def skip_states(self, keep: int) -> None:
        """Leave out what CR divides of the line at the position, but for the last part and the last `keep` bytes."""
        begin = self.position
        end = self._line_end() - keep
        self.position = begin
        only_ends = not keep  # CR at the end of the line divides nothing
        for start, stop in self._backwards(end):
            if stop <= begin:
                return
            start = max(start, begin)
            data = os.pread(self.fd, stop - start, start)
            data = data.rstrip(b"\r") if only_ends else data
            only_ends = not data
            if (found := data.rfind(b"\r")) >= 0:
                self.position = start + found + 1
                return

    def _line_end(self) -> int:
        for piece in self.more():
            if isinstance(piece, bytes) and (found := piece.find(b"\n")) >= 0:
                return self.position - len(piece) + found
        return self.position

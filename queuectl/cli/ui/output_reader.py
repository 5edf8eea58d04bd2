"""Reading the output of an attempt piece by piece, without what is missing in its middle."""

from collections.abc import Iterator

from queuectl.outputs import Output

_BLOCK = 1 << 18


class OutputReader:
    """An output with a read position."""

    def __init__(self, output: Output) -> None:
        self._output = output
        self.position = 0

    def close(self) -> None:
        """Let go of the output."""
        self._output.close()

    @property
    def why_missing(self) -> str:
        """What became of the bytes that `read_new` counts only."""
        return self._output.why

    def read_new(self) -> Iterator[bytes | int]:
        """Yield what has not been read, in pieces; for a hole its size in bytes."""
        size = self._output.size  # fixed: a job that reads its own output would never reach the end
        if size < self.position:  # the command emptied its own output: begin anew
            self.position = 0
        while self.position < size:
            data, hole = self._extent(self.position, size)
            if data > self.position:
                cut, self.position = data - self.position, data
                yield cut
                continue
            piece = self._output.read(min(_BLOCK, hole - data), data)
            if not piece:
                return
            if self._extent(data, data + len(piece)) != (data, data + len(piece)):
                continue  # a hole was punched meanwhile
            self.position += len(piece)
            yield piece

    def _extent(self, position: int, size: int) -> tuple[int, int]:
        """Return where the next data at or after the position begins, and where it ends."""
        return self._output.extent(position, size)

    def seek_last_bytes(self, count: int) -> int:
        """Move to the last `count` bytes, or behind a hole in them; return the position."""
        size = self._output.size
        self.position = max(size - count, 0)
        for start, end in self._backwards(size):
            if start == end:
                self.position = max(self.position, end)
            if start <= self.position:
                break
        return self.position

    def seek_last_lines(self, lines: int) -> None:
        """Move to the beginning of the last `lines` lines. A line ends with LF."""
        size = self._output.size
        if lines <= 0:
            self.position = size
            return
        missing = lines + 1 if size and self._output.read(1, size - 1) == b"\n" else lines
        for start, end in self._backwards(size):
            data = self._output.read(end - start, start)
            ends = data.count(b"\n")
            if ends >= missing:
                cut = len(data)
                for _ in range(missing):
                    cut = data.rindex(b"\n", 0, cut)
                self.position = start + cut + 1
                return
            missing -= ends
        self.position = 0

    def _backwards(self, size: int) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of blocks of data from the end of the file on; for a hole an empty block at its end."""
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

    def skip_overwritten(self, keep: int) -> None:
        """Skip the parts of the current line that a CR ends, except the last part and the last `keep` bytes."""
        begin = self.position
        end = self._line_end() - keep
        self.position = begin
        only_ends = not keep  # CR at the end of the line divides nothing
        for start, stop in self._backwards(end):
            if stop <= begin:
                return
            start = max(start, begin)
            data = self._output.read(stop - start, start)
            data = data.rstrip(b"\r") if only_ends else data
            only_ends = not data
            if (found := data.rfind(b"\r")) >= 0:
                self.position = start + found + 1
                return

    def _line_end(self) -> int:
        for piece in self.read_new():
            if isinstance(piece, bytes) and (found := piece.find(b"\n")) >= 0:
                return self.position - len(piece) + found
        return self.position

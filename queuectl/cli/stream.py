"""What a command wrote, shown while it runs and after: raw bytes into a pipe, escaped on a terminal."""

import codecs
import errno
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from projections.jobs import FINAL
from queuectl import units
from queuectl.cli import output
from queuectl.errors import NotFound

if TYPE_CHECKING:
    from projections.jobs import Job
    from queuectl.queue import Queue

_BLOCK = 1 << 18
_KEPT = "\n\t"
"""The control characters that a terminal may get; all others are shown as escapes."""


class Printer:
    """Writes bytes of a command to stdout. For a terminal it decodes them and escapes what could move the cursor."""

    def __init__(self) -> None:
        self.terminal = output.terminal()
        self._decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode
        self.column = 0
        """Not 0 in the middle of a line."""

    def write(self, data: bytes) -> None:
        """Print some more."""
        if self.terminal:
            text = self._decode(data).replace("\r\n", "\n")
            sys.stdout.write("".join(c if c.isprintable() or c in _KEPT else output.safe(c) for c in text))
            sys.stdout.flush()
        else:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        if data:
            self.column = 0 if data.endswith(b"\n") else 1

    def finish(self) -> None:
        """End a line that was begun, for what comes after it on a terminal."""
        if self.column and self.terminal:
            sys.stdout.write("\n")
            self.column = 0
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Say something beside the output, on a line of its own."""
        self.finish()
        output.note(text)


class Reader:
    """Reads an output file piece by piece. Where the middle was punched out of it, it skips the hole and says so."""

    def __init__(self, path: str, printer: Printer) -> None:
        self.fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self.printer = printer
        self.position = 0

    def close(self) -> None:
        """Let go of the file."""
        os.close(self.fd)

    def more(self) -> bool:
        """Print what is there and has not been printed; whether there was anything."""
        before = self.position
        size = os.fstat(self.fd).st_size  # not what is added while it is printed: within the job that would be itself
        if size < self.position:  # the command emptied its own output: begin anew
            self.position = before = 0
        while self.position < size:
            self._skip_hole()
            data = os.pread(self.fd, _BLOCK, self.position)
            if not data:
                break
            self.position += len(data)
            self.printer.write(data)
        return self.position > before

    def _skip_hole(self) -> None:
        try:
            data = os.lseek(self.fd, self.position, os.SEEK_DATA)
        except OSError as error:
            if error.errno in (errno.ENXIO, errno.EINVAL, errno.EOPNOTSUPP):  # no data from here on; or can't tell
                return
            raise
        if data > self.position:
            self.printer.note(f"{units.size_text(data - self.position)} of the output are not kept (output-limit)")
            self.position = data

    def tail(self, lines: int) -> None:
        """Go to where the last so many lines begin."""
        end = start = os.fstat(self.fd).st_size
        if lines <= 0:
            self.position = end
            return
        missing = lines + 1 if end and os.pread(self.fd, 1, end - 1) == b"\n" else lines
        while start > 0:
            length = min(_BLOCK, start)
            data = os.pread(self.fd, length, start - length)
            found = data.count(b"\n")
            if found >= missing:
                cut = len(data)
                for _ in range(missing):
                    cut = data.rindex(b"\n", 0, cut)
                self.position = start - length + cut + 1
                return
            missing -= found
            start -= length
        self.position = 0


def show(path: str, tail: int | None) -> None:
    """Print a finished output, or its last lines."""
    reader = Reader(path, Printer())
    try:
        if tail is not None:
            reader.tail(tail)
        reader.more()
        reader.printer.finish()
    finally:
        reader.close()


def follow(
    q: "Queue",
    id: str,
    attempt: int | None = None,
    tail: int | None = None,
    meanwhile: Callable[[], None] | None = None,
) -> "Job":
    """Print a job's output as it comes: of one attempt, or of this and all further ones until the job has ended.

    Waits for the first attempt. `meanwhile` is called again and again. Returns the job as it is then. Raises
    NotFound for an attempt that ended without output.
    """
    q.refuse_own(id)  # it would wait for itself, and show what it shows for ever
    printer = Printer()
    job = q.job(id)
    number = attempt if attempt is not None else max(job.attempt, 1)
    while True:
        job = _one(q, id, number, printer, tail, meanwhile)
        tail = None
        printer.finish()
        if attempt is not None or job.state in FINAL:
            return job
        if job.attempt <= number:
            job = _next(q, id, number, meanwhile)
            if job.attempt <= number:
                return job
        number = job.attempt
        printer.note(f"attempt {number}")


def _next(q: "Queue", id: str, number: int, meanwhile: Callable[[], None] | None) -> "Job":
    """Wait until an attempt after this one begins, or the job has ended."""
    job = q.job(id)
    while job.attempt <= number and job.state not in FINAL:
        if meanwhile is not None:
            meanwhile()
        time.sleep(0.05)
        job = q.job(id)
    return job


def _one(
    q: "Queue", id: str, number: int, printer: Printer, tail: int | None, meanwhile: Callable[[], None] | None
) -> "Job":
    """Print one attempt's output until the attempt has ended."""
    reader: Reader | None = None
    pause = 0.01
    try:
        while True:
            if meanwhile is not None:
                meanwhile()
            job = q.job(id)  # before the read: what it wrote until its end is in the file when its end is in the log
            over = job.attempt > number or (job.attempt == number and job.state != "processing") or job.state in FINAL
            if reader is None:
                reader = _open(q, id, number, printer)
                if reader is not None and tail is not None:
                    reader.tail(tail)
            news = reader.more() if reader is not None else False
            if over:
                return job
            pause = 0.01 if news else min(pause * 1.3, 0.2)
            time.sleep(pause)
    finally:
        if reader is not None:
            reader.close()


def _open(q: "Queue", id: str, number: int, printer: Printer) -> Reader | None:
    try:
        return Reader(q.output(id, number), printer)
    except (NotFound, FileNotFoundError):  # it has not started yet, or ended before it wrote
        return None


def last_lines(path: str, count: int) -> tuple[list[str], bool]:
    """The last lines of an output as text (each at most 4 KiB of it), and whether there is more before them."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(fd).st_size
        start = max(size - count * 4096, 0)
        data = os.pread(fd, size - start, start)
    finally:
        os.close(fd)
    lines = data.decode("utf-8", "backslashreplace").rstrip("\n").split("\n")
    if lines == [""]:
        return [], False
    return [line.rstrip("\r") for line in lines[-count:]], start > 0 or len(lines) > count

"""The output of commands, shown while they run and after: raw bytes into a pipe, sanitized on a terminal."""

import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from typing import TYPE_CHECKING

from projections.jobs import FINAL
from queuectl import units
from queuectl.cli.ui import output
from queuectl.cli.ui.output_file import OutputFile
from queuectl.cli.ui.terminal import Sanitizer, Screen, without_colours
from queuectl.errors import NotFound, OutputGone

if TYPE_CHECKING:
    from projections.jobs import Job
    from queuectl.queue import Queue

_LONGEST_LINE = 1 << 20
"""Bytes of a line that are held and shown as one; of a progress bar, the last ones."""


class Printer:
    """Writes the output of a command to stdout: unchanged into a pipe, sanitized on a terminal.

    `final_lines` shows each line on a terminal as it is when it ends: for output that is complete.
    """

    def __init__(self, final_lines: bool = False) -> None:
        self.terminal = output.is_terminal()
        self._sanitizer = Sanitizer()
        self._screen = Screen() if final_lines else None
        self._mid_line = False

    def write(self, data: bytes) -> None:
        """Print a piece of output."""
        if self.terminal:
            self._text(self._sanitizer.feed(data))
            sys.stdout.flush()
        else:
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

    def _text(self, text: str) -> None:
        if self._screen is not None:
            sys.stdout.write(self._screen.feed(text))
        elif text:
            sys.stdout.write(text)
            if ink := without_colours(text):
                self._mid_line = not ink.endswith("\n")

    def finish(self) -> None:
        """On a terminal, end an unfinished line and its colours."""
        if self.terminal:
            self._text(self._sanitizer.end())
            sys.stdout.write(self._screen.end() if self._screen is not None else "\n" if self._mid_line else "")
            self._mid_line = False
        sys.stdout.flush()

    def message(self, text: str) -> None:
        """Print a message to stderr, on a line of its own."""
        self.finish()
        output.message(text)

    def write_new(self, written: OutputFile) -> bool:
        """Print what is new in the file; return whether there was anything."""
        news = False
        for piece in written.read_new():
            news = True
            if isinstance(piece, bytes):
                self.write(piece)
            else:
                self.message(f"{units.size_text(piece)} of the output are not kept (output-limit)")
        return news


class PrefixedPrinter(Printer):
    """Writes whole lines, each with a prefix that names its job.

    A line is written when it has ended, or by `finish`; one of more than 1 MiB is divided. A terminal shows each line
    as it was when it ended, or with `raw` each state of a progress bar as a line.
    """

    def __init__(self, prefix: str, name: str, raw: bool = False) -> None:
        super().__init__(final_lines=True)
        self._prefix, self._name, self._raw = prefix, name, raw
        self._unfinished = b""

    def write(self, data: bytes) -> None:
        """Print the lines that are complete."""
        *lines, self._unfinished = (self._unfinished + data).split(b"\n")
        while len(self._unfinished) > _LONGEST_LINE:
            lines.append(self._unfinished[:_LONGEST_LINE])
            self._unfinished = self._unfinished[_LONGEST_LINE:]
        self._lines(lines)

    def _lines(self, lines: Iterable[bytes]) -> None:
        if self.terminal:
            for line in lines:
                for state in line.rstrip(b"\r").split(b"\r") if self._raw else (line,):
                    super().write(state + b"\n")
        else:
            prefix = self._prefix.encode()
            sys.stdout.buffer.write(b"".join(b"%b%b\n" % (prefix, line) for line in lines))
            sys.stdout.buffer.flush()

    def _text(self, text: str) -> None:
        assert self._screen is not None
        if done := self._screen.feed(text):
            sys.stdout.write(self._prefix + done)

    def finish(self) -> None:
        """Print the unfinished line as if it had ended."""
        if self._unfinished:
            self._lines([self._unfinished])
            self._unfinished = b""
        sys.stdout.flush()

    def message(self, text: str) -> None:
        """Print a message that begins with the name of the job."""
        super().message(f"{self._name}: {text}")


def prefixed_printers(ids: Sequence[str], raw: bool = False) -> dict[str, Printer]:
    """Return a printer for each job, with the prefix `id | `, aligned."""
    names = [output.escape(id) for id in ids]
    widest = max(map(output.display_width, names), default=0)
    return {
        id: PrefixedPrinter(f"{name}{' ' * (widest - output.display_width(name))} | ", f"job {name}", raw)
        for id, name in zip(ids, names, strict=True)
    }


def show(path: str, tail: int | None, raw: bool = False, printer: Printer | None = None) -> None:
    """Print a complete output or its last lines; of a progress bar the last state, unless `raw`."""
    printer = printer or Printer(final_lines=not raw)
    with closing(OutputFile(path)) as written:
        if tail is not None:
            _tail(written, printer, tail, raw)
        try:
            printer.write_new(written)
        finally:
            printer.finish()


def _tail(written: OutputFile, printer: Printer, lines: int, raw: bool) -> None:
    written.seek_last_lines(lines)
    if not raw:
        written.skip_overwritten(keep=_LONGEST_LINE if printer.terminal else 0)


def follow(
    q: "Queue",
    id: str,
    attempt: int | None = None,
    tail: int | None = None,
    meanwhile: Callable[[], None] | None = None,
    raw: bool = False,
) -> "Job":
    """Print the output of a job as it grows: of one attempt, or of the present and all later ones until the job ends.

    Waits for the first attempt. `meanwhile` is called repeatedly. Returns the job as it is at the end. A message names
    an attempt whose output file is gone.
    """
    q.refuse_own(id)  # a job that follows itself never ends
    return _run_all([_follow_job(q, id, attempt, Printer(), (tail, raw))], meanwhile)[0]


def follow_all(
    q: "Queue", ids: Sequence[str], tail: int | None, meanwhile: Callable[[], None] | None = None, raw: bool = False
) -> list["Job"]:
    """Print the output of several jobs as it grows, with prefixes, until all have ended; return the jobs."""
    for id in ids:
        q.refuse_own(id)
    printers = prefixed_printers(ids, raw)
    return _run_all([_follow_job(q, id, None, printers[id], (tail, raw)) for id in ids], meanwhile)


_Steps = Generator[float, None, "Job"]
"""Each step prints what is new of one job and yields the seconds until the next step."""


def _run_all(jobs: Sequence[_Steps], meanwhile: Callable[[], None] | None) -> list["Job"]:
    """Run the steps of all jobs in one loop until each has ended."""
    ended: dict[int, Job] = {}
    try:
        while True:
            if meanwhile is not None:
                meanwhile()
            pauses: list[float] = []
            for number, steps in enumerate(jobs):
                if number not in ended:
                    try:
                        pauses.append(next(steps))
                    except StopIteration as end:
                        ended[number] = end.value
            if not pauses:
                return [ended[number] for number in range(len(jobs))]
            time.sleep(min(pauses))
    finally:  # on Ctrl-C too: ends unfinished lines
        for steps in jobs:
            steps.close()


def _follow_job(q: "Queue", id: str, attempt: int | None, printer: Printer, start: tuple[int | None, bool]) -> _Steps:
    """Print the output of one attempt, or of all until the job has ended; return the job as it is then."""
    tail, raw = start
    job = q.job(id)
    number = attempt if attempt is not None else max(job.attempt, 1)
    while True:
        try:
            job = yield from _follow_attempt(q, id, number, printer, (tail, raw))
        finally:  # on Ctrl-C too: ends the colours
            printer.finish()
        tail = None
        if attempt is not None or job.state in FINAL:
            return job
        if job.attempt <= number:
            job = yield from _wait_for_next(q, id, number)
            if job.attempt <= number:
                return job
        number = job.attempt
        printer.message(f"attempt {number}")


def _wait_for_next(q: "Queue", id: str, number: int) -> _Steps:
    """Wait until a later attempt begins or the job has ended."""
    job = q.job(id)
    while job.attempt <= number and job.state not in FINAL:
        yield 0.05
        job = q.job(id)
    return job


def _follow_attempt(q: "Queue", id: str, number: int, printer: Printer, start: tuple[int | None, bool]) -> _Steps:
    """Print one attempt's output, from its last lines on if `start` names a number, until the attempt has ended."""
    written: OutputFile | None = None
    tail, raw = start
    pause = 0.01
    try:
        while True:
            job = q.job(id)  # before the read: the output of an attempt is complete once its end is in the log
            over = job.attempt > number or (job.attempt == number and job.state != "processing") or job.state in FINAL
            if written is None:
                written = _open(q, id, number)
                if written is not None and tail is not None:
                    _tail(written, printer, tail, raw)
            news = printer.write_new(written) if written is not None else False
            if over:
                if written is None:
                    _report_gone(q, id, number, printer)
                return job
            pause = 0.01 if news else min(pause * 1.3, 0.2)
            yield pause
    finally:
        if written is not None:
            written.close()


def _open(q: "Queue", id: str, number: int) -> OutputFile | None:
    try:
        return OutputFile(q.output(id, number))
    except (NotFound, FileNotFoundError):  # not started yet, or ended without output
        return None


def _report_gone(q: "Queue", id: str, number: int, printer: Printer) -> None:
    try:
        q.output(id, number)
    except OutputGone as gone:
        printer.message(str(gone))
    except NotFound:
        pass  # it ended without output


def last_lines(path: str, count: int) -> tuple[list[str], bool]:
    """Return the last lines of an output as a terminal shows them (at most 4 KiB each), and whether there are more."""
    with closing(OutputFile(path)) as written:
        has_more = written.seek_last_bytes(count * 4096) > 0
        sanitizer, screen = Sanitizer(), Screen()
        parts = [sanitizer.feed(piece) for piece in written.read_new() if isinstance(piece, bytes)]
        text = screen.feed("".join(parts)) + screen.feed(sanitizer.end()) + screen.end()
    lines = text.rstrip("\n").split("\n")
    if lines == [""]:
        return [], False
    return lines[-count:], has_more or len(lines) > count

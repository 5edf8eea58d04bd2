"""What a command wrote, shown while it runs and after: raw bytes into a pipe, made fit for it on a terminal."""

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

_STATES = 1 << 20
"""Bytes of a line that decide how it looks on a terminal: of a progress bar, the states that it had last."""


class Printer:
    """Writes bytes of a command to stdout: as they are into a pipe, and what a terminal may get of them to a terminal.

    `folded` shows each line of them on a terminal as it stands when it ends, which is for what is written already.
    """

    def __init__(self, folded: bool = False) -> None:
        self.terminal = output.is_terminal()
        self._safe = Sanitizer()
        self._screen = Screen() if folded else None
        self._begun = False  # in the middle of a line

    def write(self, data: bytes) -> None:
        """Print some more."""
        if self.terminal:
            self._text(self._safe.feed(data))
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
                self._begun = not ink.endswith("\n")

    def finish(self) -> None:
        """End a line that was begun, and its colours, for what comes after it on a terminal."""
        if self.terminal:
            self._text(self._safe.end())
            sys.stdout.write(self._screen.end() if self._screen is not None else "\n" if self._begun else "")
            self._begun = False
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Say something beside the output, on a line of its own."""
        self.finish()
        output.message(text)

    def more(self, written: OutputFile) -> bool:
        """Print what was written and has not been printed; whether there was anything."""
        news = False
        for piece in written.more():
            news = True
            if isinstance(piece, bytes):
                self.write(piece)
            else:
                self.note(f"{units.size_text(piece)} of the output are not kept (output-limit)")
        return news


class PrefixedPrinter(Printer):
    """Writes whole lines, each behind a prefix: what several commands write can be told apart.

    A line is written when it has ended, or at the end; one of more than 1 MiB is divided. On a terminal each stands as
    it was when it ended; `raw` shows each state of a progress bar as a line.
    """

    def __init__(self, prefix: str, name: str, raw: bool = False) -> None:
        super().__init__(folded=True)
        self._prefix, self._name, self._raw = prefix, name, raw
        self._held = b""

    def write(self, data: bytes) -> None:
        """Print what has become whole lines."""
        *lines, self._held = (self._held + data).split(b"\n")
        while len(self._held) > _STATES:
            lines.append(self._held[:_STATES])
            self._held = self._held[_STATES:]
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
        """Write a line that was begun as if it had ended."""
        if self._held:
            self._lines([self._held])
            self._held = b""
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Say something about this one's output."""
        super().note(f"{self._name}: {text}")


def prefixed_printers(ids: Sequence[str], raw: bool = False) -> dict[str, Printer]:
    """A printer for each job, which writes `id | ` before its lines, as wide as the widest id."""
    names = [output.escape(id) for id in ids]
    widest = max(map(output.display_width, names), default=0)
    return {
        id: PrefixedPrinter(f"{name}{' ' * (widest - output.display_width(name))} | ", f"job {name}", raw)
        for id, name in zip(ids, names, strict=True)
    }


def show(path: str, tail: int | None, raw: bool = False, printer: Printer | None = None) -> None:
    """Print a finished output, or its last lines: a progress bar as its last state, unless `raw`."""
    printer = printer or Printer(folded=not raw)
    with closing(OutputFile(path)) as written:
        if tail is not None:
            _tail(written, printer, tail, raw)
        try:
            printer.more(written)
        finally:
            printer.finish()


def _tail(written: OutputFile, printer: Printer, lines: int, raw: bool) -> None:
    written.tail(lines)
    if not raw:
        written.skip_states(keep=_STATES if printer.terminal else 0)


def follow(
    q: "Queue",
    id: str,
    attempt: int | None = None,
    tail: int | None = None,
    meanwhile: Callable[[], None] | None = None,
    raw: bool = False,
) -> "Job":
    """Print a job's output as it comes: of one attempt, or of this and all further ones until the job has ended.

    Waits for the first attempt. `meanwhile` is called again and again. Returns the job as it is then. Of an
    attempt whose output file is gone, stderr says so.
    """
    q.refuse_own(id)  # it would wait for itself, and show what it shows for ever
    return _together([_through(q, id, attempt, Printer(), (tail, raw))], meanwhile)[0]


def follow_all(
    q: "Queue", ids: Sequence[str], tail: int | None, meanwhile: Callable[[], None] | None = None, raw: bool = False
) -> list["Job"]:
    """Print the output of several jobs as it comes, with prefixes, until each has ended; returns them."""
    for id in ids:
        q.refuse_own(id)
    printers = prefixed_printers(ids, raw)
    return _together([_through(q, id, None, printers[id], (tail, raw)) for id in ids], meanwhile)


_Steps = Generator[float, None, "Job"]
"""Each step prints what is new of one job, and gives the seconds until there may be more."""


def _together(all: Sequence[_Steps], meanwhile: Callable[[], None] | None) -> list["Job"]:
    """Go through the steps of all in one loop, until each has come to its end."""
    ended: dict[int, Job] = {}
    try:
        while True:
            if meanwhile is not None:
                meanwhile()
            pauses: list[float] = []
            for number, steps in enumerate(all):
                if number not in ended:
                    try:
                        pauses.append(next(steps))
                    except StopIteration as end:
                        ended[number] = end.value
            if not pauses:
                return [ended[number] for number in range(len(all))]
            time.sleep(min(pauses))
    finally:  # also where it is left by Ctrl-C: what each has begun is ended
        for steps in all:
            steps.close()


def _through(q: "Queue", id: str, attempt: int | None, printer: Printer, begin: tuple[int | None, bool]) -> _Steps:
    """Print a job's output, of one attempt or until the job has ended; returns the job as it is then."""
    tail, raw = begin
    job = q.job(id)
    number = attempt if attempt is not None else max(job.attempt, 1)
    while True:
        try:
            job = yield from _one(q, id, number, printer, (tail, raw))
        finally:  # also where it is left by Ctrl-C: its colours must not stay
            printer.finish()
        tail = None
        if attempt is not None or job.state in FINAL:
            return job
        if job.attempt <= number:
            job = yield from _next(q, id, number)
            if job.attempt <= number:
                return job
        number = job.attempt
        printer.note(f"attempt {number}")


def _next(q: "Queue", id: str, number: int) -> _Steps:
    """Wait until an attempt after this one begins, or the job has ended."""
    job = q.job(id)
    while job.attempt <= number and job.state not in FINAL:
        yield 0.05
        job = q.job(id)
    return job


def _one(q: "Queue", id: str, number: int, printer: Printer, begin: tuple[int | None, bool]) -> _Steps:
    """Print one attempt's output, from its last lines on where `begin` says so, until the attempt has ended."""
    written: OutputFile | None = None
    tail, raw = begin
    pause = 0.01
    try:
        while True:
            job = q.job(id)  # before the read: what it wrote until its end is in the file when its end is in the log
            over = job.attempt > number or (job.attempt == number and job.state != "processing") or job.state in FINAL
            if written is None:
                written = _open(q, id, number)
                if written is not None and tail is not None:
                    _tail(written, printer, tail, raw)
            news = printer.more(written) if written is not None else False
            if over:
                if written is None:
                    _tell_gone(q, id, number, printer)
                return job
            pause = 0.01 if news else min(pause * 1.3, 0.2)
            yield pause
    finally:
        if written is not None:
            written.close()


def _open(q: "Queue", id: str, number: int) -> OutputFile | None:
    try:
        return OutputFile(q.output(id, number))
    except (NotFound, FileNotFoundError):  # it has not started yet, or ended before it wrote
        return None


def _tell_gone(q: "Queue", id: str, number: int, printer: Printer) -> None:
    try:
        q.output(id, number)
    except OutputGone as gone:
        printer.note(str(gone))
    except NotFound:
        pass  # it ended before it wrote


def last_lines(path: str, count: int) -> tuple[list[str], bool]:
    """The last lines of an output as a terminal would show them (each of at most 4 KiB), and whether there is more."""
    with closing(OutputFile(path)) as written:
        more = written.last(count * 4096) > 0
        safe, screen = Sanitizer(), Screen()
        parts = [safe.feed(piece) for piece in written.more() if isinstance(piece, bytes)]
        text = screen.feed("".join(parts)) + screen.feed(safe.end()) + screen.end()
    lines = text.rstrip("\n").split("\n")
    if lines == [""]:
        return [], False
    return lines[-count:], more or len(lines) > count

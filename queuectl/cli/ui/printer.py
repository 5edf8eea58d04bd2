"""Printers of what commands write: raw bytes into a pipe, sanitized on a terminal; of several jobs line by line.

What is written comes from one of two sources: the output file of an attempt, or the file for its stderr, if it has one.
"""

import re
import sys
from collections.abc import Iterable, Sequence
from typing import TextIO

from queuectl import units
from queuectl.cli.ui import output, status_line
from queuectl.cli.ui.output_reader import OutputReader
from queuectl.cli.ui.terminal import Sanitizer, Screen, without_colours

LONGEST_LINE = 1 << 20
"""Bytes of a line that are held and shown as one; of a progress bar, the last ones."""

_COLOURS = ("cyan", "yellow", "green", "magenta", "blue")
"""Of the prefixes, in turn."""


class Printer:
    """Writes the output of a command to stdout, or to `out`: unchanged into a pipe, sanitized on a terminal.

    `final_lines` shows each line on a terminal as it is when it ends: for output that is complete.
    """

    def __init__(self, final_lines: bool = False, out: TextIO | None = None) -> None:
        self._out = out if out is not None else sys.stdout
        self.terminal = self._out.isatty()
        self._sanitizer = Sanitizer()
        self._screen = Screen() if final_lines else None
        self._mid_line = False

    def write(self, data: bytes, source: int = 0) -> None:
        """Print a piece of output. `source`: 1 for what comes from the file for stderr."""
        if self.terminal:
            status_line.clear()
            self._text(self._sanitizer.feed(data))
            self._out.flush()
            status_line.printed(mid_line=self._mid_line)
        else:
            self._out.buffer.write(data)
            self._out.buffer.flush()

    def _text(self, text: str) -> None:
        if self._screen is not None:
            self._out.write(self._screen.feed(text))
        elif text:
            self._out.write(text)
            if ink := without_colours(text):
                self._mid_line = not ink.endswith("\n")

    def finish(self) -> None:
        """On a terminal, end an unfinished line and its colours."""
        if self.terminal:
            status_line.clear()
            self._text(self._sanitizer.end())
            self._out.write(self._screen.end() if self._screen is not None else "\n" if self._mid_line else "")
            self._mid_line = False
            status_line.printed(mid_line=False)
        self._out.flush()

    def message(self, text: str) -> None:
        """Print a message to stderr, on a line of its own."""
        self.finish()
        output.message(text)

    def write_new(self, written: OutputReader, source: int = 0) -> bool:
        """Print what is new in the file; return whether there was anything."""
        news = False
        for piece in written.read_new():
            news = True
            if isinstance(piece, bytes):
                self.write(piece, source)
            else:
                self.message(f"{units.size_text(piece)} of the output {written.why_missing}")
        return news


class SplitPrinter(Printer):
    """Writes what comes from the file for stderr to stderr, and all else to stdout."""

    def __init__(self) -> None:
        super().__init__()
        self._stderr = Printer(out=sys.stderr)

    def write(self, data: bytes, source: int = 0) -> None:
        """Print a piece of output."""
        if source:
            self._stderr.write(data)
        else:
            super().write(data)

    def finish(self) -> None:
        """On a terminal, end an unfinished line and its colours."""
        super().finish()
        self._stderr.finish()


class LinePrinter(Printer):
    """Writes whole lines, so that none from one source is torn by one from the other.

    Each may have a prefix that names its job, or only those are written in which a pattern is found.

    A line is written when it has ended, or by `finish`; one of more than 1 MiB is divided. A terminal shows each line
    as it was when it ended, or with `raw` each state of a progress bar as a line.
    """

    def __init__(
        self, prefix: str = "", name: str = "", raw: bool = False, pattern: re.Pattern[str] | None = None
    ) -> None:
        """`name`: begins the messages; empty: they need none."""
        super().__init__(final_lines=True)
        self.found = False
        """Whether a line was written."""
        self._prefix, self._name, self._raw, self._pattern = prefix, name, raw, pattern
        self._unfinished = [b"", b""]
        """Of each source, the line that has not ended."""

    def write(self, data: bytes, source: int = 0) -> None:
        """Print the lines that are complete."""
        *lines, rest = (self._unfinished[source] + data).split(b"\n")
        while len(rest) > LONGEST_LINE:
            lines.append(rest[:LONGEST_LINE])
            rest = rest[LONGEST_LINE:]
        self._unfinished[source] = rest
        self._lines(lines)

    def _lines(self, lines: Sequence[bytes]) -> None:
        if (pattern := self._pattern) is not None:
            lines = [line for line in lines if pattern.search(_searched(line))]
        if not lines:
            return
        self.found = True
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
        """Print unfinished lines as if they had ended, and end the colours."""
        self._lines([rest for rest in self._unfinished if rest])
        self._unfinished = [b"", b""]
        if self.terminal:
            self._text(self._sanitizer.end())
        sys.stdout.flush()

    def message(self, text: str) -> None:
        """Print a message that begins with the name of the job."""
        super().message(f"{self._name}: {text}" if self._name else text)


def _searched(line: bytes) -> str:
    """The text of a line in which a pattern is looked for: without its colours and its line end."""
    return without_colours(line.rstrip(b"\r").decode(errors="replace"))


class PrefixedPrinters:
    """Makes the printers of several jobs: `id | ` stands before each line, aligned, in a colour for each job."""

    def __init__(self, raw: bool = False, pattern: re.Pattern[str] | None = None) -> None:
        self._raw, self._pattern = raw, pattern
        self._widest = 0
        self._made: list[LinePrinter] = []

    @property
    def found(self) -> bool:
        """Whether the pattern was found in any line; without one it is taken as found."""
        return self._pattern is None or any(printer.found for printer in self._made)

    def make(self, ids: Iterable[str]) -> dict[str, LinePrinter]:
        """Return a printer for each of these jobs, aligned to the widest id so far."""
        names = {id: output.escape(id) for id in ids}
        self._widest = max(self._widest, *map(output.display_width, names.values()), 0)
        return {id: self._printer(name) for id, name in names.items()}

    def _printer(self, name: str) -> LinePrinter:
        blank = " " * (self._widest - output.display_width(name))
        prefix = output.paint(f"{name}{blank} |", _COLOURS[len(self._made) % len(_COLOURS)])
        self._made.append(LinePrinter(f"{prefix} ", f"job {name}", self._raw, self._pattern))
        return self._made[-1]

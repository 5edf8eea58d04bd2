"""What the commands print: JSON for machines, aligned columns for people, colour only on a terminal.

stdout carries the answer, stderr everything else. Nothing here imports rich, except for the progress bar.
"""

import io
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, ClassVar

import msgspec

STYLES = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36",
    "pending": "36", "blocked": "2", "processing": "34", "failed": "33", "completed": "32", "dead": "31",
    "cancelled": "35", "running": "32", "stopping": "33", "stopped": "2", "lost": "31", "interrupted": "33",
}  # fmt: skip
"""Styles by name, the states of jobs and workers among them, as ANSI codes."""

_SAMPLE = 500
"""How many rows decide how wide the columns are: an answer of a million rows is streamed."""
_SPACE = 2
"""Blanks between two columns."""
_LEAST = 8
"""No column is cut to less."""
_AS_EMOJI = "\ufe0f"
"""The variation selector that asks for a symbol as an emoji."""


def set_up_streams() -> None:
    """Make stdout and stderr take any text: what their encoding lacks is shown as an escape.

    Where whoever started us has closed one (`>&-`), nothing can be written to stdout, and stderr leads nowhere. With
    PYTHONUNBUFFERED, too, stdout has a buffer: without one, a write to a pipe may be in part.
    """
    for number, name, access in ((1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        if getattr(sys, name) is None:
            while (fd := os.open(os.devnull, access)) < number:
                pass  # a file that is opened later must not take the number of a standard stream
            setattr(sys, name, open(fd, "w", encoding="utf-8"))  # noqa: SIM115 - for the life of the process
    if isinstance(raw := getattr(sys.stdout, "buffer", None), io.FileIO):
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(raw), encoding=sys.stdout.encoding, errors=sys.stdout.errors)
    for stream in (sys.stdout, sys.stderr):
        if stream.errors != "backslashreplace":
            stream.reconfigure(errors="backslashreplace")  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]


def is_terminal() -> bool:
    """Whether the answer goes to a person."""
    return sys.stdout.isatty()


def stderr_is_terminal() -> bool:
    """Whether a person reads what is said beside the answer."""
    return sys.stderr.isatty()


def uses_colour() -> bool:
    """Whether the answer may be coloured (https://no-color.org)."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Columns of the terminal; no limit where there is none."""
    if not is_terminal():
        return sys.maxsize
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def paint(text: str, style: str | None) -> str:
    """The text in a style, where colours are wanted."""
    code = STYLES.get(style or "")
    return f"\x1b[{code}m{text}\x1b[0m" if code and uses_colour() else text


def escape(text: str) -> str:
    """The text with everything that could move a cursor or hide something escaped, on one line."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()


def escape_lines(chunk: bytes) -> bytes:
    """Whole lines for a terminal, with what could move its cursor escaped."""
    return "\n".join(map(escape, chunk.decode().replace("\r\n", "\n").split("\n"))).encode()


def escape_json(data: bytes) -> bytes:
    """The same JSON for a terminal: what could move its cursor or hide something is escaped as JSON does it."""
    text = data.decode()
    return data if text.isprintable() else "".join(map(_escaped_json, text)).encode()


def _escaped_json(character: str) -> str:
    if character.isprintable() or character == "\n":  # between two lines: within a string it is escaped already
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def line(text: str = "") -> None:
    """One line of the answer."""
    if _ProgressBar.shown is not None:  # its work ended before the total
        _ProgressBar.shown.clear()
    sys.stdout.write(text + "\n")


def message(text: str) -> None:
    """One line beside the answer, on stderr."""
    if _ProgressBar.shown is not None:
        _ProgressBar.shown.clear()
    sys.stderr.write(f"queuectl: {escape(text)}\n")


def database(database: str) -> None:
    """Say on stderr of which database the answer speaks."""
    sys.stdout.flush()
    sys.stderr.write("\n".join(wrap(f"queuectl: in {escape(database)}", width())) + "\n")


def document(value: Any) -> None:
    """The answer as one JSON document: indented for a person, on one line for a program."""
    data = msgspec.json.encode(value)
    line((escape_json(msgspec.json.format(data, indent=2)) if is_terminal() else data).decode())


def documents(values: Iterable[Any], flush: bool = False) -> None:
    """The answer as NDJSON, one object a line; `bytes` are taken as JSON already. `flush`: each as soon as it comes."""
    sys.stdout.flush()
    out = sys.stdout.buffer
    shown = escape_json if is_terminal() else bytes
    for value in values:
        out.write(shown(value if isinstance(value, bytes) else msgspec.json.encode(value)) + b"\n")
        if flush:
            out.flush()
    out.flush()


class Cell(msgspec.Struct, frozen=True):
    """A value of a table: escaped where it is shown, coloured by its style."""

    text: str
    style: str | None = None


def table(heads: Sequence[str], rows: Iterable[Sequence[str | Cell]], right: Sequence[str] = ()) -> int:
    """Aligned columns, cut where they are wider than the terminal. `right` names those aligned to the right.

    Returns how many rows there were. Rows are streamed: the first few hundred decide how wide the columns are.
    """
    source = iter(rows)
    sample = [_cells(row) for row in islice(source, _SAMPLE)]
    if not sample:
        return 0
    whole = [_cells(heads), *sample]
    widths = _fitting([max(display_width(row[column].text) for row in whole) for column in range(len(heads))])
    line(paint(_row([Cell(head) for head in heads], heads, widths, right), "bold"))
    count = 0
    for row in chain(sample, map(_cells, source)):
        line(_row(row, heads, widths, right))
        count += 1
    return count


def _cells(row: Sequence[str | Cell]) -> list[Cell]:
    return [Cell(escape(cell)) if isinstance(cell, str) else Cell(escape(cell.text), cell.style) for cell in row]


def _fitting(widths: Sequence[int]) -> list[int]:
    """The widths of columns as they fit on the terminal.

    The last one, where commands stand, gives way first, down to a quarter; then whichever is the widest.
    """
    *others, last = widths
    room = width() - _SPACE * len(others)
    last = min(last, max(room - sum(others), room // 4, _LEAST))
    while others and sum(others) > room - last and max(others) > _LEAST:
        others[others.index(max(others))] -= 1
    return [*others, last]


def _row(row: Sequence[Cell], heads: Sequence[str], widths: Sequence[int], right: Sequence[str]) -> str:
    parts: list[str] = []
    for column, cell in enumerate(row):
        text = truncate(cell.text, widths[column]) if is_terminal() else cell.text
        blank = " " * max(widths[column] - display_width(text), 0)
        painted = paint(text, cell.style)
        if heads[column] in right:
            parts.append(blank + painted)
        else:
            parts.append(painted if column == len(row) - 1 else painted + blank)
    return (" " * _SPACE).join(parts).rstrip()


def display_width(text: str) -> int:
    """How many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(_wide(character, before) for before, character in zip(" " + text, text, strict=False))


def _wide(character: str, before: str) -> int:
    """How many columns a character adds to those of the one before it."""
    if character == _AS_EMOJI:  # it makes a narrow symbol a wide one
        return 0 if unicodedata.east_asian_width(before) in "WF" else 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf") or "\u1160" <= character <= "\u11ff":
        return 0  # marks on the one before, what is not seen, vowels and finals of a Korean syllable
    if "\U0001f3fb" <= character <= "\U0001f3ff" and unicodedata.east_asian_width(before) in "WF":
        return 0  # the colour of a skin
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def truncate(text: str, room: int) -> str:
    """The text, or as much of it as there is room for, and an ellipsis."""
    if display_width(text) <= room:
        return text
    used = 0
    for end, (before, character) in enumerate(zip(" " + text, text, strict=False)):
        used += _wide(character, before)
        if used > room - 1:
            text = text[:end]
            break
    return text + "…"


def wrap(text: str, room: int) -> list[str]:
    """The text in lines that fit, broken at spaces where there are some."""
    lines: list[str] = []
    room = max(room, 20)
    while display_width(text) > room:
        end = room
        while display_width(text[:end]) > room:
            end -= 1
        space = text.rfind(" ", 0, end + 1)
        end = space if space > 0 else end
        lines.append(text[:end].rstrip())
        text = text[end:].lstrip()
    return [*lines, text]


def fields(pairs: Iterable[tuple[str, str]]) -> None:
    """Names and values, one pair a line, the values beneath each other."""
    known = [(name, value) for name, value in pairs if value]
    space = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        line(f"{paint(f'{name:<{space}}', 'dim')}  {value}")


def progress(what: str, patience: float = 1.0) -> Callable[[int, int], None]:
    """A function `(done, total)` that draws a bar on stderr, once the work has taken `patience` seconds.

    Total 0 is unknown. On no terminal it does nothing. The bar is gone when done reaches total, or at the exit.
    """
    if not sys.stderr.isatty():
        return lambda done, total: None
    return _ProgressBar(what, patience)


class _ProgressBar:
    """Draws with plain characters: importing rich would cost more than most of the work that it measures."""

    shown: ClassVar["_ProgressBar | None"] = None
    """The one that is on the terminal now."""

    def __init__(self, what: str, patience: float) -> None:
        from queuectl import clock

        self.what, self.monotonic = what, clock.monotonic
        self.due = self.monotonic() + patience

    def clear(self) -> None:
        """Take it off the terminal."""
        if _ProgressBar.shown is self:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
            _ProgressBar.shown = None

    def __call__(self, done: int, total: int) -> None:
        now = self.monotonic()
        over = total > 0 and done >= total
        if over:
            self.clear()
        elif now >= self.due:
            self.due = now + 0.1
            _ProgressBar.shown = self
            bar = f" {'█' * (24 * done // total):░<24} {100 * done // total:3d} %" if total > 0 else ""
            of = f" of {total:,}" if total > 0 else ""
            sys.stderr.write(f"\r\x1b[K{self.what}{bar}  {done:,}{of}")
            sys.stderr.flush()


def pages(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The items in lists of at most `size`."""
    source = iter(items)
    while page := list(islice(source, size)):
        yield page

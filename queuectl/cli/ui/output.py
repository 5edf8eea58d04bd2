"""Printing: JSON for programs, aligned columns for a terminal, colour only on a terminal.

The answer goes to stdout, messages go to stderr. Functions named by a noun (`line`, `table` ...) print.
"""

import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any

import msgspec

from queuectl.cli.ui import status_line

STYLES = {
    "bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "magenta": "35", "cyan": "36",
    "pending": "36", "blocked": "2", "processing": "34", "failed": "33", "completed": "32", "dead": "31",
    "cancelled": "35", "running": "32", "stopping": "33", "stopped": "2", "lost": "31", "interrupted": "33",
}  # fmt: skip
"""ANSI codes by style name; the states of jobs and workers are styles."""

_SAMPLE = 500
"""Rows that determine the widths of the columns: a table of a million rows is streamed."""
_SPACE = 2
"""Blanks between two columns."""
_LEAST = 8
"""Minimum width of a truncated column."""
_AS_EMOJI = "\ufe0f"
"""The variation selector that asks for a symbol as an emoji."""


def is_terminal() -> bool:
    """Whether stdout is a terminal."""
    return sys.stdout.isatty()


def stderr_is_terminal() -> bool:
    """Whether stderr is a terminal."""
    return sys.stderr.isatty()


def uses_colour() -> bool:
    """Whether stdout takes colours (https://no-color.org)."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def width() -> int:
    """Columns of the terminal; `sys.maxsize` without one."""
    if not is_terminal():
        return sys.maxsize
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except OSError:
        return 80


def paint(text: str, style: str | None) -> str:
    """Return the text in a style, if stdout takes colours."""
    code = STYLES.get(style or "")
    return f"\x1b[{code}m{text}\x1b[0m" if code and uses_colour() else text


def escape(text: str) -> str:
    """Return the text on one line, with everything escaped that could move a cursor or hide text."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape", "surrogatepass").decode()


def escape_lines(chunk: bytes) -> bytes:
    """Apply `escape` to each of some whole lines."""
    return "\n".join(map(escape, chunk.decode().replace("\r\n", "\n").split("\n"))).encode()


def escape_json(data: bytes) -> bytes:
    """Return the same JSON with JSON escapes for everything that could move a cursor or hide text."""
    text = data.decode()
    return data if text.isprintable() else "".join(map(_escaped_json, text)).encode()


def _escaped_json(character: str) -> str:
    if character.isprintable() or character == "\n":  # between two lines: within a string it is escaped already
        return character
    units = character.encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))


def line(text: str = "") -> None:
    """Print a line to stdout."""
    status_line.clear()  # the work may have ended before the total
    sys.stdout.write(text + "\n")


def message(text: str) -> None:
    """Print a line to stderr."""
    status_line.clear()
    sys.stderr.write(f"queuectl: {escape(text)}\n")


def database(url: str) -> None:
    """Print to stderr which database the answer is about."""
    sys.stdout.flush()
    sys.stderr.write("\n".join(wrap(f"queuectl: in {escape(url)}", width())) + "\n")


def document(value: Any) -> None:
    """Print one JSON document: indented on a terminal, on one line elsewhere."""
    data = msgspec.json.encode(value)
    line((escape_json(msgspec.json.format(data, indent=2)) if is_terminal() else data).decode())


def documents(values: Iterable[Any], flush: bool = False) -> None:
    """Print NDJSON, one object a line; `bytes` are JSON already. `flush` writes each object at once."""
    sys.stdout.flush()
    out = sys.stdout.buffer
    shown = escape_json if is_terminal() else bytes
    for value in values:
        out.write(shown(value if isinstance(value, bytes) else msgspec.json.encode(value)) + b"\n")
        if flush:
            out.flush()
    out.flush()


class Cell(msgspec.Struct, frozen=True):
    """A cell of a table: raw text, which `table` escapes, and its style."""

    text: str
    style: str | None = None


def table(heads: Sequence[str], rows: Iterable[Sequence[str | Cell]], right: Sequence[str] = ()) -> int:
    """Print aligned columns, truncated to the terminal; those named in `right` are aligned to the right.

    Returns the number of rows. Rows are streamed: the first few hundred determine the widths of the columns.
    """
    count = 0
    for count, text in enumerate(table_lines(heads, rows, right)):  # noqa: B007
        line(text)
    return count


def table_lines(
    heads: Sequence[str],
    rows: Iterable[Sequence[str | Cell]],
    right: Sequence[str] = (),
    room: int | None = None,
) -> Iterator[str]:
    """Yield the lines that `table` prints, the heads first; none where there are no rows.

    `room`: the columns to which lines are truncated, `sys.maxsize` for none; None: those of the terminal.
    """
    room = room if room is not None else width()
    source = iter(rows)
    sample = [_cells(row) for row in islice(source, _SAMPLE)]
    if not sample:
        return
    whole = [_cells(heads), *sample]
    widths = [max(display_width(row[column].text) for row in whole) for column in range(len(heads))]
    widths = _fitting(widths, room)
    fits = room < sys.maxsize
    yield paint(_row([Cell(head) for head in heads], heads, widths, right, fits), "bold")
    for row in chain(sample, map(_cells, source)):
        yield _row(row, heads, widths, right, fits)


def _cells(row: Sequence[str | Cell]) -> list[Cell]:
    return [Cell(escape(cell)) if isinstance(cell, str) else Cell(escape(cell.text), cell.style) for cell in row]


def _fitting(widths: Sequence[int], room: int) -> list[int]:
    """Return the widths reduced to so many columns.

    The last column, which holds commands, shrinks first, down to a quarter; then the widest of the others.
    """
    *others, last = widths
    room -= _SPACE * len(others)
    last = min(last, max(room - sum(others), room // 4, _LEAST))
    while others and sum(others) > room - last and max(others) > _LEAST:
        others[others.index(max(others))] -= 1
    return [*others, last]


def _row(row: Sequence[Cell], heads: Sequence[str], widths: Sequence[int], right: Sequence[str], fits: bool) -> str:
    parts: list[str] = []
    for column, cell in enumerate(row):
        text = truncate(cell.text, widths[column]) if fits else cell.text
        blank = " " * max(widths[column] - display_width(text), 0)
        painted = paint(text, cell.style)
        if heads[column] in right:
            parts.append(blank + painted)
        else:
            parts.append(painted if column == len(row) - 1 else painted + blank)
    return (" " * _SPACE).join(parts).rstrip()


def display_width(text: str) -> int:
    """Columns of a terminal that the text takes."""
    if text.isascii():
        return len(text)
    return sum(_wide(character, before) for before, character in zip(" " + text, text, strict=False))


def _wide(character: str, before: str) -> int:
    """Columns that a character adds after the one before it."""
    if character == _AS_EMOJI:  # it makes a narrow symbol a wide one
        return 0 if unicodedata.east_asian_width(before) in "WF" else 1
    if unicodedata.category(character) in ("Mn", "Me", "Cf") or "\u1160" <= character <= "\u11ff":
        return 0  # combining marks, invisible characters, vowels and finals of a Korean syllable
    if "\U0001f3fb" <= character <= "\U0001f3ff" and unicodedata.east_asian_width(before) in "WF":
        return 0  # a skin tone
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def truncate(text: str, room: int) -> str:
    """Return the text, truncated to `room` columns with an ellipsis."""
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
    """Return the text in lines of at most `room` columns, broken at spaces where possible."""
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
    """Print names and values, one pair a line, aligned; pairs without a value are left out."""
    for text in field_lines(pairs):
        line(text)


def field_lines(pairs: Iterable[tuple[str, str]]) -> Iterator[str]:
    """Yield the lines that `fields` prints."""
    known = [(name, value) for name, value in pairs if value]
    space = max((len(name) for name, _ in known), default=0)
    for name, value in known:
        yield f"{paint(f'{name:<{space}}', 'dim')}  {value}"

"""NDJSON, one object a line, and CSV."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

from queuectl import clock
from queuectl.events import Recorded, encode
from queuectl.export.rows import COLUMNS, Source

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How text begins that a spreadsheet would take for a formula, and run: its cell gets an apostrophe before it."""


def ndjson(source: Source) -> Iterator[bytes]:
    """One JSON object a line, as every command shows it."""
    for page in source.pages():
        yield b"".join((row.json() if isinstance(row, Recorded) else encode(row)) + b"\n" for row in page)


def csv_table(source: Source) -> Iterator[bytes]:
    """A head and a line for each row; lists and objects stand in their cells as JSON."""
    columns = tuple(COLUMNS[source.selection.what])
    yield _lines([columns])
    for page in source.pages():
        yield _lines([_cell(name, getattr(row, name)) for name in columns] for row in page)


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()


def _cell(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple):
        return encode(value).decode()
    if isinstance(value, str):
        return "'" + value if value.startswith(FORMULA) else value
    return clock.text(value) if name == "at" else value

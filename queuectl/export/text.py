"""NDJSON, one object a line, and CSV."""

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec import Raw

from queuectl import clock
from queuectl.events import Recorded, encode
from queuectl.export.rows import Source

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""How text begins that a spreadsheet would take for a formula, and run: its cell gets an apostrophe before it."""


def ndjson(source: Source) -> Iterator[bytes]:
    """One JSON object a line, as every command shows it, or with the columns that are asked for."""
    if source.selection.columns:
        for page in source.pages():
            yield b"".join(encode({name: _value(name, row) for name in source.columns}) + b"\n" for row in page)
        return
    for page in source.pages():
        yield b"".join((row.json() if isinstance(row, Recorded) else encode(row)) + b"\n" for row in page)


def csv_table(source: Source) -> Iterator[bytes]:
    """A head and a line for each row; lists and objects stand in their cells as JSON."""
    columns = tuple(source.columns)
    yield _lines([columns])
    for page in source.pages():
        yield _lines([_cell(name, getattr(row, name)) for name in columns] for row in page)


def _value(name: str, row: Any) -> Any:
    """What a column of a row is in JSON."""
    value = getattr(row, name)
    if not isinstance(row, Recorded):
        return value
    return clock.text(value) if name == "at" else Raw(value.encode()) if name == "data" else value


def _lines(rows: Iterable[Iterable[Any]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer).writerows(rows)
    return buffer.getvalue().encode()


def _cell(name: str, value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list | tuple | msgspec.Struct):
        return encode(value).decode()
    if isinstance(value, str):
        return "'" + value if value.startswith(FORMULA) else value
    return clock.text(value) if name == "at" else value

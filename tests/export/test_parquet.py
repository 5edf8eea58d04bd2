"""Parquet exports: typed, the same rows as in the other formats, a row group at a time."""

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pyarrow
import pyarrow.parquet
import pytest

from queuectl import Queue
from queuectl.audit.import_log import load
from queuectl.export import export, parquet
from queuectl.export.rows import COLUMNS, WHAT
from tests.support.shell import ROOT

LOG = ROOT / "tests" / "data" / "queue_v1.ndjson"
ARROW = {
    "time": "timestamp[us, tz=UTC]", "string": "string", "integer": "int64", "float": "double", "boolean": "bool",
    "json": "string",
}  # fmt: skip


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        load(queue, LOG.read_bytes().splitlines(keepends=True))
        queue.enqueue(["printf", "%s", "ünïcode 'quoted'"], secrets={"TOKEN": "secret"})
        yield queue


def table(data: bytes) -> pyarrow.Table:
    return pyarrow.parquet.read_table(pyarrow.BufferReader(data))


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """A row as its JSON would be read."""
    return {
        name: value.strftime("%Y-%m-%dT%H:%M:%S.%fZ") if isinstance(value, datetime) else value
        for name, value in row.items()
    }


@pytest.mark.parametrize("what", WHAT)
def test_rows_equal_other_formats_and_are_typed(queue: Queue, what: str) -> None:
    found = table(b"".join(export(queue, what=what, format="parquet")))
    assert {field.name: str(field.type) for field in found.schema} == {
        name: ARROW[kind] for name, kind in COLUMNS[what].items()
    }
    lists = [name for name, kind in COLUMNS[what].items() if kind == "json"] + ["data"]
    rows = [
        {name: msgspec.json.encode(v).decode() if name in lists and v is not None else v for name, v in row.items()}
        for row in map(msgspec.json.decode, b"".join(export(queue, what=what)).splitlines())
    ]
    assert [plain(row) for row in found.to_pylist()] == rows
    assert len(rows) > 30


def test_an_event_s_payload_is_the_stored_text(queue: Queue) -> None:
    found = table(b"".join(export(queue, format="parquet", type="enqueued")))
    assert found["data"].to_pylist() == [record.data for record in queue.events(type="enqueued")]


def test_row_groups_are_written_while_reading(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "ROWS", 1000)
    queue.enqueue_many(["true"] * 2500)
    done: list[int] = []
    chunks = export(queue, format="parquet", progress=done.append)
    first = next(chunks)
    assert first.startswith(b"PAR1")
    assert done[-1] < 1500, "not all of it is in memory"
    whole = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(first + b"".join(chunks)))
    groups = [whole.metadata.row_group(number).num_rows for number in range(whole.num_row_groups)]
    assert (sum(groups), max(groups)) == (183 + 2500, 1000)
    assert whole.read()["seq"].to_pylist() == list(range(1, 183 + 2501))


def test_long_commands_make_short_row_groups(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "BYTES", 100_000)
    queue.enqueue_many([f": {'x' * 1000}"] * 1000)
    whole = pyarrow.parquet.ParquetFile(pyarrow.BufferReader(b"".join(export(queue, format="parquet"))))
    assert whole.num_row_groups == 3


def test_nothing_is_a_table_without_rows(queue: Queue) -> None:
    found = table(b"".join(export(queue, format="parquet", after=10_000)))
    assert (found.num_rows, found.column_names) == (0, list(COLUMNS["events"]))


@pytest.mark.parametrize("what", WHAT)
def test_the_columns_are_described(what: str) -> None:
    text = (
        (ROOT / "docs" / "guides" / "export.md")
        .read_text(encoding="utf-8")
        .partition(f"\n### {what}\n")[2]
        .partition("\n#")[0]
    )
    told: dict[str, str] = {}
    for names, kind in re.findall(r"^\| (`.*?`) \| (\w+) \|", text, re.MULTILINE):
        told |= dict.fromkeys(re.findall(r"`(\w+)`", names), kind)
    assert told == COLUMNS[what]

"""Apache Parquet: typed columns, compressed, a row group at a time.

Needs pyarrow (the extra `parquet`), which is given our rows: it never sees the database.
"""

from collections.abc import Callable, Iterator
from importlib import import_module
from typing import Any

from queuectl.clock import micros
from queuectl.errors import QueueError
from queuectl.events import encode
from queuectl.export.rows import Source

ROWS = 1 << 15
"""Rows of a row group at most."""

BYTES = 16 << 20
"""Bytes of a row group, before it is compressed, about which no more rows are added to it: commands can be long."""

_VALUES: dict[str, Callable[[Any], Any]] = {
    "time": lambda moment: micros(moment) if isinstance(moment, str) else moment,
    "json": lambda value: encode(value).decode() if value is not None else None,
}
"""How a value of a kind becomes what its column holds, where it is not that already."""


def stream(source: Source) -> Iterator[bytes]:
    """The file from its beginning to its end, in chunks: nothing in it has to be gone back to.

    Raises QueueError where there is no pyarrow.
    """
    try:
        arrow: Any = import_module("pyarrow")
        parquet: Any = import_module("pyarrow.parquet")
    except ImportError as error:
        raise QueueError("Parquet needs pyarrow: pip install 'queuectl-eventlog[parquet]'") from error
    types: dict[str, Any] = {
        "time": arrow.timestamp("us", "UTC"), "string": arrow.string(), "integer": arrow.int64(),
        "float": arrow.float64(), "boolean": arrow.bool_(), "json": arrow.string(),
    }  # fmt: skip
    columns = source.columns
    schema = arrow.schema([(name, types[kind]) for name, kind in columns.items()])
    sink = _Sink()
    with parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        for group in _groups(
            arrow.record_batch([_column(page, *column) for column in columns.items()], schema=schema)
            for page in source.pages()
        ):
            writer.write_table(arrow.Table.from_batches(group), row_group_size=2 * ROWS)
            yield sink.take()
    yield sink.take()


def _column(page: list[Any], name: str, kind: str) -> list[Any]:
    values = [getattr(row, name) for row in page]
    return [_VALUES[kind](value) for value in values] if kind in _VALUES else values


def _groups(batches: Iterator[Any]) -> Iterator[list[Any]]:
    """The batches, put together to row groups."""
    group: list[Any] = []
    rows = size = 0
    for batch in batches:
        group.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= ROWS or size >= BYTES:
            yield group
            group, rows, size = [], 0, 0
    if group:
        yield group


class _Sink:
    """The file that pyarrow writes to: buffers what was written."""

    closed = False

    def __init__(self) -> None:
        self._written: list[bytes] = []

    def write(self, data: Any) -> int:
        """Keep a copy: the buffer is pyarrow's."""
        self._written.append(bytes(data))
        return len(self._written[-1])

    def flush(self) -> None:
        """Do nothing: there is no other buffer."""

    def close(self) -> None:
        """Do nothing."""

    def take(self) -> bytes:
        """Return what was written since the last call."""
        written, self._written = self._written, []
        return b"".join(written)

"""The audit log for other programs: events, jobs or attempts in one of several formats, in constant memory.

Events are exported as they are stored, never re-encoded; jobs and attempts as every command shows them. Only OCEL has a
form of its own, which is the standard's.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from queuectl import filters, units
from queuectl.errors import Invalid
from queuectl.export import joblog, ocel_json, ocel_sqlite, parquet, text, trace
from queuectl.export.rows import COLUMNS, WHAT, Selection, Source
from queuectl.host.atomic_file import draft
from queuectl.queue import Queue


class Format(NamedTuple):
    """How rows are written: as chunks of bytes, one after another; or only `into` a file that is there and empty."""

    stream: Callable[[Source], Iterator[bytes]] | None = None
    into: Callable[[Source, str], None] | None = None
    what: tuple[str, ...] = WHAT
    """What can be written so."""
    text: bool = True
    """Whether a person can read it."""
    columns: bool = False
    """Whether it can have only some of the columns."""


FORMATS = {
    "ndjson": Format(text.ndjson, columns=True),
    "csv": Format(text.csv_table, columns=True),
    "parquet": Format(parquet.stream, text=False, columns=True),
    "ocel-json": Format(ocel_json.stream, what=("events",)),
    "ocel-sqlite": Format(into=ocel_sqlite.write, what=("events",), text=False),
    "joblog": Format(joblog.stream, what=("attempts",)),
    "trace": Format(trace.stream, what=("attempts",)),
}


class Export:
    """One export, to be made once: as `chunks` of bytes, or into a file that is written whole or not at all.

    `progress` is called with how many rows there were so far. Raises Invalid for what means nothing together.
    """

    def __init__(
        self,
        queue: Queue,
        selection: Selection,
        format: str = "ndjson",
        progress: Callable[[int], None] | None = None,
    ) -> None:
        if format not in FORMATS:
            raise Invalid(f"no format {format!r}; there are {', '.join(FORMATS)}")
        what = selection.what
        if what not in WHAT:
            raise Invalid(f"no export of {what!r}; there are {', '.join(WHAT)}")
        if what not in FORMATS[format].what:
            raise Invalid(f"{format} is a format of {' and '.join(FORMATS[format].what)}, not of {what}")
        if what != "events" and (selection.type is not None or selection.after):
            raise Invalid(f"type and after choose among events, not {what}")
        if what == "events" and selection.ended_since is not None:
            raise Invalid("ended-since chooses among jobs or attempts, not events: an event happens at one moment")
        filters.parse(selection.where)
        _check_columns(selection, format)
        self.name, self._format = format, FORMATS[format]
        self._source = Source(queue, selection, progress)

    @property
    def text(self) -> bool:
        """Whether a person can read it."""
        return self._format.text

    @property
    def last(self) -> int:
        """The seq of the last event that went out; where none did, the one after which was asked for."""
        return self._source.last

    @property
    def count(self) -> int:
        """How many rows went out."""
        return self._source.count

    def chunks(self) -> Iterator[bytes]:
        """All of it, in chunks. Raises Invalid where the format needs a file."""
        if self._format.stream is None:
            raise Invalid(f"{self.name} can only be written into a file: give --output FILE")
        return self._format.stream(self._source)

    def write(self, path: str, *, force: bool = False) -> int:
        """Write it into a file of its owner's, and return its size in bytes.

        An existing file is only replaced with `force`, and the queue's own never. Raises QueueError where it can't be
        written; nothing is left behind then.
        """
        with draft(path, force=force, never=self._source.queue.engine.files) as name:
            with open(name, "wb") as file:
                if self._format.into is None:
                    file.writelines(self.chunks())
            if self._format.into is not None:
                self._format.into(self._source, name)
            return os.stat(name).st_size


def _check_columns(selection: Selection, format: str) -> None:
    columns, known = selection.columns, COLUMNS[selection.what]
    if columns and not FORMATS[format].columns:
        raise Invalid(f"columns: {format} has its own")
    for name in columns:
        if name not in known:
            raise Invalid(
                f"columns: {name!r} is no column of {selection.what}{units.nearest(name, known)}; there are "
                f"{', '.join(known)}"
            )
    if len({*columns}) < len(columns):
        raise Invalid("columns: one is named twice")


def export(
    queue: Queue,
    *,
    what: str = "events",
    format: str = "ndjson",
    since: int | None = None,
    until: int | None = None,
    ended_since: int | None = None,
    after: int = 0,
    queue_name: str | None = None,
    job: str | None = None,
    where: str = "",
    type: str | None = None,
    columns: Sequence[str] = (),
    progress: Callable[[int], None] | None = None,
) -> Iterator[bytes]:
    """What is asked for, in chunks of bytes: see `Selection` and `Export`."""
    selection = Selection(
        what=what, since=since, until=until, ended_since=ended_since, after=after, queue_name=queue_name, job=job,
        where=where, type=type, columns=tuple(columns),
    )  # fmt: skip
    return Export(queue, selection, format, progress).chunks()

"""GNU parallel's --joblog: a line for each attempt that has ended, with tabs between its columns."""

from array import array
from bisect import bisect_left
from collections.abc import Iterator
from typing import Any

from queuectl.clock import SECOND, micros
from queuectl.errors import NotFound
from queuectl.export.rows import Source

HEAD = ("Seq", "Host", "Starttime", "JobRuntime", "Send", "Receive", "Exitval", "Signal", "Command")


def stream(source: Source) -> Iterator[bytes]:
    """The log in chunks.

    Seq counts the jobs of the export in the order in which they were enqueued, from 1: of `enqueue --each` it is the
    number of the argument. Receive is the bytes of output. Exitval is 0 for what succeeded, whatever its exit code, and
    for what a signal ended; -1 for a timeout, and for what else did not succeed without an exit code that says so. A
    newline in a command is a NUL, as GNU parallel has it.
    """
    order = array("q", sorted(job.seq for job in source.jobs()))
    yield _line(HEAD)
    for page in source.pages():
        lines: list[bytes] = []
        for attempt in page:
            if attempt.started_at is None or attempt.ended_at is None:
                continue
            try:
                job = source.queue.job(attempt.job)
            except NotFound:  # purged since
                continue
            start = micros(attempt.started_at)
            runtime = attempt.run_seconds
            if runtime is None:
                runtime = max(0, micros(attempt.ended_at) - start) / SECOND
            lines.append(
                _line((
                    str(bisect_left(order, job.seq) + 1), ":", f"{start / SECOND:.3f}", f"{runtime:10.3f}", "0",
                    str(attempt.output_bytes or 0), str(_exit_value(attempt)),
                    str(attempt.signal or 0), job.command.replace("\n", "\0"),
                ))
            )  # fmt: skip
        yield b"".join(lines)


def _exit_value(attempt: Any) -> int:
    if attempt.outcome == "completed":
        return 0
    return -1 if attempt.cause == "timeout" else attempt.exit_code or (0 if attempt.signal else -1)


def _line(columns: tuple[str, ...]) -> bytes:
    return "\t".join(columns).encode() + b"\n"

"""The standard streams: how they are set up, and where the answer goes if it can't be written to stdout.

Nothing of it imports much: that is done before anything else.
"""

import errno
import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO


def set_up_streams() -> None:
    """Make stdout and stderr accept any text: characters missing in their encoding are escaped.

    A stdout that the caller has closed (`>&-`) fails on write; a closed stderr discards. stdout is buffered even
    with PYTHONUNBUFFERED, because an unbuffered write to a pipe may be partial.
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


class _Buffer(io.TextIOWrapper):
    """A buffer in memory that reports the terminal and file descriptor of the real stream."""

    def __init__(self, real: TextIO) -> None:
        self.content = io.BytesIO()
        super().__init__(self.content, encoding=real.encoding, errors=real.errors, write_through=True)
        self._real = real

    def isatty(self) -> bool:
        return self._real.isatty()

    def fileno(self) -> int:
        return self._real.fileno()


@contextmanager
def deferred() -> Generator[None]:
    """Buffer stdout in this context and write it at its end.

    For commands that change something: a change must not look as if it had failed because the answer can't be written,
    or it would be made twice. The answer then goes to stderr, and the exit code is that of the command; with a closed
    pipe it is dropped.
    """
    real = sys.stdout
    sys.stdout = buffer = _Buffer(real)
    try:
        yield
    finally:
        sys.stdout = real
        try:
            real.flush()
            real.buffer.write(buffer.content.getvalue())
            real.flush()
        except BrokenPipeError:
            discard()
        except OSError as error:
            discard()
            lines = buffer.content.getvalue().decode(real.encoding, "replace").split("\n")
            message(f"done, but {_problem(error)}: {', '.join(line for line in lines if line)}")


def flush_failure() -> str | None:
    """Flush stdout; return the error message if that fails, after discarding the rest, or None."""
    try:
        sys.stdout.flush()
    except OSError as error:
        discard()
        return _problem(error)
    return None


def discard() -> None:
    """Redirect stdout to /dev/null: the interpreter would retry the failed write at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def message(text: str) -> None:
    """Print a line to stderr, ignoring an stderr that can't be written."""
    from queuectl.cli.ui import output

    try:
        output.message(text)
        sys.stderr.flush()
    except OSError:  # the exit code remains
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _problem(error: OSError) -> str:
    if error.errno == errno.EBADF:
        return "standard output is closed"
    return f"standard output can't be written ({error.strerror})"

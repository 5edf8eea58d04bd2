"""Standard output that fails: where the answer goes if it can't be written there."""

import errno
import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO


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

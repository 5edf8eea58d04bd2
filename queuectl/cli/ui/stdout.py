"""Standard output, and what becomes of an answer that can't be written there."""

import errno
import io
import os
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import TextIO


class _Held(io.TextIOWrapper):
    """Takes what is written to it, and otherwise passes for the stream in whose place it stands."""

    def __init__(self, real: TextIO) -> None:
        self.taken = io.BytesIO()
        super().__init__(self.taken, encoding=real.encoding, errors=real.errors, write_through=True)
        self._real = real

    def isatty(self) -> bool:
        return self._real.isatty()

    def fileno(self) -> int:
        return self._real.fileno()


@contextmanager
def deferred() -> Generator[None]:
    """Hold the answer back until the command is through, and write it then.

    For commands that change something: what is done must not look undone because it can't be answered, or it would be
    done twice. The answer goes to stderr then, and the exit code is that of the command. A reader who has gone needs no
    answer.
    """
    real = sys.stdout
    sys.stdout = stand_in = _Held(real)
    try:
        yield
    finally:
        sys.stdout = real
        try:
            real.flush()
            real.buffer.write(stand_in.taken.getvalue())
            real.flush()
        except BrokenPipeError:
            discard()
        except OSError as error:
            discard()
            lines = stand_in.taken.getvalue().decode(real.encoding, "replace").split("\n")
            tell(f"done, but {_problem(error)}: {', '.join(line for line in lines if line)}")


def flush_failure() -> str | None:
    """Why standard output can't be written; None where it can be. What was not written is given up then."""
    try:
        sys.stdout.flush()
    except OSError as error:
        discard()
        return _problem(error)
    return None


def discard() -> None:
    """Point stdout at nothing, or the exit would try once more to write what could not be written."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def tell(message: str) -> None:
    """One line on stderr, where that can be written."""
    from queuectl.cli.ui import output

    try:
        output.message(message)
        sys.stderr.flush()
    except OSError:  # nobody reads it: the exit code tells
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())


def _problem(error: OSError) -> str:
    if error.errno == errno.EBADF:
        return "standard output is closed"
    return f"standard output can't be written ({error.strerror})"

"""What a worker or its parent says on stderr, which may be gone: no message is worth a worker."""

import os
import sys


def say(text: str) -> None:
    """Write one line to stderr, at once and past Python's buffer, which would be written again when the process ends.

    What can't be written (its reader has died, the disk is full, the terminal was closed) is dropped.
    """
    if sys.stderr is None:  # pyright: ignore[reportUnnecessaryComparison]
        return  # it was closed when this process began, and its number is another file's by now
    try:
        os.write(2, f"queuectl: {text}\n".encode("utf-8", "backslashreplace"))
    except OSError:
        return


def is_watched() -> bool:
    """Whether stderr is a terminal."""
    return sys.stderr is not None and os.isatty(2)  # pyright: ignore[reportUnnecessaryComparison]

"""The end of this process."""

import atexit
import os
import sys
from contextlib import suppress


def leave(code: int) -> None:
    """End this process at once, rather than free its objects one by one, if that is all that its end has to do.

    What was written to stdout and stderr is flushed before. Returns where there are threads, functions of
    `atexit`, or a tracer, which only an ordinary exit minds, and where something can't be flushed.
    """
    if "threading" in sys.modules or atexit._ncallbacks() or sys.gettrace() or sys.getprofile():  # pyright: ignore[reportPrivateUsage]
        return
    with suppress(OSError, ValueError):  # it fails anew at the end, in Python's words
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:  # pyright: ignore[reportUnnecessaryComparison] - closed when this process began
                stream.flush()
        os._exit(code)

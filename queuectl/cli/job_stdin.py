"""What stands on the stdin of a command, and whether that is meant for the job."""

import os
import select
import stat

from queuectl.cli.ui import output

_PATIENCE = 2.0
"""Seconds after which it is said that stdin is waited for."""


def is_piped() -> bool:
    """Whether stdin is a pipe, a socket, or a file that nobody has read from yet.

    A terminal is not: it belongs to who sits there. Nor is a file that is being read: in `while read …; done <list` the
    rest of the list belongs to the loop.
    """
    try:
        mode = os.fstat(0).st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (stat.S_ISREG(mode) and os.lseek(0, 0, os.SEEK_CUR) == 0)
    except OSError:
        return False


def wait_until_readable() -> None:
    """Wait until there is something to read, or its end; say so where that takes long."""
    try:
        if not select.select([0], [], [], _PATIENCE)[0]:
            output.message("reading stdin, which the job is given once it ends (</dev/null gives it nothing)")
    except (OSError, ValueError):
        return  # who reads it will say what is wrong

"""The stdin of a command as the input of its job."""

import os
import select
import stat

from queuectl.cli.ui import output

_DELAY = 2.0
"""Seconds before the message that stdin is being read."""


def is_piped() -> bool:
    """Whether stdin is a pipe, a socket, or a file at offset 0.

    Not a terminal, and not a file that has been read from: in `while read …; done <list` the loop reads the rest.
    """
    try:
        mode = os.fstat(0).st_mode
        return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or (stat.S_ISREG(mode) and os.lseek(0, 0, os.SEEK_CUR) == 0)
    except OSError:
        return False


def wait_until_readable() -> None:
    """Wait until stdin can be read or has ended, at most 2 seconds; after those print a message."""
    try:
        if not select.select([0], [], [], _DELAY)[0]:
            output.message("reading stdin, which the job is given once it ends (</dev/null gives it nothing)")
    except (OSError, ValueError):
        return  # reading it will raise the same error

"""A question before something is done that can't be taken back."""

import sys

from queuectl.cli.ui import output


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether it may be done: on a terminal the user is asked, unless `yes`. Where it may not, a message says so."""
    if yes or not (sys.stdin.isatty() and output.stderr_is_terminal()):
        return True
    sys.stderr.write(f"queuectl: {question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    output.message("nothing was changed")
    return False

"""The user's editor: a text is changed in it, and is not lost where nothing can be made of it."""

import os
import signal
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager, suppress

from queuectl.cli.ui import output
from queuectl.errors import Invalid, QueueError

_DEFAULT = "vi"


@contextmanager
def edited(text: str) -> Generator[bytes]:
    """Open a text in `$VISUAL` or `$EDITOR`, and give what it has become: a context in which that is used.

    Where that raises, the text is kept in a file, which the message of a QueueError names. Raises Invalid where the
    editor does not start, or does not end well.
    """
    fd, path = tempfile.mkstemp(prefix="queuectl-", suffix=".json")
    with open(fd, "w", encoding="utf-8") as file:
        file.write(text)
    try:
        _run(path)
        with open(path, "rb") as file:
            after = file.read()
        yield after
    except QueueError as error:
        if _is_changed(path, text):
            error.args = (f"{error}; your text is kept in {path}",)
        raise
    except BaseException:
        if _is_changed(path, text):
            output.message(f"your text is kept in {path}")
        raise
    os.unlink(path)


def _run(path: str) -> None:
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR") or _DEFAULT
    before = signal.signal(signal.SIGINT, _leave_to_the_editor)
    try:
        code = subprocess.run(["/bin/sh", "-c", f'{command} "$@"', command, path], check=False).returncode
    finally:
        signal.signal(signal.SIGINT, before)
    if code:
        raise Invalid(f"the editor {command!r} (of VISUAL or EDITOR) ended with exit code {code}: nothing was changed")


def _leave_to_the_editor(number: int, frame: object) -> None:
    """Do nothing: a Ctrl-C is meant for the editor, which starts with the default in the place of this."""


def _is_changed(path: str, text: str) -> bool:
    """Whether a file holds anything but this text; one that does not is removed."""
    with suppress(FileNotFoundError):
        with open(path, "rb") as file:
            if file.read() != text.encode():
                return True
        os.unlink(path)
    return False

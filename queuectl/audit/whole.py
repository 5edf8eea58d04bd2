"""Files that are written whole or not at all: under another name first, synced, then given their own."""

import os
from collections.abc import Generator
from contextlib import contextmanager

from queuectl.errors import Invalid, QueueError
from queuectl.paths import Place


@contextmanager
def draft(path: str, place: Place, *, force: bool = False) -> Generator[str]:
    """A name to write to, in the folder of `path`; what stands there at the end, synced, becomes `path`.

    An existing file is only replaced with `force`, and the queue's own (at `place`) never. Raises QueueError, one line,
    where it can't be written; nothing is left behind then, nor where whoever writes it raises.
    """
    if os.path.realpath(path) in place.guarded:
        raise Invalid(f"{path} is the queue itself: name another file")
    if os.path.lexists(path):
        if not force:
            raise QueueError(f"{path} exists already: name another file, or give --force")
        if not os.path.isfile(path):
            raise QueueError(f"{path} is no regular file: name another")
    name = f"{path}.{os.urandom(4).hex()}.part"
    try:
        try:
            yield name
            sync(name)
            if force:
                os.replace(name, path)
            else:
                os.link(name, path)
        finally:
            if os.path.lexists(name):
                os.unlink(name)
        sync(os.path.dirname(os.path.abspath(path)))
    except FileExistsError:
        raise QueueError(f"{path} exists already: name another file, or give --force") from None
    except OSError as error:
        raise QueueError(f"can't write {path}: {error.strerror}; nothing was written") from error


def sync(path: str) -> None:
    """Wait until a file, or the names in a folder, would survive a power cut. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

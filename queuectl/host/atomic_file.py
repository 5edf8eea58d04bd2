"""Files that are written whole or not at all: under another name first, synced, then given their own."""

import fcntl
import os
import re
from collections.abc import Collection, Generator
from contextlib import contextmanager, suppress

from queuectl.errors import Invalid, QueueError

_PART = ".part"


@contextmanager
def draft(path: str, *, force: bool = False, never: Collection[str] = ()) -> Generator[str]:
    """An empty file to write to, in the folder of `path`; what it holds at the end, synced, becomes `path`.

    Drafts of `path` that a killed process left behind are removed. An existing file is only replaced with `force`, and
    one of `never` (a queue's own database) not at all. Raises QueueError, one line, where it can't be written; nothing
    is left behind then, nor where the body raises.
    """
    if os.path.realpath(path) in never:
        raise Invalid(f"{path} is the queue itself: name another file")
    if os.path.lexists(path):
        if not force:
            raise QueueError(f"{path} exists already: name another file, or give --force")
        if not os.path.isfile(path):
            raise QueueError(f"{path} is no regular file: name another")
    try:
        name, lock = _begin(path)
        try:
            _clear(path)
            yield name
            sync(name)
            if force:
                os.replace(name, path)
            else:
                os.link(name, path)
        finally:
            if os.path.lexists(name):
                os.unlink(name)
            os.close(lock)
        sync(os.path.dirname(os.path.abspath(path)))
    except FileExistsError:
        raise QueueError(f"{path} exists already: name another file, or give --force") from None
    except OSError as error:
        raise QueueError(f"can't write {path}: {error.strerror}; nothing was written") from error


def _begin(path: str) -> tuple[str, int]:
    """A new file beside `path`, of mode 0600, and a descriptor that keeps it locked while it is written."""
    while True:
        name = f"{path}.{os.urandom(4).hex()}{_PART}"
        fd = os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass  # another process took it for one that was left behind, before it was locked
        else:
            if os.fstat(fd).st_nlink:
                return name, fd
        os.close(fd)


def _clear(path: str) -> None:
    """Remove drafts of `path` that no process is writing."""
    folder, stem = os.path.split(os.path.abspath(path))
    for name in os.listdir(folder):
        if not re.fullmatch(re.escape(stem) + r"\.[0-9a-f]{8}" + re.escape(_PART), name):
            continue
        with suppress(OSError):  # another user's, or gone: it does no harm
            fd = os.open(f"{folder}/{name}", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(f"{folder}/{name}")
            finally:
                os.close(fd)


def write_file(path: str, data: bytes, *, replace: bool) -> None:
    """Write a small file whole or not at all, mode 0600, such that it and its name survive a power cut.

    Where `path` exists it is replaced, or with `replace` false left as it is. Raises OSError.
    """
    folder, name = os.path.split(path)
    draft = f"{folder}/.{name}-{os.urandom(4).hex()}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(fd, "wb") as file:
            os.fchmod(fd, 0o600)
            file.write(data)
            file.flush()
            os.fsync(fd)
        if replace:
            os.replace(draft, path)
        else:
            os.link(draft, path)
            os.unlink(draft)
    except FileExistsError:
        os.unlink(draft)
    except BaseException:
        os.unlink(draft)
        raise
    sync(folder)


def sync(path: str) -> None:
    """Wait until a file, or the names in a folder, would survive a power cut. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

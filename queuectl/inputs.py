"""Inputs of jobs: what `--stdin` names is copied, and each host on which a job runs has a copy of its own.

A copy is a file in the folder of the queue, named by the digest of its content: the same content is kept once. Where
the database has workers of many hosts, it keeps the content for the others.
"""

import os
import stat

from queuectl.engines.base import Engine
from queuectl.errors import Invalid, Unusable, shown
from queuectl.home import Home
from queuectl.host.atomic_file import write_file

LIMIT = 64 << 20
"""Bytes of input that are copied for a job."""


def path_of(home: Home, name: str) -> str:
    """Where the copy with this name is, on a host that has it."""
    return f"{home.stdin}/{name}"


def copy(path: str, engine: Engine) -> str:
    """Copy a job's input into the queue's folder, and to where other hosts find it; returns the copy's name.

    Only a regular file, or `-` for what this process reads, to its end; up to 64 MiB. A file of the database is not
    opened. Raises Invalid, Unusable.
    """
    import hashlib

    data = _stdin() if path == "-" else _file(path, engine)
    if len(data) > LIMIT:
        what = "what is piped in" if path == "-" else repr(path)
        raise Invalid(
            f"stdin: {what} is larger than {LIMIT >> 20} MiB; put it into a file that the command opens itself"
        )
    name = hashlib.sha256(data).hexdigest()
    keep(name, data, engine)
    return name


def keep(name: str, data: bytes, engine: Engine) -> None:
    """Keep this content, the name of which is its digest, for all hosts. Raises Unusable."""
    _write(engine.home, name, data)
    if engine.shared_files is not None:
        engine.shared_files.keep_input(name, data)


def read(name: str, engine: Engine) -> bytes | None:
    """The content of an input; None where it is gone. Raises Unusable."""
    try:
        with open(path_of(engine.home, name), "rb") as file:
            return file.read()
    except FileNotFoundError:
        return engine.shared_files.input(name) if engine.shared_files is not None else None
    except OSError as error:
        raise _failed(engine.home, error) from error


def names(engine: Engine) -> set[str]:
    """Of all inputs that are kept here, or for all hosts. Raises Unusable."""
    try:
        here = {name for name in os.listdir(engine.home.stdin) if not name.startswith(".")}  # drafts are hidden
    except FileNotFoundError:
        here = set[str]()
    except OSError as error:
        raise _failed(engine.home, error) from error
    return here | set(engine.shared_files.inputs() if engine.shared_files is not None else ())


def bring(name: str, engine: Engine) -> str:
    """The path of the copy on this host, which is made where another host was given the input.

    Nothing is at the path where it is gone everywhere. Raises Unusable.
    """
    path = path_of(engine.home, name)
    if engine.shared_files is not None and not os.path.exists(path):
        data = engine.shared_files.input(name)
        if data is not None:
            _write(engine.home, name, data)
    return path


def remove(name: str, home: Home, before: float) -> bool:
    """Remove the copy on this host that was last asked for before that moment (seconds since 1970); whether it was.

    Raises Unusable. It is put out of the way first: who asks for it meanwhile makes another.
    """
    path = path_of(home, name)
    aside = f"{home.stdin}/.{name}-{os.urandom(4).hex()}"
    try:
        os.rename(path, aside)
        if os.stat(aside).st_mtime >= before:  # it was asked for after all
            os.rename(aside, path)
            return False
        os.unlink(aside)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise _failed(home, error) from error
    return True


def _write(home: Home, name: str, data: bytes) -> None:
    path = path_of(home, name)
    try:
        try:
            os.utime(path)  # it is asked for: `remove` spares it until the job is there that reads it
        except FileNotFoundError:
            write_file(path, data, replace=True)
    except OSError as error:
        raise _failed(home, error) from error


def _failed(home: Home, error: OSError) -> Unusable:
    return Unusable(f"{shown(home.stdin)}: can't keep the input: {error.strerror}")


def _stdin() -> bytes:
    """What this process is given to read, as far as the limit needs it."""
    try:
        with open(0, "rb", closefd=False) as source:
            return source.read(LIMIT + 1)
    except OSError as error:
        raise Invalid(f"stdin: can't read what this command was given: {error.strerror}") from None


def _file(path: str, engine: Engine) -> bytes:
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise Invalid(f"stdin: {path!r} is not a regular file; give one, or pipe it into --stdin -")
        if engine.owns(path):
            # To close it again would drop SQLite's locks.
            raise Invalid(f"stdin: {path!r} is the queue's own database; give a copy of it")
        with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as source:
            return source.read(LIMIT + 1)
    except OSError as error:
        raise Invalid(f"stdin: can't read {path!r}: {error.strerror}") from None

"""Where log and projections live. This is the one place that knows which engine a URL means."""

import os

from projections.replay import Progress
from queuectl.engines.base import Engine


def connect(
    url: str,
    *,
    create: bool = True,
    progress: Progress | None = None,
    patience: float | None = 30.0,
    healing: bool = True,
) -> Engine:
    """The engine for a path or `sqlite:///path`, which is made where there is none, unless `create` is false.

    Without `healing` it opens a log that lacks events, or of which no tables can be made, and leaves it so. Raises
    Invalid for a URL of no known kind, Unusable for a bad file, Absent where there is none.
    """
    from queuectl.engines.sqlite.engine import SqliteEngine
    from queuectl.engines.sqlite.location import locate

    return SqliteEngine(locate(url), create=create, progress=progress, patience=patience, healing=healing)


def resolve(url: str) -> str:
    """The URL under which the engine of this database is known (`Engine.url`); nothing is opened.

    Raises Invalid for a URL of no known kind, Unusable for a symbolic link that another user made.
    """
    from queuectl.engines.sqlite.location import locate

    return locate(url).database


def exists(url: str) -> bool:
    """Whether there is a database, or the home of one; nothing is opened. Raises as `resolve` does."""
    from queuectl.engines.sqlite.location import locate

    location = locate(url)
    return any(os.path.lexists(path) for path in (*location.files, location.home.folder))


def discard(url: str) -> None:
    """Remove a database that nothing has open, with its home. Raises as `resolve` does, and OSError."""
    import shutil  # too much to load for each enqueue

    from queuectl.engines.sqlite.location import locate

    location = locate(url)
    for path in location.files:
        if os.path.lexists(path):
            os.unlink(path)
    shutil.rmtree(location.home.folder, ignore_errors=True)


def files(url: str) -> tuple[str, ...]:
    """The files of a database (`Engine.files`); nothing is opened. Raises as `resolve` does."""
    from queuectl.engines.sqlite.location import locate

    return locate(url).files

"""Where a SQLite queue lives: the database file and the home beside it, and whether both can be trusted (R9).

Next to `q.db` stands `q.db.d/` (0700), the queue's home, in which this engine keeps the gate, the bells and the
high-water mark. The database itself is never opened here: closing any descriptor of it would drop SQLite's locks of the
whole process (R6).
"""

import fcntl
import os
import re
import stat

import msgspec

from queuectl.errors import Absent, Invalid, Unusable, shown
from queuectl.home import Home, failed, make_folder
from queuectl.host import mounts
from queuectl.host.trust import check_folder, check_owner, user_name


class Location(msgspec.Struct, frozen=True):
    """The paths of one queue, all absolute and without symbolic links, so that every process means the same files."""

    database: str

    @property
    def home(self) -> Home:
        """The folder beside the database."""
        return Home(self.database + ".d")

    @property
    def files(self) -> tuple[str, ...]:
        """What only SQLite may open: closing another descriptor of it would drop SQLite's locks (R6)."""
        return (self.database, self.database + "-wal", self.database + "-shm")

    @property
    def gate(self) -> str:
        """The file whose lock is the right to write (R5)."""
        return self.home.folder + "/gate"

    @property
    def high_water(self) -> str:
        """The seq of the last event that was acknowledged, and the mark of the database."""
        return self.home.folder + "/high-water"

    @property
    def bells(self) -> str:
        """The folder with the FIFOs of those that wait to be woken."""
        return self.home.folder + "/bells"


def locate(url: str) -> Location:
    """What a path or `sqlite:///path` names (`sqlite:////path` where the path is absolute); touches nothing.

    Raises Invalid for what names no file, and Unusable for a symbolic link that another user made.
    """
    path = url
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", url):
        path = url[len("sqlite:///") :]
        if not url.lower().startswith("sqlite:///"):
            raise Invalid(
                f"{scheme[1]}://… is no database queuectl knows: give a path, sqlite:///path or postgresql://…"
            )
    if not path or "\0" in path:
        raise Invalid(f"{url!r} names no database: give a path or sqlite:///path")
    if path == ":memory:":
        raise Invalid(":memory: can't be shared between processes, and a queue is: give a path")
    path = os.path.expanduser(path)
    try:
        link = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass  # made, or refused with a reason, by prepare()
    except OSError as error:
        raise failed(path, error) from error
    else:
        if stat.S_ISLNK(link.st_mode) and link.st_uid not in (0, os.geteuid()):
            raise Unusable(
                f"{shown(path)}: is a symbolic link made by {user_name(link.st_uid)}: name a file of your own"
            )
    try:
        return Location(os.path.realpath(path))
    except OSError as error:  # the working directory has been deleted
        raise failed(path, error) from error


def prepare(location: Location, *, create: bool = True) -> bool:
    """Make what is missing (parents, the home with its folders, an empty database) and refuse what is unsafe.

    What exists is left as it is. Returns whether the database was made. Raises Unusable, one line, before anything was
    made where a check fails, and Absent where there is no database, or an empty file, and `create` is false.
    """
    home = location.home
    parent = os.path.dirname(location.database)
    try:
        if not create and not _check_file(location.database):
            raise Absent(f"{shown(location.database)}: there is no database: check the path")
        check_mounts(location)
        missing: list[str] = []
        while not os.path.lexists(parent):
            missing.append(parent)
            parent = os.path.dirname(parent)
        check_folder(parent, "make files in")
        fresh = not check_database(location)
        for folder in reversed(missing):
            make_folder(folder)
        make_folder(home.folder)
        check_folder(home.folder, "make files in")
        home.make()
        make_folder(location.bells)
        return fresh and _make_database(location)
    except OSError as error:
        raise failed(error.filename or location.database, error) from error


def check_mounts(location: Location) -> None:
    """Raise Unusable where the queue lies on a network file system, or one of its files is a mount of its own."""
    mountinfo = mounts.mountinfo()
    for path in (location.database, location.home.folder):
        if (kind := mounts.filesystem(mountinfo, path)) in mounts.NETWORK:
            raise Unusable(
                f"{shown(location.database)}: lies on a network file system ({kind}), where locks don't hold:"
                " use a local disk, or PostgreSQL"
            )
    points = {point for point, _ in mounts.mounts(mountinfo)}
    if alone := next((path for path in location.files if path in points), None):
        raise Unusable(
            f"{shown(alone)}: is mounted as a single file, apart from what SQLite keeps beside it: mount its folder"
        )


def check_database(location: Location) -> bool:
    """Whether the database exists. Raises Unusable where it, or what SQLite keeps beside it, is not as it must be."""
    path = location.database
    size = _check_file(path)
    for suffix in ("-wal", "-shm", "-journal", ".d"):
        try:
            found = os.lstat(path + suffix)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISLNK(found.st_mode):
            raise Unusable(f"{shown(path + suffix)}: is a symbolic link, which can lead anywhere: remove it")
        if suffix == ".d":
            if not stat.S_ISDIR(found.st_mode):
                raise Unusable(f"{shown(path + suffix)}: is not a folder, but the queue's folder goes there: move it")
        elif not stat.S_ISREG(found.st_mode):
            raise Unusable(f"{shown(path + suffix)}: is not a regular file: move it away")
        check_owner(path + suffix, found)
        # Another process may have made both since: it writes the file before the -wal.
        if suffix == "-wal" and not size and found.st_size and not _check_file(path):
            raise Unusable(f"{shown(path)}: is gone or empty, but its -wal is there: put it back, or move both away")
    return size is not None


def _check_file(path: str) -> int | None:
    """The size of the database, None where there is none. Raises Unusable where it is no file that can be trusted."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(found.st_mode):
        raise Unusable(f"{shown(path)}: is a directory, not a database: name a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise Unusable(f"{shown(path)}: is not a regular file: name another")
    check_owner(path, found)
    if found.st_nlink > 1:
        raise Unusable(f"{shown(path)}: has {found.st_nlink} names (hard links), each with a -wal of its own: keep one")
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        raise Unusable(f"{shown(path)}: is not writable (or readable): give yourself the rights, or use --db")
    return found.st_size


def _make_database(location: Location) -> bool:
    """Make the empty database with mode 0600, unless another process just has; returns whether it was made here.

    It is a new queue: what a former database left is not for it.
    """
    lock = os.open(location.home.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.lexists(location.database):
            return False
        for former in (location.home.id, location.high_water):
            if os.path.lexists(former):
                os.unlink(former)
        os.mknod(location.database, 0o600 | stat.S_IFREG)  # no descriptor that would have to be closed (R6)
        os.chmod(location.database, 0o600)
        return True
    finally:
        os.close(lock)

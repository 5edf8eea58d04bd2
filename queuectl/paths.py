"""Where a queue lives: the database file, the folder beside it, and whether both can be trusted (R9, R12).

Next to `q.db` stands `q.db.d/` (0700) with the gate, the bells, the lock files of live workers, outputs and logs. What
is made here gets its mode explicitly: the umask is never changed (jobs would inherit it) and never trusted. The
database itself is never opened here: closing any descriptor of it would drop SQLite's locks of the whole process (R6).
"""

import fcntl
import os
import re
import stat
from collections.abc import Iterator

import msgspec

from queuectl.errors import Absent, Invalid, Unusable

ID_LENGTH = 32
"""Hexadecimal digits in the file `id`."""

SUBFOLDERS = ("output", "stdin", "workers", "bells", "logs")

MOUNTINFO = "/proc/self/mountinfo"

NETWORK = frozenset(
    "nfs nfs4 cifs smb3 smbfs 9p afs ceph lustre beegfs gpfs glusterfs davfs ncpfs fuse.sshfs fuse.rclone fuse.s3fs"
    " fuse.gcsfuse fuse.glusterfs fuse.ceph fuse.juicefs fuse.davfs2 fuse.beegfs fuse.curlftpfs".split()
)
"""File system types where locks and shared memory don't hold between machines, as mountinfo spells them."""


class Place(msgspec.Struct, frozen=True):
    """The paths of one queue, all absolute and without symbolic links, so that every process means the same files."""

    database: str
    folder: str

    @property
    def guarded(self) -> tuple[str, ...]:
        """What only SQLite may open: closing another descriptor of it would drop SQLite's locks (R6)."""
        return (self.database, self.database + "-wal", self.database + "-shm")

    @property
    def gate(self) -> str:
        """The file whose lock is the right to write (R5)."""
        return self.folder + "/gate"

    @property
    def high_water(self) -> str:
        """The seq of the last event that was acknowledged."""
        return self.folder + "/high-water"

    @property
    def told(self) -> str:
        """The queues whose users were told of the default timeout, a line each."""
        return self.folder + "/told"

    @property
    def bells(self) -> str:
        """FIFOs of those who wait to be woken."""
        return self.folder + "/bells"

    @property
    def workers(self) -> str:
        """One lock file for each live worker."""
        return self.folder + "/workers"

    @property
    def output(self) -> str:
        """One file for each attempt."""
        return self.folder + "/output"

    def output_of(self, identity: str, job: str, lease: int) -> str:
        """The output file of one attempt, named by the queue's identity, the job and the lease (R12)."""
        return f"{self.output}/{job}.{lease}.{identity}"

    @property
    def stdin(self) -> str:
        """Copies of what `--stdin` named."""
        return self.folder + "/stdin"

    @property
    def logs(self) -> str:
        """What workers and recoveries wrote about themselves."""
        return self.folder + "/logs"


def place(url: str) -> Place:
    """The place that a path or `sqlite:///path` names (`sqlite:////path` where the path is absolute); touches nothing.

    Raises Invalid for what names no file, and Unusable for a symbolic link that somebody else made.
    """
    path = url
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", url):
        if scheme[1].lower() in ("postgres", "postgresql"):
            raise Invalid(f"{scheme[1]}://… needs a later version of queuectl: give a path or sqlite:///path")
        path = url[len("sqlite:///") :]
        if not url.lower().startswith("sqlite:///"):
            raise Invalid(f"{scheme[1]}://… is no database queuectl knows: give a path or sqlite:///path")
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
        raise _failed(path, error) from error
    else:
        if stat.S_ISLNK(link.st_mode) and link.st_uid not in (0, os.geteuid()):
            raise Unusable(f"{shown(path)}: is a symbolic link made by {_user(link.st_uid)}: name a file of your own")
    try:
        database = os.path.realpath(path)
    except OSError as error:  # the working directory has been deleted
        raise _failed(path, error) from error
    return Place(database, database + ".d")


def prepare(place: Place, *, create: bool = True) -> bool:
    """Make what is missing (parents, the folder and its subfolders, an empty database) and refuse what is unsafe.

    What exists is left as it is. Returns whether the database was made. Raises Unusable, one line, before anything was
    made where a check fails, and Absent where there is no database, or an empty file, and `create` is false.
    """
    parent = os.path.dirname(place.database)
    try:
        if not create and not _check_file(place.database):
            raise Absent(f"{shown(place.database)}: there is no database: check the path")
        _check_mounts(place)
        missing: list[str] = []
        while not os.path.lexists(parent):
            missing.append(parent)
            parent = os.path.dirname(parent)
        check_folder(parent, "make files in")
        fresh = not _check_database(place)
        for folder in reversed(missing):
            _make_folder(folder)
        _make_folder(place.folder)
        check_folder(place.folder, "make files in")
        for name in SUBFOLDERS:
            _make_folder(f"{place.folder}/{name}")
        return fresh and _make_database(place)
    except OSError as error:
        raise _failed(error.filename or place.database, error) from error


def identity(place: Place) -> str:
    """The queue's identity (R12), 16 hexadecimal digits: a random id kept in the folder, with that folder's inode.

    A copy of the folder is another queue, and so is one whose `id` was removed. Raises Unusable where it is damaged.
    """
    import hashlib  # brings OpenSSL along: only those who run or recover jobs come here

    path = place.folder + "/id"
    try:
        try:
            text = _read(path)
        except FileNotFoundError:
            _make_id(place.folder)
            text = _read(path)
        folder = os.stat(place.folder)
    except OSError as error:
        raise _failed(path, error) from error
    if not re.fullmatch(rb"[0-9a-f]{%d}\n" % ID_LENGTH, text):
        raise Unusable(f"{shown(path)}: is damaged: when no worker and no job of this queue runs, remove it")
    key = b"%s %d %d" % (text, folder.st_dev, folder.st_ino)
    return hashlib.blake2b(key, digest_size=8).hexdigest()


# The checks. Those that judge are functions of what was read, so that they can be asked about any machine.


def objection(found: os.stat_result, user: int, private_group: bool = False) -> str | None:
    """Why a file or folder can't be trusted by `user` (a uid), or None: a foreign owner, or others may write.

    A sticky folder (/tmp) is fine, because others can't replace our files in it; so is one that is writable for the
    user's own private group, which is what a umask of 002 makes.
    """
    if found.st_uid not in (0, user):
        return f"belongs to {_user(found.st_uid)}, who could change it: use a place of your own"
    others = stat.S_IWOTH if private_group else stat.S_IWOTH | stat.S_IWGRP
    if found.st_mode & others and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        return "can be written by others, who could make you run their commands: chmod go-w, or use another place"
    return None


def distrust(found: os.stat_result) -> str | None:
    """Why a file or link is not to be believed, as a clause ("belongs to user ann, who could change it"), or None."""
    if stat.S_ISLNK(found.st_mode):  # its mode says nothing, its owner where it leads
        return None if found.st_uid in (0, os.geteuid()) else f"is a symbolic link made by {_user(found.st_uid)}"
    why = _objection(found)
    return why.partition(": ")[0] if why is not None else None


def mounts(mountinfo: str) -> Iterator[tuple[str, str]]:
    """Every mount point with the type of its file system, by the text of mountinfo."""
    for line in mountinfo.splitlines():
        left, dash, right = line.partition(" - ")
        fields = left.split(" ")
        if dash and len(fields) >= 5:
            point = fields[4]
            if "\\" in point:
                point = re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), point)
            yield point.rstrip("/"), right.split(" ", 1)[0]


def filesystem(mountinfo: str, path: str) -> str:
    """The type of the file system that `path` (absolute, real) lies on, by the text of mountinfo; "" where unknown."""
    best, kind = -1, ""
    for point, each in mounts(mountinfo):
        if (path == point or path.startswith(point + "/")) and len(point) >= best:  # of equals the last lies on top
            best, kind = len(point), each
    return kind


def is_private_group(gid: int, user: int) -> bool:
    """Whether the group has the user (a uid) as its only member, by the rule of pam_umask: same number, same name."""
    if user == 0 or gid != user:
        return False
    import grp
    import pwd

    try:
        group, name = grp.getgrgid(gid), pwd.getpwuid(user).pw_name
    except KeyError:
        return False
    return group.gr_name == name and set(group.gr_mem) <= {name}


def shown(path: str) -> str:
    """A path as it may stand in a message of one line: quoted and escaped where it holds what could break it."""
    return path if path.isprintable() else ascii(path)


def _check_mounts(place: Place) -> None:
    try:
        mountinfo = os.fsdecode(_read(MOUNTINFO))
    except FileNotFoundError:
        return  # not Linux, or no /proc: nothing to know
    for path in (place.database, place.folder):
        if (kind := filesystem(mountinfo, path)) in NETWORK:
            raise Unusable(
                f"{shown(place.database)}: lies on a network file system ({kind}), where locks don't hold:"
                " use a local disk, or PostgreSQL"
            )
    points = {point for point, _ in mounts(mountinfo)}
    if alone := next((path for path in place.guarded if path in points), None):
        raise Unusable(
            f"{shown(alone)}: is mounted as a single file, apart from what SQLite keeps beside it: mount its folder"
        )


def check_folder(path: str, purpose: str) -> None:
    """Raise Unusable unless `path` is a folder that we, and nobody we don't trust, can write to. Raises OSError."""
    if (link := os.lstat(path).st_uid) not in (0, os.geteuid()) and os.path.islink(path):
        raise Unusable(f"{shown(path)}: is a symbolic link made by {_user(link)}: name a folder of your own")
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise Unusable(f"{shown(path)}: is not a folder: name one")
    _check_trust(path, found)
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
        raise Unusable(f"{shown(path)}: is not writable, can't {purpose} it: give yourself the rights, or use --db")


def _check_database(place: Place) -> bool:
    """Whether the database exists. Raises Unusable where it, or what SQLite keeps beside it, is not as it must be."""
    path = place.database
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
        _check_trust(path + suffix, found)
        if suffix == "-wal" and not size and found.st_size:
            raise Unusable(f"{shown(path)}: is gone or empty, but its -wal is there: put it back, or move both away")
    return size is not None


def _check_file(path: str) -> int | None:
    """The size of the database, None where there is none. Raises Unusable where it is no file that we can trust."""
    try:
        found = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISDIR(found.st_mode):
        raise Unusable(f"{shown(path)}: is a directory, not a database: name a file in it")
    if not stat.S_ISREG(found.st_mode):
        raise Unusable(f"{shown(path)}: is not a regular file: name another")
    _check_trust(path, found)
    if found.st_nlink > 1:
        raise Unusable(f"{shown(path)}: has {found.st_nlink} names (hard links), each with a -wal of its own: keep one")
    if not os.access(path, os.R_OK | os.W_OK, effective_ids=True):
        raise Unusable(f"{shown(path)}: is not writable (or readable): give yourself the rights, or use --db")
    return found.st_size


def _check_trust(path: str, found: os.stat_result) -> None:
    if why := _objection(found):
        raise Unusable(f"{shown(path)}: {why}")


def _objection(found: os.stat_result) -> str | None:
    user = os.geteuid()
    if why := objection(found, user):
        private = bool(found.st_mode & stat.S_IWGRP) and is_private_group(found.st_gid, user)
        if not private or objection(found, user, private_group=True):
            return why
    return None


# What is made.


def _make_folder(path: str) -> None:
    """Make a folder with mode 0700 under any umask; one that exists is left alone."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    os.chmod(path, 0o700)


def _make_database(place: Place) -> bool:
    """Make the empty database with mode 0600, unless somebody else just has; returns whether it was made here.

    It is a new queue: what a former database left is not for it.
    """
    lock = os.open(place.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if os.path.lexists(place.database):
            return False
        for former in (place.folder + "/id", place.high_water):
            if os.path.lexists(former):
                os.unlink(former)
        os.mknod(place.database, 0o600 | stat.S_IFREG)  # no descriptor that would have to be closed (R6)
        os.chmod(place.database, 0o600)
        return True
    finally:
        os.close(lock)


def _make_id(folder: str) -> None:
    """Make the id whole or not at all; where two make it at once, the first one's stands."""
    text = os.urandom(ID_LENGTH // 2).hex().encode() + b"\n"
    draft = f"{folder}/.id-{os.urandom(8).hex()}"
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(fd, 0o600)
        os.write(fd, text)
        os.fsync(fd)
        os.link(draft, folder + "/id")
    except FileExistsError:
        pass
    finally:
        os.close(fd)
        os.unlink(draft)


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def _user(uid: int) -> str:
    import pwd

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _failed(path: str, error: OSError) -> Unusable:
    return Unusable(f"{shown(path)}: {error.strerror}: check the path and your rights, or use another --db")

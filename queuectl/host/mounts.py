"""What is mounted where (proc_pid_mountinfo(5)), and which file systems don't keep locks between machines."""

import functools
import os
import re
import select
from collections.abc import Iterator

MOUNTINFO = "/proc/self/mountinfo"

NETWORK = frozenset(
    "nfs nfs4 cifs smb3 smbfs 9p afs ceph lustre beegfs gpfs glusterfs davfs ncpfs fuse.sshfs fuse.rclone fuse.s3fs"
    " fuse.gcsfuse fuse.glusterfs fuse.ceph fuse.juicefs fuse.davfs2 fuse.beegfs fuse.curlftpfs".split()
)
"""File system types where locks and shared memory don't hold between machines, as mountinfo spells them."""

REMOTE = NETWORK | {"gfs2", "ocfs2", "autofs"}
"""File system types that a dead server or peer can block; each kind of FUSE can be, too."""


def mounts(mountinfo: str) -> Iterator[tuple[str, str]]:
    """Every mount point with the type of its file system, by the text of mountinfo; the root is ""."""
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


def mountinfo() -> str:
    """The text of mountinfo for this process."""
    with open(MOUNTINFO, "rb", buffering=0) as file:
        return os.fsdecode(file.readall())


class RemotePaths:
    """Which paths lie on a network or FUSE file system, told without touching any of them."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}
        self._points: dict[str, bool] = {}
        self._fd = os.open(MOUNTINFO, os.O_RDONLY | os.O_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLPRI)  # which tells when something was mounted or unmounted
        self._read()

    def refresh(self) -> None:
        """Take in what was mounted and unmounted; cheap, to be called before the other two."""
        if self._poll.poll(0):
            self._read()

    def is_remote(self, path: str) -> bool:
        """Whether the way to this absolute path, symbolic links followed, leads over such a file system."""
        known = self._known.get(path)
        if known is None:
            if len(self._known) > 10_000:
                self._known.clear()
            known = self._known[path] = self._leads_over(path)
        return known

    def is_program_remote(self, name: str, cwd: str | None, path: str) -> bool:
        """The same for each folder where the program `name` could be, by the search path `path`."""
        if "/" in name:
            return self.is_remote(os.path.join(cwd or "/", os.path.dirname(name)))
        known = self._known.get(path)  # a list of folders is no absolute path, unless there is one only
        if known is None:
            folders = [folder for folder in path.split(os.pathsep) if folder[:1] == "/"]  # others are below the cwd
            known = self._known[path] = any(map(self.is_remote, folders))
        return known

    def _read(self) -> None:
        os.lseek(self._fd, 0, os.SEEK_SET)
        text = b""
        while piece := os.read(self._fd, 65536):
            text += piece
        self._known.clear()
        # The root itself is not asked about: where that is remote, everything is, this program too.
        self._points = {
            point: kind in REMOTE or kind.startswith("fuse") for point, kind in mounts(os.fsdecode(text)) if point
        }

    def _leads_over(self, path: str) -> bool:
        here, parts, links = "", path.split("/"), 0
        while parts:
            part = parts.pop(0)
            if part in ("", "."):
                continue
            if part == "..":
                here = here.rpartition("/")[0]
                continue
            step = f"{here}/{part}"
            if self._points.get(step):
                return True
            try:
                target = os.readlink(step)
            except OSError:  # no link, or not there at all
                here = step
                continue
            links += 1
            if links > 40:
                return False  # a loop: chdir will say so
            parts[:0] = target.split("/")
            if target.startswith("/"):
                here = ""
        return False


@functools.cache
def remote_paths() -> RemotePaths:
    """The one of this process."""
    return RemotePaths()

"""A queue's home: its folder on this host, with the outputs and inputs of jobs, the workers' lock files, and logs.

The engine says where it is (for SQLite `q.db.d/` beside the database). What is made here gets its mode explicitly: the
umask is never changed (jobs would inherit it) and never trusted.
"""

import os
import re

import msgspec

from queuectl.errors import Unusable, shown
from queuectl.host.atomic_file import write_file

STDERR = ".err"
"""What follows the name of an output file in that of the file for stderr."""
ID_LENGTH = 32
"""Hexadecimal digits in the file `id`."""

PROGRESS = ".progress"
"""What the name of such a file ends with, beside that of the output file."""


class Home(msgspec.Struct, frozen=True):
    """The paths of a queue's home, all absolute and without symbolic links: each process means the same files."""

    folder: str
    machine: str = ""
    """What tells this machine from others, where the workers of several may be at one queue: a folder that they share,
    or that was copied, is then a home of its own for each."""

    @property
    def id(self) -> str:
        """The random part of the queue's identity, in a file that workers make (R12)."""
        return self.folder + "/id"

    @property
    def notices(self) -> str:
        """The queues whose users were told of the default timeout, a line each."""
        return self.folder + "/told"

    @property
    def workers(self) -> str:
        """The folder with one lock file for each live worker."""
        return self.folder + "/workers"

    @property
    def output(self) -> str:
        """The folder with one file for each attempt."""
        return self.folder + "/output"

    def output_of(self, identity: str, job: str, lease: int) -> str:
        """The output file of one attempt, named by the queue's identity, the job and the lease (R12)."""
        return f"{self.output}/{job}.{lease}.{identity}"

    @property
    def stdin(self) -> str:
        """The folder with copies of what `--stdin` named."""
        return self.folder + "/stdin"

    @property
    def archives(self) -> str:
        """The folder of the archives that workers make (R24); missing until there is one."""
        return self.folder + "/archive"

    @property
    def retention(self) -> str:
        """The file in which retention notes what it has begun, and what went wrong."""
        return self.folder + "/retention.json"

    @property
    def logs(self) -> str:
        """The folder of `worker.jsonl` and the reports of recoveries."""
        return self.folder + "/logs"

    def make(self) -> None:
        """Make the folders that are missing, mode 0700 under any umask. Raises OSError."""
        for folder in (self.output, self.stdin, self.workers, self.logs):
            make_folder(folder)

    def identity(self) -> str:
        """The queue's identity (R12), 16 hexadecimal digits: a random id kept in the folder, with that folder's inode.

        A copy of the folder is another queue, and so is one whose `id` was removed. The id is made where there is none.
        Raises Unusable where it is damaged.
        """
        import hashlib  # brings OpenSSL along: only those who run or recover jobs come here

        try:
            try:
                text = _read(self.id)
            except FileNotFoundError:
                write_file(self.id, os.urandom(ID_LENGTH // 2).hex().encode() + b"\n", replace=False)
                text = _read(self.id)
            folder = os.stat(self.folder)
        except OSError as error:
            raise failed(self.id, error) from error
        if not re.fullmatch(rb"[0-9a-f]{%d}\n" % ID_LENGTH, text):
            raise Unusable(f"{shown(self.id)}: is damaged: when no worker and no job of this queue runs, remove it")
        key = b"%s %d %d" % (text, folder.st_dev, folder.st_ino) + self.machine.encode()
        return hashlib.blake2b(key, digest_size=8).hexdigest()

    def has_identity(self, known: str) -> bool:
        """Whether this is its identity: the folder was not removed and made anew, and is no copy. Makes none."""
        return os.path.lexists(self.id) and self.identity() == known


def progress_of(output: str) -> str:
    """The file in which the command with this output file says how far it is."""
    return output + PROGRESS


def stderr_of(output: str) -> str:
    """The file of what an attempt wrote to stderr, if that is kept apart from the rest in its output file."""
    return output + STDERR


def job_of(name: str) -> str:
    """The id of the job in the name of a file in the folder of outputs."""
    return name.removesuffix(PROGRESS).removesuffix(STDERR).rpartition(".")[0].rpartition(".")[0]


def make_folder(path: str) -> None:
    """Make a folder, and those above it, with mode 0700 under any umask; what exists is left alone. Raises OSError."""
    if os.path.lexists(path):
        return
    if parent := os.path.dirname(path):
        make_folder(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    os.chmod(path, 0o700)


def failed(path: str, error: OSError) -> Unusable:
    """The error of a path of the queue, for its user."""
    return Unusable(f"{shown(path)}: {error.strerror}: check the path and your rights, or use another --db")


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()

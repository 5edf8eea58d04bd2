"""A disk that fails: a VFS for apsw that records what SQLite does to its files, and can refuse or end it at any point.

It is registered as SQLite's default, so nothing of the product knows of it. From a recording every state is made that
the files can have after a kill of the process (`Operations.killed`) or a power cut (`Operations.cut`): after that, what
was written and not synced is there or not, sector by sector, whatever came first.
"""

import ctypes
import errno
import fcntl
import os
import random
import struct
from collections.abc import Callable
from typing import Any, Self

import apsw
import msgspec

SECTOR = 512
"""Bytes that a disk writes whole or not at all."""

BASE = "unix"
"""SQLite's own VFS, which ours calls."""


class Op(msgspec.Struct, frozen=True, gc=False):
    """One operation of SQLite on a file."""

    kind: str
    """create, write, truncate, sync, delete; seen and not recorded: read, open, lock."""
    name: str
    """The file's name without its folder."""
    offset: int = 0
    """Of a write; the new size for truncate; 1 where a delete is to be durable at once."""
    data: bytes = b""


class Operations:
    """A recording: what was done to the files of one database, in order."""

    def __init__(self) -> None:
        self.ops: list[Op] = []

    def killed(self, point: int, torn: random.Random | None = None) -> dict[str, bytes]:
        """The files after the first `point` ops, which is what a SIGKILL leaves; `torn`: in the middle of the next."""
        ops = self.ops[:point]
        if torn is not None and point < len(self.ops) and self.ops[point].kind == "write":
            op = self.ops[point]
            ops.append(msgspec.structs.replace(op, data=op.data[: torn.randrange(len(op.data))]))
        files: dict[str, bytearray] = {}
        for op in ops:
            if op.kind == "delete":
                files.pop(op.name, None)
            elif op.kind != "sync":
                _apply(files.setdefault(op.name, bytearray()), op)
        return {name: bytes(data) for name, data in files.items()}

    def cut(self, point: int, dice: random.Random) -> dict[str, bytes]:
        """The files after the first `point` ops and a power cut. A file's sync makes durable what was done to it, and
        the first one of a new file also the names in the folder."""
        inodes: list[list[Op]] = []
        names: dict[str, int] = {}
        links: list[tuple[str, int | None]] = []
        solid_links = 0
        solid: dict[int, int] = {}
        new: set[int] = set()
        for op in self.ops[:point]:
            if op.kind == "delete":
                if names.pop(op.name, None) is not None:
                    links.append((op.name, None))
                if op.offset:
                    solid_links = len(links)
                continue
            if op.name not in names:
                names[op.name] = len(inodes)
                links.append((op.name, len(inodes)))
                new.add(len(inodes))
                inodes.append([])
            inode = names[op.name]
            if op.kind == "sync":
                solid[inode] = len(inodes[inode])
                if inode in new:
                    new.discard(inode)
                    solid_links = len(links)
            else:
                inodes[inode].append(op)
        found: dict[str, int] = {}
        for name, inode in links[: dice.randint(solid_links, len(links))]:
            found.pop(name, None)
            if inode is not None:
                found[name] = inode
        chance = dice.choice((0.0, 0.1, 0.5, 0.5, 0.9, 1.0))
        return {name: _settle(inodes[inode], solid.get(inode, 0), dice, chance) for name, inode in found.items()}


def _settle(ops: list[Op], solid: int, dice: random.Random, chance: float) -> bytes:
    """A file's content: all of the first `solid` ops, and of each sector of the others by chance."""
    file = bytearray()
    for op in ops[:solid]:
        _apply(file, op)
    for op in ops[solid:]:
        if op.kind != "write":
            if dice.random() < chance:
                _apply(file, op)
            continue
        start = 0
        while start < len(op.data):
            size = SECTOR - (op.offset + start) % SECTOR
            if dice.random() < chance:
                _apply(file, Op("write", op.name, op.offset + start, op.data[start : start + size]))
            start += size
    return bytes(file)


def _apply(file: bytearray, op: Op) -> None:
    if op.kind == "truncate":
        del file[op.offset :]
        file.extend(bytes(op.offset - len(file)))
    elif op.kind == "write":
        file.extend(bytes(max(0, op.offset - len(file))))
        file[op.offset : op.offset + len(op.data)] = op.data


Judge = Callable[[Op], None]
"""Sees an op before it is done, and may raise an error of apsw's instead, or end the process."""


class Disk(apsw.VFS):
    """A VFS that records every operation; SQLite's default until the end of its `with` block."""

    def __init__(self, judge: Judge = lambda op: None) -> None:
        super().__init__("torture", base=BASE, makedefault=True)
        self.operations = Operations()
        self._judge = judge

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.unregister()

    def done(self, op: Op) -> None:
        """Ask about an op; where nothing is raised, it is done next."""
        self._judge(op)
        self.operations.ops.append(op)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        if not path:
            return apsw.VFSFile(BASE, name, flags)
        short = os.path.basename(path)
        if flags[0] & apsw.SQLITE_OPEN_CREATE and not os.path.exists(path):
            self.done(Op("create", short))
        return File(self, name, flags, short)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        if os.path.exists(filename):
            self.done(Op("delete", os.path.basename(filename), int(syncdir)))
        super().xDelete(filename, syncdir)


class File(apsw.VFSFile):
    """A file on such a disk. What is synced here is not made to survive anything: `Operations.cut` knows what would."""

    def __init__(self, disk: Disk, name: str | apsw.URIFilename | None, flags: list[int], short: str) -> None:
        super().__init__(BASE, name, flags)
        self._disk = disk
        self._name = short

    def xWrite(self, data: Any, offset: int) -> None:  # noqa: N802
        self._disk.done(Op("write", self._name, offset, bytes(data)))
        super().xWrite(data, offset)

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        self._disk.done(Op("truncate", self._name, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:  # noqa: N802
        self._disk.done(Op("sync", self._name))


WRITER = 120
"""The byte of the WAL's index whose lock is SQLite's right to write (WAL_WRITE_LOCK)."""

_FLOCK = struct.Struct("hhqqi")


class Calls:
    """What SQLite asks of the system, seen before it is done: within the `with` block, by all connections.

    Unlike a VFS of our own it also shows the locks (its steps in the WAL index, which lies in shared
    memory), and what is refused is refused by the system, so that SQLite's own ways with errors are taken. `judge` is
    asked about ops (also read, open, lock; a lock's `data` is b"u" where it is let go), and what it returns is an errno
    or 0; of a write that is refused by ENOSPC the first half is done, as systems do.
    """

    def __init__(self, judge: Callable[[Op], int]) -> None:
        self._judge = judge
        self._libc = ctypes.CDLL(None, use_errno=True)
        integer, pointer, size = ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t
        long = ctypes.c_longlong
        self._hooks = {
            name: ctypes.CFUNCTYPE(result, *arguments, use_errno=True)(call)
            for name, call, result, arguments in (
                ("open", self._open, integer, (ctypes.c_char_p, integer, integer)),
                ("pread64", self._read, ctypes.c_ssize_t, (integer, pointer, size, long)),
                ("pwrite64", self._write, ctypes.c_ssize_t, (integer, pointer, size, long)),
                ("ftruncate", self._truncate, integer, (integer, long)),
                ("unlink", self._unlink, integer, (ctypes.c_char_p,)),
                ("fcntl", self._fcntl, integer, (integer, integer, pointer)),
            )
        }
        for name in ("pread64", "pwrite64"):
            getattr(self._libc, name).argtypes = [integer, pointer, size, long]
            getattr(self._libc, name).restype = ctypes.c_ssize_t
        self._libc.ftruncate.argtypes = [integer, long]
        self._libc.fcntl.argtypes = [integer, integer, pointer]
        self._vfs = apsw.VFS("calls", base=BASE)

    def __enter__(self) -> Self:
        for name, hook in self._hooks.items():
            self._vfs.xSetSystemCall(name, ctypes.cast(hook, ctypes.c_void_p).value or 0)
        return self

    def __exit__(self, *_: object) -> None:
        self._vfs.xSetSystemCall(None, 0)

    def _refused(self, op: Op) -> int:
        if number := self._judge(op):
            ctypes.set_errno(number)
        return number

    def _open(self, path: bytes, flags: int, mode: int) -> int:
        kind = "create" if flags & os.O_CREAT and not os.path.exists(path) else "open"
        if self._refused(Op(kind, os.path.basename(os.fsdecode(path)))):
            return -1
        return self._libc.open(path, flags, mode)

    def _read(self, fd: int, into: int, size: int, offset: int) -> int:
        if self._refused(Op("read", _name(fd), offset)):
            return -1
        return self._libc.pread64(fd, into, size, offset)

    def _write(self, fd: int, data: int, size: int, offset: int) -> int:
        if number := self._refused(Op("write", _name(fd), offset)):
            if number != errno.ENOSPC or size < 2:
                return -1
            size //= 2
        return self._libc.pwrite64(fd, data, size, offset)

    def _truncate(self, fd: int, size: int) -> int:
        return -1 if self._refused(Op("truncate", _name(fd), size)) else self._libc.ftruncate(fd, size)

    def _unlink(self, path: bytes) -> int:
        return -1 if self._refused(Op("delete", os.path.basename(os.fsdecode(path)))) else self._libc.unlink(path)

    def _fcntl(self, fd: int, command: int, argument: int | None) -> int:
        if command in (fcntl.F_SETLK, fcntl.F_SETLKW) and argument is not None:
            what, _, start, _, _ = _FLOCK.unpack(ctypes.string_at(argument, _FLOCK.size))
            if self._refused(Op("lock", _name(fd), start, b"u" * (what == fcntl.F_UNLCK))):
                return -1
        return self._libc.fcntl(fd, command, argument)


def _name(fd: int) -> str:
    return os.path.basename(os.readlink(f"/proc/self/fd/{fd}"))

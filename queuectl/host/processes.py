"""Processes by pid: their state, session and group, and which have a file open for writing. Zombies count as ended."""

import os

from queuectl.host.procfs import is_stop_pending, look, look_at_thread, pids

_GONE = (FileNotFoundError, ProcessLookupError)


def state(pid: int) -> str | None:
    """R, S, D, T (stopped), t (traced), Z (ended, not reaped), as /proc has it; None: there is no such process."""
    process = look(pid)
    return process.state if process is not None else None


def runs(pid: int) -> bool:
    """Whether any thread of the process is neither stopped nor ended; False where there is none.

    One that can't be interrupted, and stops before it comes to anything of its own, counts as stopped: a shell stays so
    that waits until its stopped child executes a program (vfork).
    """
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except _GONE:
        return False
    states = {each.state for thread in threads if (each := look_at_thread(pid, thread)) is not None} - {*"ZX"}
    going = states - {*"Tt"}
    return bool(going) and not (going == {"D"} and ("T" in states or is_stop_pending(pid)))


def start_time(pid: int) -> int | None:
    """When the process started, in clock ticks since boot: with the pid it names a process. None: there is none."""
    process = look(pid)
    return process.started if process is not None else None


def session(pid: int) -> int:
    """The session of a living process, which is the pid of its leader; 0: no such process, or begun outside of here.

    Outside is what this pid namespace doesn't see: a process that entered a container may have brought a session along.
    """
    process = look(pid)
    return process.session if process is not None and process.lives else 0


def in_group(pid: int, pgid: int) -> bool:
    """Whether the process lives and is in the process group."""
    process = look(pid)
    return process is not None and process.lives and process.group == pgid


def group(pgid: int) -> list[int]:
    """The living processes of a process group."""
    return [pid for pid in pids() if in_group(pid, pgid)]


def has_members(pgid: int) -> bool:
    """Whether the process group has any process, zombies included."""
    try:
        os.killpg(pgid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def is_taken(pid: int) -> bool:
    """Whether a process has this pid.

    Of a group's leader that was reaped: then nothing is left of the group, for the kernel gives no number to another
    process that still names a group.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def is_writer(pid: int, path: str) -> bool:
    """Whether the process has this file open for writing, as far as its descriptors may be read."""
    name = os.path.basename(path)
    try:
        wanted = os.stat(path) if os.path.lexists(path) else None
        for fd in os.listdir(f"/proc/{pid}/fd"):
            link = f"/proc/{pid}/fd/{fd}"
            try:
                target = os.readlink(link)
                if name not in target:  # asked first: it touches no file system but /proc
                    continue
                if target == f"{path} (deleted)" and _writes(pid, fd):
                    return True
                if wanted is None:
                    continue
                found = os.stat(link)
                if (found.st_dev, found.st_ino) == (wanted.st_dev, wanted.st_ino) and _writes(pid, fd):
                    return True
            except _GONE:
                continue
    except (*_GONE, PermissionError):
        return False
    return False


def _writes(pid: int, fd: str) -> bool:
    with open(f"/proc/{pid}/fdinfo/{fd}", "rb", buffering=0) as file:
        text = file.read()
    flags = text.partition(b"flags:")[2].split(maxsplit=1)[0]
    return int(flags, 8) & os.O_ACCMODE != os.O_RDONLY


def writers(path: str) -> list[int]:
    """The processes that have this file open for writing, as far as their descriptors may be read."""
    return [pid for pid in pids() if is_writer(pid, path)]


def has_open(pid: int, path: str) -> bool | None:
    """Whether the process has this file open; False where there is no such file or process, None where it is hidden."""
    folder = f"/proc/{pid}/fd"
    names = (path, f"{path} (deleted)")
    try:
        ours = os.stat(path)
        for fd in os.listdir(folder):
            try:
                if os.readlink(f"{folder}/{fd}") in names:
                    return True
                found = os.stat(f"{folder}/{fd}")
            except FileNotFoundError:
                continue  # closed since
            if (found.st_dev, found.st_ino) == (ours.st_dev, ours.st_ino):
                return True
    except _GONE:
        return False
    except PermissionError:
        return None
    return False

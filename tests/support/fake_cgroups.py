"""A folder of files named as those of control groups. It is no kernel: nothing in it limits or counts anything."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from queuectl.host import cgroup

FILES = ("cgroup.procs", "cgroup.subtree_control", "cgroup.type", "memory.max", "memory.swap.max", "memory.oom.group")


class FakeCgroups:
    """Stands in for the mount: what is made in it gets its files, and a process is in one group at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.own = root.with_name("own")
        self.gone: set[str] = set()
        """Processes that have ended once they are to be moved, and are listed all the same."""
        self.delegated: set[str] = set()
        """The groups that a service manager has delegated, by path."""

    def install(self, patch: Callable[[object, str, Any], None] = setattr) -> None:
        """Have `queuectl.host.cgroup` of this process use it. `patch`: of a monkeypatch, where it is to end."""
        mkdir, rmdir = os.mkdir, os.rmdir

        def make(path: Any, mode: int = 0o777, **more: Any) -> None:
            mkdir(path, mode, **more)
            if str(path).startswith(f"{self.root}/"):
                self._fill(Path(path))

        def remove(path: Any, **more: Any) -> None:
            if str(path).startswith(f"{self.root}/"):
                if Path(path, "cgroup.procs").read_text():
                    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
                for each in Path(path).iterdir():
                    each.unlink()
            rmdir(path, **more)

        for name, value in (("ROOT", str(self.root)), ("OWN", str(self.own)), ("_write", self._write)):
            patch(cgroup, name, value)
        patch(cgroup, "_is_delegated", lambda path: path.removeprefix(f"{self.root}/") in self.delegated)  # type: ignore[reportUnknownLambdaType]
        patch(os, "mkdir", make)
        patch(os, "rmdir", remove)

    def make(self, path: str = "", *pids: int) -> Path:
        """Make a group with these processes in it; the root, where no path is given."""
        group = self.root / path
        group.mkdir(parents=True, exist_ok=True)
        self._fill(group)
        if not path:
            (group / "cgroup.type").unlink()
        (group / "cgroup.procs").write_text("".join(f"{pid}\n" for pid in pids))
        return group

    def enter(self, path: str = "") -> None:
        """Put this process into a group."""
        self.own.write_text(f"1:name=other:/\n0::/{path}\n")

    def procs(self, path: str) -> list[int]:
        """The processes in a group."""
        return [int(pid) for pid in (self.root / path / "cgroup.procs").read_text().split()]

    def _fill(self, group: Path) -> None:
        for name in FILES:
            (group / name).touch()
        (group / "cgroup.controllers").write_text("cpu memory pids\n")
        (group / "memory.events").write_text("oom 0\noom_kill 0\n")

    def _write(self, path: str, text: str) -> None:
        if not os.path.exists(path):
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        group = Path(path).parent
        full = (group / "cgroup.type").exists() and bool((group / "cgroup.procs").read_text())
        if path.endswith("/cgroup.subtree_control") and full:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), path)
        if not path.endswith("/cgroup.procs"):
            Path(path).write_text(text)
            return
        if text in self.gone:
            raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), path)
        for other in self.root.rglob("cgroup.procs"):
            left = [pid for pid in other.read_text().split() if pid != text]
            other.write_text("".join(f"{pid}\n" for pid in left))
        with open(path, "a") as file:
            file.write(f"{text}\n")

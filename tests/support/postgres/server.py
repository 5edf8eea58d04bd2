"""One server of PostgreSQL: made, started, stopped, killed. It ends with the process that started it."""

import ctypes
import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from tests.support.other_user import NOBODY
from tests.support.postgres import programs

PATIENCE = 30.0
"""Seconds in which a server starts, or ends."""

SETTINGS = {
    "max_connections": "200",
    "shared_buffers": "32MB",
    "fsync": "off",
    "full_page_writes": "off",
    "dynamic_shared_memory_type": "mmap",  # in the data folder: what a killed server leaves goes with that
    "scram_iterations": "1",  # 4096 cost each new session 10 ms
}
"""What every server has, unless it is asked for with others."""

SINCE = {"scram_iterations": 16}
"""The major version that brought a setting, where it is not the oldest."""

ACCESS = """\
local all,replication all trust
host all,replication all all scram-sha-256
"""

ADMINISTRATOR = "postgres"

PASSWORD = "correct-horse-battery"
"""The password of every role: so that a test can look for it where it must not be."""

_PR_SET_PDEATHSIG = 1
_IPC_RMID = 0
_libc = ctypes.CDLL(None, use_errno=True)


class Address(msgspec.Struct, frozen=True):
    """Where a server listens."""

    sockets: str
    """The folder of its Unix socket, by which the administrator is let in without a password."""
    port: int
    host: str = "127.0.0.1"

    def administrator(self, database: str = "postgres") -> str:
        """A connection string for what a user of the queue may not do."""
        return f"host={self.sockets} port={self.port} user={ADMINISTRATOR} dbname={database}"

    def url(self, role: str, database: str, schema: str | None = None) -> str:
        """The URL by TCP; with a schema, one of a queue."""
        query = f"?schema={quote(schema)}" if schema is not None else ""
        return f"postgresql://{role}:{PASSWORD}@{self.host}:{self.port}/{database}{query}"


class Server:
    """A server whose data are in a folder of its own, which whoever makes it removes."""

    def __init__(self, folder: Path, wheel: Path, version: int = 16, *, host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.data = folder / "data"
        self.log = folder / "log"
        self.host = host
        self._programs = programs.programs(wheel, version)
        self._port = 0
        self._process: subprocess.Popen[Any] | None = None

    @property
    def address(self) -> Address:
        return Address(str(self.folder), self._port, self.host)

    @property
    def pid(self) -> int:
        """The pid of the postmaster."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    def create(self, settings: Mapping[str, str] | None = None) -> None:
        """Make the folder and an empty cluster in it (0.6 s)."""
        self.make_folder()
        with (self.folder / "password").open("w") as file:
            file.write(PASSWORD)
        self.run(
            "initdb", "--no-sync", "--locale=C", "--encoding=UTF8", f"--username={ADMINISTRATOR}",
            "--auth=scram-sha-256", f"--pwfile={self.folder / 'password'}", f"--pgdata={self.data}",
        )  # fmt: skip
        (self.data / "pg_hba.conf").write_text(ACCESS)
        version = programs.major(self._programs)
        known = {name: value for name, value in SETTINGS.items() if version >= SINCE.get(name, 0)}
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in {**known, **(settings or {})}.items())

    def make_folder(self) -> None:
        """Make the folder, which belongs to the user as whom the server runs."""
        self.folder.mkdir()
        if os.geteuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)

    def run(self, program: str, *words: str) -> None:
        """Run another of PostgreSQL's programs."""
        programs.run(self._programs / program, *words, folder=self.folder)

    def start(self) -> None:
        """Start it; returns when it takes connections. Raises RuntimeError with its log, when it does not.

        It keeps its port from one start to the next.
        """
        for port in [self._port] if self._port else [free_port(self.host) for _ in range(5)]:
            self._spawn(port)
            if self._is_ready():
                self._port = port
                return
            if "could not create any TCP/IP sockets" not in self.log.read_text():
                break  # nobody took the port
        raise RuntimeError(f"the server did not start:\n{self.log.read_text()}")

    def stop(self) -> None:
        """End it when its sessions are ended and all is written."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(signal.SIGINT)
        self._process.wait(PATIENCE)
        self._process = None

    def kill(self) -> None:
        """SIGKILL all its processes, if it runs, as if the machine had died; returns when none of them is left."""
        if self._process is not None:
            kill(self.data)
            self._process.kill()  # where it is too young to have said its pid
            self._process.wait(PATIENCE)
            self._process = None

    def _spawn(self, port: int) -> None:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    self._programs / "postgres", "-D", self.data, "-p", str(port),
                    "-c", f"listen_addresses={self.host}", "-c", f"unix_socket_directories={self.folder}",
                ],
                **programs.SERVANT, cwd=self.folder, env=programs.ENV,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=end_with_parent,
            )  # fmt: skip

    def _is_ready(self) -> bool:
        assert self._process is not None
        status = self.data / "postmaster.pid"
        deadline = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            lines = status.read_text().splitlines() if status.exists() else []
            if len(lines) == 8 and lines[0] == str(self._process.pid) and lines[7].strip() in ("ready", "standby"):
                return True
            time.sleep(0.005)
        self.kill()
        return False


def kill(data: Path) -> None:
    """SIGKILL all processes of the server that has these data, if there is one; returns when none of them is left.

    Nothing else is certain: asked to shut down at once, a server that has just started may wait for ever for a child.
    """
    try:
        lines = (data / "postmaster.pid").read_text().splitlines()
        pid, segment = int(lines[0]), int(lines[6].split()[1])
        if os.readlink(f"/proc/{pid}/cwd") != str(data):
            return
        os.kill(pid, signal.SIGSTOP)  # or it might start another between the look and the kill
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except (FileNotFoundError, ProcessLookupError, IndexError):
        return  # it has ended, or never got so far
    with ExitStack() as opened:
        for each in (*map(int, children), pid):
            fd = os.pidfd_open(each)
            opened.callback(os.close, fd)
            opened.callback(_await_end, fd)
            signal.pidfd_send_signal(fd, signal.SIGKILL)
    _libc.shmctl(segment, _IPC_RMID, None)  # its interlock would stay in the machine until that starts anew


def free_port(host: str) -> int:
    """A port that nobody has now."""
    with socket.create_server((host, 0)) as server:
        return server.getsockname()[1]


def end_with_parent() -> None:
    """Have this process sent SIGQUIT when the one ends that has started it: for `preexec_fn`."""
    _libc.prctl(_PR_SET_PDEATHSIG, *map(ctypes.c_ulong, (signal.SIGQUIT, 0, 0, 0)))


def _await_end(pidfd: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(PATIENCE * 1000), "a process of the server lives on"

"""PgBouncer in transaction mode before a server (P10). No wheel has it: its program is whichever stands on PATH."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, Self

from tests.support.other_user import NOBODY
from tests.support.postgres import programs
from tests.support.postgres.keeper import OWNER
from tests.support.postgres.server import PASSWORD, PATIENCE, Address, end_with_parent, free_port

CONFIGURATION = """\
[databases]
* = host={server.host} port={server.port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {folder}/users
pool_mode = transaction
max_client_conn = 200
default_pool_size = 8
"""


def find() -> str | None:
    """The program, where there is one; Debian's is in a folder that is not on everybody's PATH."""
    return shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")


class Pooler:
    """A pooler for the role that owns the database. Its folder is one that the servant can get to."""

    def __init__(self, folder: Path, server: Address) -> None:
        program = find()
        if program is None:
            raise RuntimeError("there is no pgbouncer: install the package of that name of the distribution")
        folder.mkdir()
        port = free_port("127.0.0.1")
        (folder / "users").write_text(f'"{OWNER}" "{PASSWORD}"\n')
        (folder / "ini").write_text(CONFIGURATION.format(server=server, port=port, folder=folder))
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        self.address = Address(str(folder), port)
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self._process: subprocess.Popen[Any] = subprocess.Popen(
                [program, folder / "ini"], **programs.SERVANT, cwd=folder, env=programs.ENV,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=end_with_parent,
            )  # fmt: skip

    def __enter__(self) -> Self:
        deadline = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            try:
                socket.create_connection((self.address.host, self.address.port)).close()
            except ConnectionRefusedError:
                time.sleep(0.01)
            else:
                return self
        self.__exit__()
        raise RuntimeError(f"pgbouncer did not start:\n{self._log.read_text()}")

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(PATIENCE)

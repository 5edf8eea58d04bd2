"""Servers of a test's own; and that nothing is left of them, nor of those that a run shares."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.support.paths import ROOT
from tests.support.postgres import programs
from tests.support.postgres.keeper import Room
from tests.support.postgres.server import Server
from tests.support.postgres.servers import Servers

RUN = """
import os, signal, sys
from pathlib import Path
from tests.support.postgres import keeper
from tests.support.postgres.server import Server

run = keeper.Keeper()
shared = keeper.shared(run.name)
folder = Path(keeper.room(run.name).folder)
print(folder, run._process.pid, (folder / shared.sockets / "data/postmaster.pid").read_text().split()[0], flush=True)
sys.stdin.readline()
"""
"""A run with a shared server. It says its folder, and the pids of the keeper and of the server."""

OWN = """
import sys
from pathlib import Path
from tests.support.postgres.server import Server

server = Server(Path(sys.argv[1]), Path(sys.argv[2]))
server.start()
print(server.pid, flush=True)
sys.stdin.readline()
"""


@pytest.fixture(scope="module")
def stopped(postgres_room: Room) -> Iterator[Server]:
    with Servers(postgres_room) as servers:
        yield servers.create()


@pytest.fixture
def server(stopped: Server) -> Iterator[Server]:
    stopped.start()
    yield stopped
    stopped.kill()


def segments() -> set[int]:
    """The ids of the machine's System V segments of shared memory."""
    return {int(line.split()[1]) for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]}


def segment(status: Path) -> int:
    """The one of a server."""
    return int(status.read_text().splitlines()[6].split()[1])


def await_end(pidfd: int) -> None:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    assert poll.poll(30_000)
    os.close(pidfd)


def test_all_its_processes_are_killed(server: Server) -> None:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    interlock = segment(server.data / "postmaster.pid")
    assert len(children) >= 4
    assert interlock in segments()
    server.kill()
    assert [pid for pid in children if Path("/proc", pid, "exe").exists()] == []
    assert interlock not in segments()


def test_what_was_committed_outlives_a_kill(server: Server) -> None:
    with psycopg.connect(server.address.administrator()) as session:
        session.execute("create table t as select 1 as x")
    before = server.address
    server.kill()
    server.start()
    assert server.address == before
    with psycopg.connect(server.address.administrator()) as session:
        assert session.execute("table t").fetchall() == [(1,)]


def test_a_failing_start_shows_the_log(stopped: Server) -> None:
    added = stopped.data / "postgresql.auto.conf"
    added.write_text("no_such_thing = 1")
    with pytest.raises(RuntimeError, match='unrecognized configuration parameter "no_such_thing"'):
        stopped.start()
    added.write_text("")


@pytest.mark.parametrize("end", ["finished", "killed"])
def test_nothing_is_left_of_a_run(end: str) -> None:
    script = RUN + ("run.close()" if end == "finished" else "os.kill(os.getpid(), signal.SIGKILL)")
    with subprocess.Popen(
        [sys.executable, "-c", script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout is not None
        folder, *pids = run.stdout.readline().split()
        [status] = Path(folder).glob("*/data/postmaster.pid")
        interlock = segment(status)
        processes = [os.pidfd_open(int(pid)) for pid in pids]
        assert interlock in segments()
        run.communicate("\n")
    for each in processes:
        await_end(each)
    assert not Path(folder).exists()
    assert interlock not in segments()


def test_a_server_ends_with_its_process(stopped: Server, postgres_room: Room) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OWN, stopped.folder, postgres_room.wheel],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        postmaster = os.pidfd_open(int(process.stdout.readline()))
        process.kill()
    await_end(postmaster)


def test_the_servant_gets_at_its_programs(
    postgres_room: Room, tmp_path: Path, open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (programs.PACKAGE, f"{programs.PACKAGE}.libs"):
        (tmp_path / name).symlink_to(Path(postgres_room.wheel, name))
    monkeypatch.syspath_prepend(tmp_path)  # a folder that is closed to others
    found = programs.wheel(open_folder)
    assert found == (open_folder if os.geteuid() == 0 else tmp_path)
    for version in programs.INSTALLED:
        programs.run(programs.programs(found, version) / "pg_basebackup", "--version", folder=Path("/"))

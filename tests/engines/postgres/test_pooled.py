"""Behind PgBouncer in transaction mode (P10): all goes on, woken once a second, and no lock is left in its sessions.

No wheel has its program: where that is not on the machine, what is tested is that this is said.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl import Queue
from tests.support.lab import Fifo
from tests.support.postgres import pgbouncer
from tests.support.postgres.database import Database
from tests.support.postgres.keeper import OWNER, Room
from tests.support.shell import Shell


@pytest.fixture
def pooled(queuectl: Shell, postgres: Database, postgres_room: Room) -> Iterator[str | None]:
    """The URL of a queue behind the pooler, which the command line has as well; None without the program."""
    folder = Path(postgres_room.folder, f"pooler-{postgres.schema}")
    if pgbouncer.find() is None:
        with pytest.raises(RuntimeError, match="there is no pgbouncer: install the package"):
            pgbouncer.Pooler(folder, postgres.address)
        yield None
        return
    with pgbouncer.Pooler(folder, postgres.address) as pooler:
        url = pooler.address.url(OWNER, OWNER, postgres.schema)
        queuectl.env |= {"QUEUECTL_DB": url, "XDG_STATE_HOME": str(queuectl.folder / "state")}
        yield url


def test_jobs_run_and_are_followed(pooled: str | None, queuectl: Shell, postgres: Database, fifo: Fifo) -> None:
    if pooled is None:
        return
    queuectl("enqueue", "--id", "first", "echo out; exit 3", "--max-retries", "0").ok()
    worker = queuectl.start("worker", "start")
    follower = queuectl.start("events", "--follow", "--json", "--after", "0")
    try:
        assert queuectl("wait", "first").code == 3
        assert queuectl("logs", "first").ok().out == "out\n"
        queuectl("enqueue", "--id", "late", f"echo $QUEUECTL_JOB_ID > {fifo}").ok()  # both wait for it, unheard
        assert fifo.line() == "late"
        queuectl("wait", "late").ok()
        assert follower.stdout is not None
        seen = [follower.stdout.readline() for _ in queuectl("events", "--json").ok().lines]
        assert sum(b'"job:late"' in line for line in seen) == 3
    finally:
        for process in (worker, follower):
            process.terminate()
            process.communicate()
    with Queue(pooled) as queue:
        assert queue.check() == []
        bell = queue.engine.listen("work")
        assert bell.wait(10), "it rings by itself, for nobody else can"
        bell.close()
    assert held_by_sessions(postgres) == []


def held_by_sessions(postgres: Database) -> list[tuple[object, ...]]:
    """Advisory locks of this queue that outlived their transactions."""
    return postgres.execute(
        """
        select l.pid, mode from pg_locks l join pg_stat_activity a on a.pid = l.pid
        where locktype = 'advisory' and a.state = 'idle'
            and objid = (select oid from pg_namespace where nspname = current_schema())
        """
    )

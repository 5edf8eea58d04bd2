"""`selftest`: in a file, and in a PostgreSQL database, of which it leaves nothing and touches nothing else."""

from pathlib import Path

import pytest

from tests.support.postgres import pgbouncer
from tests.support.postgres.database import Database
from tests.support.postgres.keeper import OWNER, Room
from tests.support.shell import Answer, Shell


@pytest.fixture
def scratch(queuectl: Shell) -> Path:
    """Where it may keep files."""
    scratch = queuectl.folder / "scratch"
    scratch.mkdir()
    queuectl.env |= {"TMPDIR": str(scratch), "XDG_STATE_HOME": str(queuectl.folder / "state")}
    return scratch


def passed(answer: Answer) -> None:
    assert "45 of 45 good jobs ran exactly once" in answer.ok().out
    assert answer.lines[-1].startswith("selftest passed in ")
    assert answer.err == ""


def left(postgres: Database) -> list[tuple[str, ...]]:
    return postgres.execute("select nspname from pg_namespace where nspname like 'queuectl_scratch_%'")


def test_the_selftest_passes_and_leaves_nothing(queuectl: Shell, scratch: Path) -> None:
    passed(queuectl("selftest"))
    assert list(scratch.iterdir()) == []
    assert not (queuectl.folder / "q.db").exists()


def test_it_passes_on_postgres(queuectl: Shell, scratch: Path, postgres: Database) -> None:
    queuectl("enqueue", "--id", "mine", "true", "--db", postgres.url).ok()
    head = postgres.execute("select * from log")
    passed(queuectl("selftest", "--db", postgres.url))
    assert left(postgres) == []
    assert postgres.execute("select * from log") == head, "the queue that the URL names is not touched"
    assert list(scratch.iterdir()) == []
    assert len(list((queuectl.folder / "state").glob("queuectl/postgresql/*"))) == 1, "the home of that queue"


@pytest.mark.usefixtures("scratch")
def test_it_passes_behind_pgbouncer(queuectl: Shell, postgres: Database, postgres_room: Room) -> None:
    folder = Path(postgres_room.folder, f"pooler-{postgres.schema}")
    if pgbouncer.find() is None:  # no wheel has it
        with pytest.raises(RuntimeError, match="there is no pgbouncer: install the package"):
            pgbouncer.Pooler(folder, postgres.address)
        return
    with pgbouncer.Pooler(folder, postgres.address) as pooler:
        url = pooler.address.url(OWNER, OWNER)
        passed(queuectl("selftest", "--db", url))
    assert left(postgres) == []


@pytest.mark.usefixtures("scratch")
def test_it_says_why_it_can_not(queuectl: Shell, postgres: Database) -> None:
    assert "only PostgreSQL has schemas" in queuectl("selftest", "--db", "q.db").refused(2)
    assert "permission denied for database" in queuectl("selftest", "--db", postgres.role()).refused(4)
    assert "there is no database" in queuectl("selftest", "--db", postgres.url.replace("/queuectl?", "/no?")).refused(4)
    assert left(postgres) == []
    assert not (queuectl.folder / "state").exists()

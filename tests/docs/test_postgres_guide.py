"""The commands of the guide to PostgreSQL, word for word: set-up, and a failover with three servers and a worker.

Only the names of the hosts are others here, and the folder of the data.
"""

import re
import shlex
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support.paths import ROOT
from tests.support.postgres import replication
from tests.support.postgres.keeper import Room
from tests.support.postgres.server import PASSWORD, Server
from tests.support.postgres.servers import Servers
from tests.support.worker_hosts import WorkerHost

pytestmark = pytest.mark.torture

GUIDE = (ROOT / "docs/guides/postgresql.md").read_text(encoding="utf-8")


def blocks(heading: str, kind: str) -> list[str]:
    """The blocks of code of this kind under a heading."""
    section = re.split(r"^#+ ", GUIDE.partition(f"\n{heading}\n")[2], flags=re.MULTILINE)[0]
    found = re.findall(rf"^( *)```{kind}\n(.*?)^ *```", section, re.DOTALL | re.MULTILINE)
    return [textwrap.dedent(text) for _, text in found]


SET_UP, WATCHER = blocks("## Set-up", "sql")
STANDBY, SYNCHRONOUS = blocks("### Before", "sql")
FURTHEST, PROMOTE, FOLLOW, ALONE = blocks("### When the primary is gone", "sql")
COPY_OF_A, TOLD = blocks("### Before", "sh")
[COPY_OF_B] = blocks("### When the primary is gone", "sh")


class Nodes:
    """The hosts a, b and c of the guide."""

    def __init__(self, servers: Servers) -> None:
        self._servers = servers
        self.nodes: dict[str, Server] = {}

    def __getitem__(self, name: str) -> Server:
        return self.nodes[name]

    def sql(self, name: str, text: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Type these statements on a node; the rows of the last."""
        found: list[tuple[Any, ...]] = []
        with psycopg.connect(self[name].address.administrator(database), autocommit=True) as session:
            for statement in filter(None, map(str.strip, self._here(text).split(";"))):
                cursor = session.execute(statement.encode())
                found = cursor.fetchall() if cursor.description else []
        return found

    def copy(self, name: str, command: str) -> None:
        """Make a node by this command, and start it."""
        node = self.nodes[name] = self._servers.plan()
        node.make_folder()
        program, *words = shlex.split(self._here(command))
        node.run(program, *(str(node.data) if word == "/var/lib/postgresql/data" else word for word in words))
        node.start()

    def url(self, text: str) -> str:
        """A URL of the guide, as it is here."""
        [names] = re.findall("@(.*?)/", text)
        hosts = [self[name].address for name in names.split(",")] if names != "db.example" else [self["a"].address]
        return text.replace(f"@{names}/", f":{PASSWORD}@{','.join(f'{each.host}:{each.port}' for each in hosts)}/")

    def _here(self, text: str) -> str:
        return re.sub(r"\bhost=(\w)\b", lambda found: self._place(found[1]), text)

    def _place(self, name: str) -> str:
        address = self[name].address
        return f"host={address.host} port={address.port} password={PASSWORD}"


@pytest.fixture
def nodes(postgres_room: Room) -> Iterator[Nodes]:
    """With a alone."""
    with Servers(postgres_room) as servers:
        nodes = Nodes(servers)
        nodes.nodes["a"] = servers.create(replication.DURABLE)
        nodes["a"].start()
        nodes.sql("a", SET_UP)
        yield nodes


@pytest.fixture
def host(tmp_path: Path) -> Iterator[WorkerHost]:
    """A host with workers; its URL is said later."""
    host = WorkerHost(tmp_path, "", "a")
    yield host
    host.close()


def test_the_set_up_is_all_that_is_needed(nodes: Nodes, host: WorkerHost) -> None:
    [command] = blocks("## Set-up", "sh")
    *words, url = shlex.split(command)
    assert words == ["queuectl", "selftest", "--db"]
    url = nodes.url(url)
    host("selftest", "--db", url).ok()
    host("enqueue", "true", "--db", url).ok()

    nodes.sql("a", WATCHER, "queuectl")
    watcher = url.replace("//queuectl:", "//watcher:")
    host("replay", "--db", url).ok()  # makes the tables anew
    for words in (["status"], ["list"], ["inspect", "1"], ["replay", "--check"]):
        host(*words, "--db", watcher).ok()
    host("enqueue", "true", "--db", watcher).refused(4)


def test_the_failover_loses_nothing(nodes: Nodes, host: WorkerHost, tmp_path: Path) -> None:
    nodes.sql("a", STANDBY)
    nodes.copy("b", COPY_OF_A)
    nodes.copy("c", COPY_OF_A.replace("application_name=b", "application_name=c"))
    await_quorum(nodes, "a", "b", "c")
    name, _, url = shlex.split(TOLD)[1].partition("=")
    host.env[name] = nodes.url(url)
    worker = host.worker()
    ids = [host("enqueue", f"echo {number}").ok().out.strip() for number in range(5)]
    host("wait").ok()
    running = host("enqueue", "--timeout", "none", "while test ! -e go; do sleep 0.05; done").ok().out.strip()

    nodes["a"].kill()
    reached = {name: nodes.sql(name, FURTHEST)[0][0] for name in "bc"}
    follow = FOLLOW
    if lsn(reached["c"]) > lsn(reached["b"]):
        nodes.nodes["b"], nodes.nodes["c"] = nodes["c"], nodes["b"]
        follow = FOLLOW.replace("application_name=c", "application_name=b")
    nodes.sql("b", PROMOTE)
    nodes.sql("c", follow)
    ids.append(host("enqueue", "true").ok().out.strip())

    nodes["c"].kill()
    nodes.sql("b", ALONE)
    (tmp_path / "go").touch()
    host("wait", running, "--timeout", "60").ok()
    ids.append(host("enqueue", "true").ok().out.strip())
    host("wait", "--timeout", "60").ok()

    shutil.rmtree(nodes["a"].folder)
    nodes.copy("a", COPY_OF_B)
    await_quorum(nodes, "b", "a")
    ids.append(host("enqueue", "true").ok().out.strip())
    host("wait", "--timeout", "60").ok()
    found = {job["id"]: job["state"] for job in host("list", "--all", "--json").ok().ndjson}
    assert found == dict.fromkeys([*ids, running], "completed")
    assert [event["type"] for event in host("inspect", running, "--events", "--json").ok().ndjson] == [
        "enqueued", "claimed", "completed",
    ]  # fmt: skip
    assert worker.poll() is None
    host("doctor").ok()


def await_quorum(nodes: Nodes, primary: str, *standbys: str) -> None:
    """Have the primary wait for its standbys, once they follow."""
    administrator = nodes[primary].address.administrator()
    for name in standbys:
        shown = f"select 1 from pg_stat_replication where application_name = '{name}' and state = 'streaming'"
        replication.await_row(administrator, shown)
    nodes.sql(primary, SYNCHRONOUS)
    for name in standbys:  # what was read anew shows a moment later
        shown = f"from pg_stat_replication where (application_name, sync_state) = ('{name}', 'quorum')"
        replication.await_row(administrator, f"select 1 {shown}")


def lsn(text: str) -> int:
    """A position in the WAL as a number."""
    high, low = text.split("/")
    return int(high, 16) << 32 | int(low, 16)

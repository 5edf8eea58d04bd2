"""A primary that is killed, a standby that is promoted, and hosts that are cut off, with real servers."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from psycopg.errors import ReadOnlySqlTransaction

from tests.support.network import Host, Network
from tests.support.postgres import replication
from tests.support.postgres.keeper import Room
from tests.support.postgres.server import PASSWORD, Server
from tests.support.postgres.servers import Servers
from tests.support.test_network import needs_network

pytestmark = pytest.mark.torture


@pytest.fixture
def servers(postgres_room: Room) -> Iterator[Servers]:
    with Servers(postgres_room) as servers:
        yield servers


def administrator(server: Server) -> psycopg.Connection:
    return psycopg.connect(server.address.administrator(), autocommit=True)


def written(server: Server) -> list[int]:
    with administrator(server) as session:
        return [x for (x,) in session.execute("select x from t order by x")]


def test_a_standby_takes_over_and_is_followed(servers: Servers) -> None:
    first, second = servers.create({**replication.DURABLE, **replication.REWINDABLE}), servers.plan()
    first.start()
    replication.follow(second, first, "second")
    replication.wait_for(first, "second")
    with administrator(first) as session:
        session.execute("create table t (x int); insert into t values (1)")
    with administrator(second) as session, pytest.raises(ReadOnlySqlTransaction):
        session.execute("insert into t values (2)")
    first.kill()
    replication.promote(second)
    assert written(second) == [1]
    replication.wait_for(second)
    with administrator(second) as session:
        session.execute("insert into t values (3)")
    replication.rewind(first, second, "first")
    replication.wait_for(second, "first")
    with administrator(second) as session:
        session.execute("insert into t values (4)")
    second.kill()
    replication.promote(first)
    assert written(first) == [1, 3, 4]


def test_a_commit_waits_for_the_standby(servers: Servers) -> None:
    first, second = servers.create(), servers.plan()
    first.start()
    replication.follow(second, first, "second")
    replication.wait_for(first, "second")
    notices: list[str | None] = []
    with administrator(first) as session, ThreadPoolExecutor(1) as aside:
        session.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        session.execute("create table t (x int)")
        second.kill()
        insert = aside.submit(session.execute, "insert into t values (1)")
        replication.await_row(
            first.address.administrator(), "select 1 from pg_stat_activity where wait_event = 'SyncRep'"
        )
        assert (insert.done(), notices) == (False, [])
        with administrator(first) as other:
            other.execute("select pg_cancel_backend(%s)", [session.info.backend_pid])
        insert.result(30)
        assert notices == ["canceling wait for synchronous replication due to user request"]


def logs_in(host: Host, server: Server) -> bool:
    """Whether the server lets in who comes from this host."""
    address = server.address
    with host.inside():
        try:
            psycopg.connect(
                host=address.host, port=address.port, user="postgres", password=PASSWORD, connect_timeout=2
            ).close()
        except psycopg.OperationalError:
            return False
    return True


@needs_network
def test_a_cut_host_reaches_no_server(servers: Servers) -> None:
    with Network() as network, servers:
        here, far, near, _ = network.hosts
        server = servers.create(host=here.address)
        with here.inside():
            server.start()
        assert logs_in(far, server)
        network.cut(far)
        assert not logs_in(far, server)
        assert logs_in(near, server)
        network.restore(far)
        assert logs_in(far, server)

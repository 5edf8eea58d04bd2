"""A primary and its standbys: following, synchronous commit, promotion, and the way back of an old primary."""

import time

import psycopg

from tests.support.postgres.server import ADMINISTRATOR, PASSWORD, PATIENCE, Server

DURABLE = {"fsync": "on", "full_page_writes": "on"}
"""For `Server.create`: as a server is outside of tests."""

REWINDABLE = {"wal_log_hints": "on", "wal_keep_size": "512MB"}
"""For `Server.create`: a primary that may be rewound later."""


def follow(standby: Server, primary: Server, name: str, port: int | None = None) -> None:
    """Fill a server without data from a running primary, and start it as a standby of this name.

    `port`: of a link that leads to the primary, by which the standby hears of it.
    """
    standby.make_folder()
    standby.run(
        "pg_basebackup", f"--dbname={_conninfo(primary, name)}", f"--pgdata={standby.data}", "--no-sync",
        "--checkpoint=fast", "--wal-method=stream", "--write-recovery-conf",
    )  # fmt: skip
    _hear_by(standby, primary, name, port)
    standby.start()
    await_row(
        primary.address.administrator(),
        f"select 1 from pg_stat_replication where application_name = '{name}' and state = 'streaming'",
    )


def rewind(old: Server, primary: Server, name: str, port: int | None = None) -> None:
    """Have a stopped or killed primary follow the one that was promoted, without what only it had written.

    `port`: as for `follow`.
    """
    source = _conninfo(primary, name)
    old.run(
        "pg_rewind", f"--target-pgdata={old.data}", f"--source-server={source}", "--no-sync", "--write-recovery-conf"
    )
    _hear_by(old, primary, name, port)
    old.start()
    await_row(
        primary.address.administrator(),
        f"select 1 from pg_stat_replication where application_name = '{name}' and state = 'streaming'",
    )


def wait_for(server: Server, *standbys: str) -> None:
    """From now on commits wait for one of these standbys; for none, where no name is given."""
    quoted = ", ".join(f'"{name}"' for name in standbys)
    names = f"ANY 1 ({quoted})" if standbys else ""
    with psycopg.connect(server.address.administrator(), autocommit=True) as session:
        session.execute(f"alter system set synchronous_standby_names = '{names}'".encode())
        session.execute("select pg_reload_conf()")
    if standbys:
        await_row(server.address.administrator(), "select 1 from pg_stat_replication where sync_state = 'quorum'")
    else:
        await_row(server.address.administrator(), "select 1 where current_setting('synchronous_standby_names') = ''")


def promote(standby: Server) -> None:
    """Make a standby a primary; returns when it takes writes."""
    with psycopg.connect(standby.address.administrator(), autocommit=True) as session:
        promoted = session.execute("select pg_promote(true, 30)").fetchone()
    assert promoted == (True,)


def _hear_by(standby: Server, primary: Server, name: str, port: int | None) -> None:
    if port is not None:
        with (standby.data / "postgresql.auto.conf").open("a") as file:
            file.write(f"primary_conninfo = '{_conninfo(primary, name, port)}'\n")  # the last of a name counts


def _conninfo(server: Server, name: str, port: int | None = None) -> str:
    address = server.address
    return (
        f"host={address.host} port={port or address.port} user={ADMINISTRATOR} password={PASSWORD} dbname=postgres"
        f" application_name={name}"
    )


def await_row(administrator: str, query: str) -> None:
    """Wait until a query has a row, in sessions of their own: a setting that was read anew shows in the next."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with psycopg.connect(administrator, autocommit=True) as session:
            if session.execute(query.encode()).fetchone():
                return
        time.sleep(0.01)
    raise TimeoutError(f"never true: {query}")

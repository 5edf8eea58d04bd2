"""A postgresql:// URL with which nothing can be done: one line that says why and what to do, and nothing half done."""

import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from queuectl.engines.postgres.connecting import connection_error
from tests.support.paths import ROOT
from tests.support.postgres import keeper
from tests.support.postgres.database import Database
from tests.support.postgres.keeper import OWNER
from tests.support.postgres.server import ADMINISTRATOR, PASSWORD, Server
from tests.support.shell import Shell

READING = [["status"], ["list"], ["inspect", "1"], ["events"], ["replay", "--check"], ["status", "--at", "seq:2"]]


def refused(queuectl: Shell, url: str, code: int) -> str:
    """What `enqueue` says with this URL, and that it has left nothing on this host, and told no password."""
    line = queuectl("enqueue", "true", "--db", url).refused(code)
    assert PASSWORD not in line
    assert not (queuectl.folder / ".local").exists()
    assert not list(queuectl.folder.glob("*.db*"))
    return line


def tables(postgres: Database) -> list[tuple[str, ...]]:
    return postgres.execute("select nspname from pg_namespace where nspname = %s", postgres.schema)


def test_no_server_at_the_port(queuectl: Shell) -> None:
    with socket.socket() as nobody:  # bound, and it does not listen
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        line = refused(queuectl, f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/db", 4)
    assert line.startswith(f"postgresql://me@127.0.0.1:{port}/db: no server answers at 127.0.0.1, port {port}: check")


def test_a_server_that_does_not_answer(queuectl: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        line = refused(queuectl, f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/db?connect_timeout=2", 4)
    assert "the server can't be reached: check" in line


def test_a_server_that_speaks_another_language(queuectl: Shell) -> None:
    said = "Rolle »me« existiert nicht"
    fields = [b"SFATAL", b"VFATAL", b"C28000", f"M{said}".encode()]
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor() as pool:
        pool.submit(answer, server, b"\0".join([*fields, b"\0"]))
        port = server.getsockname()[1]
        line = refused(
            queuectl, f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/db?sslmode=disable&gssencmode=disable", 4
        )
    assert "no connection: " in line
    assert line.rstrip().endswith(said)


def answer(server: socket.socket, error: bytes) -> None:
    """Take one connection, read what the client begins with, and answer with an error."""
    client, _ = server.accept()
    with client:
        [length] = struct.unpack("!i", client.recv(4, socket.MSG_WAITALL))
        client.recv(length - 4, socket.MSG_WAITALL)
        client.sendall(b"E" + struct.pack("!i", 4 + len(error)) + error)


def test_a_missing_password_in_any_language(postgres: Database) -> None:
    with pytest.raises(psycopg.OperationalError) as raised:
        psycopg.connect(postgres.url.replace(f":{PASSWORD}", "").partition("?")[0], passfile="/dev/null")
    assert "asks for a password" in str(connection_error(raised.value, "kein Passwort angegeben", postgres.url))


def test_a_server_that_closes_connections(queuectl: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing, ThreadPoolExecutor(1) as aside:
        port = closing.getsockname()[1]
        aside.submit(lambda: [closing.accept()[0].close() for _ in range(2)])
        line = refused(queuectl, f"postgresql://me:{PASSWORD}@127.0.0.1:{port}/db?sslmode=disable", 4)
        closing.shutdown(socket.SHUT_RDWR)
    assert line.endswith(
        "the server closes connections: it is stopping or has crashed, or is no PostgreSQL: try again in a moment"
    )


def test_a_host_that_is_not_known(queuectl: Shell) -> None:
    line = refused(queuectl, f"postgresql://me:{PASSWORD}@nowhere.invalid/db", 4)
    assert "the host nowhere.invalid is not known: check" in line


def test_a_socket_that_is_not_there(queuectl: Shell) -> None:
    line = refused(queuectl, f"postgresql:///db?host={queuectl.folder}", 4)
    assert f"no server has the socket {queuectl.folder}/.s.PGSQL.5432: check" in line


def test_all_hosts_are_away(queuectl: Shell) -> None:
    line = refused(queuectl, f"postgresql://me:{PASSWORD}@127.0.0.1:1,127.0.0.1:2/db", 4)
    assert "no server answers at 127.0.0.1" in line


@pytest.mark.parametrize(
    "role,password,database,says",
    [
        (OWNER, "wrong" + PASSWORD, OWNER, "knows no role queuectl with this password"),
        ("nobody", PASSWORD, OWNER, "knows no role nobody with this password"),
        (OWNER, "", OWNER, "asks for a password: put it into ~/.pgpass"),
        (OWNER, PASSWORD, "nothing", "there is no database nothing"),
    ],
)
def test_whom_the_server_lets_in(
    queuectl: Shell, postgres: Database, role: str, password: str, database: str, says: str
) -> None:
    address = postgres.address
    url = f"postgresql://{role}{':' if password else ''}{password}@{address.host}:{address.port}/{database}"
    assert says in refused(queuectl, url, 4)


@pytest.mark.parametrize(
    "parameter,code,says",
    [
        ("sslmode=require", 4, "the server has no TLS, which sslmode asks for"),
        ("sslmode=x", 2, "gives sslmode a value that it can't have"),
        ("target_session_attrs=standby", 4, "no host of the URL is what target_session_attrs asks for"),
        ("target_session_attrs=x", 2, "gives target_session_attrs a value"),
        ("options=-c%20nothing%3D1", 2, "name nothing, which the server does not know"),
        ("nothing=1", 2, "libpq knows no parameter nothing"),
        ("service=nothing", 2, "there is no such service"),
        ("port=1,2,3", 2, "not as many ports as hosts"),
    ],
)
def test_parameters_of_the_url(queuectl: Shell, postgres: Database, parameter: str, code: int, says: str) -> None:
    assert says in refused(queuectl, f"{postgres.url}&{parameter}", code)
    assert tables(postgres) == []


def test_a_role_that_may_make_no_schema(queuectl: Shell, postgres: Database) -> None:
    line = refused(queuectl, postgres.role(), 4)
    assert "permission denied for database queuectl: `grant create on database queuectl to`" in line
    assert tables(postgres) == []


def test_a_schema_without_the_right_to_use_it(queuectl: Shell, postgres: Database) -> None:
    postgres.execute(sql.SQL("create schema {}").format(sql.Identifier(postgres.schema)))
    assert f"`grant usage on schema {postgres.schema} to`" in refused(queuectl, postgres.role(), 4)


def test_another_programs_schema(queuectl: Shell, postgres: Database) -> None:
    with psycopg.connect(postgres.url.partition("?")[0], autocommit=True) as owner:
        owner.execute(f"create schema {postgres.schema}; create table {postgres.schema}.theirs (x int)".encode())
    assert "has another program's tables: name another one" in refused(queuectl, postgres.url, 4)
    assert postgres.execute("select relname from pg_class where relnamespace = %s::regnamespace", postgres.schema) == [
        ("theirs",)
    ]


def test_a_schema_of_a_newer_version(queuectl: Shell, postgres: Database) -> None:
    queuectl("enqueue", "true", "--db", postgres.url).ok()
    postgres.execute("update about set schema_version = 99")
    assert "has schema version 99, this queuectl knows 1: upgrade it" in queuectl(
        "status", "--db", postgres.url
    ).refused(4)


def test_a_server_that_is_too_old(
    postgres: Database, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from queuectl.cli import main
    from queuectl.engines.postgres import connection

    monkeypatch.setattr(connection, "OLDEST", 99)
    assert main(["enqueue", "true", "--db", postgres.url]) == 4
    told = f"the server is PostgreSQL {postgres.version}, which is too old: 99 is the oldest supported"
    assert told in capsys.readouterr().err
    assert tables(postgres) == []


def test_a_role_that_may_only_read(queuectl: Shell, postgres: Database) -> None:
    queuectl("enqueue", "true", "--db", postgres.url).ok()
    reader = postgres.role()
    postgres.execute(
        sql.SQL("grant usage on schema {0} to {1}; grant select on all tables in schema {0} to {1}").format(
            sql.Identifier(postgres.schema), sql.Identifier(f"{postgres.schema}_0")
        )
    )
    for words in READING:
        queuectl(*words, "--db", reader).ok()
    assert "`grant select on all tables in schema" in queuectl("enqueue", "true", "--db", reader).refused(4)
    assert queuectl("status", "--json", "--db", postgres.url).json["total"] == 1


def test_a_missing_queue_is_only_made_by_enqueue(queuectl: Shell, postgres: Database) -> None:
    line = queuectl("status", "--db", postgres.url).refused(4)
    assert line.endswith("named by --db; `queuectl enqueue` would make a new one")
    assert tables(postgres) == []
    assert not (queuectl.folder / ".local").exists()
    made = queuectl("enqueue", "true", "--db", postgres.url).ok()
    assert made.err == f"queuectl: made a new queue at {postgres.url.replace(':' + PASSWORD, '')}\n"
    assert queuectl("enqueue", "true", "--db", postgres.url).ok().err == ""


def test_psycopg_is_not_installed(queuectl: Shell) -> None:
    script = "import sys; sys.modules['psycopg'] = None; from queuectl.cli import main; sys.exit(main())"
    done = subprocess.run(
        [sys.executable, "-c", script, "status", "--db", "postgresql://here/db"],
        cwd=queuectl.folder, env={**queuectl.env, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True,
        check=False, timeout=50,
    )  # fmt: skip
    assert done.returncode == 4
    assert done.stderr.endswith("pip install 'queuectl-eventlog[postgres]'\n")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "words", [["enqueue", '{"command": "a\\u0000b"}'], ["enqueue", '{"command": "a", "id": "\\u0000"}']]
)
def test_a_nul_in_a_text(queuectl: Shell, postgres: Database, words: list[str]) -> None:
    queuectl("enqueue", "true", "--db", postgres.url).ok()
    assert queuectl(*words, "--db", postgres.url).refused(2)
    assert queuectl("status", "--json", "--db", postgres.url).json["total"] == 1


@pytest.fixture
def replica(postgres_keeper: str) -> Iterator[tuple[Server, Server]]:
    """A primary and its standby, which streams."""
    room = keeper.room(postgres_keeper)
    primary = Server(Path(room.folder, f"primary-{os.getpid()}"), Path(room.wheel))
    standby = Server(Path(room.folder, f"standby-{os.getpid()}"), Path(room.wheel))
    primary.create()
    primary.start()
    standby.make_folder()
    standby.run(
        "pg_basebackup", "--host", primary.address.sockets, "--port", str(primary.address.port), "--username",
        ADMINISTRATOR, "--pgdata", str(standby.data), "--write-recovery-conf", "--checkpoint=fast", "--no-sync",
    )  # fmt: skip
    standby.start()
    yield primary, standby
    standby.stop()
    primary.stop()


def test_a_replica_is_read_and_not_written(queuectl: Shell, replica: tuple[Server, Server]) -> None:
    primary, standby = (each.address.url(ADMINISTRATOR, "postgres") for each in replica)
    queuectl("enqueue", "true", "--db", primary).ok()
    with (
        psycopg.connect(primary, autocommit=True) as source,
        psycopg.connect(standby, autocommit=True) as copy,
    ):
        [position] = source.execute("select pg_current_wal_lsn()").fetchone() or [None]
        while copy.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", [position]).fetchone() != (True,):
            pass
        copy.execute("select pg_wal_replay_pause()")
        while copy.execute("select pg_get_wal_replay_pause_state()").fetchone() != ("paused",):
            pass
        queuectl("enqueue", "true", "--db", primary).ok()
        for words in READING:
            queuectl(*words, "--db", standby).ok()
        assert queuectl("status", "--json", "--db", standby).json["total"] == 1, "it is late"
        copy.execute("select pg_wal_replay_resume()")
    assert "is a replica" in queuectl("enqueue", "true", "--db", standby).refused(4)
    both = f"{standby.removesuffix('/postgres')},{primary.partition('@')[2]}"
    queuectl("enqueue", "true", "--db", f"{both}?target_session_attrs=read-write").ok()
    assert queuectl("status", "--json", "--db", primary).json["total"] == 3


def test_the_password_is_in_no_answer(queuectl: Shell, postgres: Database) -> None:
    queuectl.env["QUEUECTL_DB"] = postgres.url
    queuectl.env["QUEUECTL_KEEP_ENV"] = "all"
    said = [queuectl("enqueue", "true").ok()]
    for words in (
        *READING, ["doctor"], ["config", "list"], ["export"], ["explain", "1"], ["worker", "list"], ["audit", "verify"],
    ):  # fmt: skip
        said += [queuectl(*words), queuectl(*words, "--json")]
    assert [each.err for each in said if PASSWORD in each.out + each.err] == []
    assert postgres.execute("select count(*) from events where data::text like %s", f"%{PASSWORD}%") == [(0,)]
    kept = [path for path in (queuectl.folder / ".local").rglob("*") if path.is_file()]
    [holder] = [path for path in kept if PASSWORD.encode() in path.read_bytes()]
    assert (holder.name, holder.stat().st_mode & 0o777) == ("pgpass", 0o600)  # what libpq reads for workers

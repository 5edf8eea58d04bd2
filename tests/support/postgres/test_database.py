"""What the fixtures of PostgreSQL give a test."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from tests.support.other_user import NOBODY
from tests.support.postgres import programs
from tests.support.postgres.database import Database
from tests.support.postgres.keeper import Room
from tests.support.postgres.server import PASSWORD

SCHEMAS = "select nspname from pg_namespace where nspname like %s"


def sessions(url: str) -> psycopg.Connection:
    """A session of whom the URL is for; the parameter that is the queue's own is left out."""
    return psycopg.connect(url.partition("?")[0], autocommit=True)


def test_the_schema_is_not_there_yet(postgres: Database) -> None:
    assert postgres.execute(SCHEMAS, postgres.schema) == []


def test_schema_and_roles_are_dropped_at_the_end(postgres: Database) -> None:
    with Database(postgres.address, "test_passing") as passing:
        passing.role()
        with sessions(passing.url) as owner:
            owner.execute("create schema test_passing; create table test_passing.t (x int)")
        assert passing.execute("select count(*) from t") == [(0,)]
    assert postgres.execute(SCHEMAS, "test_passing") == []
    assert postgres.execute("select rolname from pg_roles where rolname like 'test_passing%%'") == []


def test_two_tests_have_two_schemas_of_one_server(postgres_with: Callable[..., Database]) -> None:
    one, other = postgres_with(), postgres_with()
    assert one.schema != other.schema
    assert one.address == other.address


def test_the_server_is_not_run_by_root(postgres: Database) -> None:
    [(data,)] = postgres.execute("show data_directory")
    owner = Path(data).stat().st_uid
    assert owner != 0
    assert owner == NOBODY or Path(data).owner() == Path.home().owner()


def test_the_password_is_asked_for(postgres: Database) -> None:
    with sessions(postgres.url) as owner:
        assert owner.info.user == "queuectl"
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        sessions(postgres.url.replace(PASSWORD, "wrong"))


def test_a_new_role_has_no_rights(postgres: Database) -> None:
    with sessions(postgres.role()) as stranger, pytest.raises(InsufficientPrivilege):
        stranger.execute("create schema theirs")


def test_versions_and_settings_are_as_asked(postgres_with: Callable[..., Database], postgres_room: Room) -> None:
    databases = postgres_with(), postgres_with(18, synchronous_commit="off")
    shown = "select current_setting('server_version_num')::int / 10000, current_setting('synchronous_commit')"
    default = programs.major(programs.programs(Path(postgres_room.wheel), programs.DEFAULT))
    assert [database.execute(shown) for database in databases] == [[(default, "on")], [(18, "off")]]

"""The queue's schema in a PostgreSQL database: made where there is none, refused where it is not ours."""

import os

import msgspec
from msgspec.structs import replace
from psycopg import errors

from queuectl.engines.postgres.location import PostgresLocation
from queuectl.engines.postgres.session import Session
from queuectl.errors import Absent, Unusable
from queuectl.versions import POSTGRES

APPLICATION = "queuectl"
SCHEMA_VERSION = POSTGRES
"""Of schema.sql, kept in the table `about`."""

MAKING = 0x71634D4B
"""The class of the advisory lock under which a schema is made."""

SCHEMA = os.path.join(os.path.dirname(__file__), "schema.sql")


ENCODINGS = ("UTF8", "SQL_ASCII")
"""Of databases that keep any text."""


class About(msgspec.Struct, frozen=True):
    """Which queue a schema has."""

    key: int
    """The oid of the schema as the key of an advisory lock, which is signed."""
    mark: str
    """What tells this queue from all others, 32 hexadecimal digits."""


class Opened(msgspec.Struct, frozen=True):
    """A queue as it was found when it was opened."""

    about: About
    head: int
    """The seq of the last event."""
    folding: str
    """See `log.folding` in schema.sql."""
    tables: frozenset[str]
    """All that are there."""
    made: bool = False
    """Whether it was made just now."""


def open_schema(session: Session, location: PostgresLocation, *, create: bool) -> Opened:
    """The queue in the schema: one round trip, where there is one. It is made where there is none (`create`).

    Raises Absent where there is none, Unusable where the schema is another program's or newer than this program, or
    where the database can't keep every text.
    """
    try:
        return _ask(session, location)
    except (errors.UndefinedTable, errors.InvalidSchemaName, errors.UndefinedColumn, Absent):
        made = _make(session, location) if create else False
        existing(session, location)  # it tells what is wrong
    return replace(_ask(session, location), made=made)


def existing(session: Session, location: PostgresLocation) -> About:
    """The queue in the schema, asked for without a statement that could fail. Raises as `open_schema` does."""
    found = _look(session, location)
    if found is None:
        raise Absent(f"{location.url}: there is no queue in the schema {location.schema}")
    return found


def _ask(session: Session, location: PostgresLocation) -> Opened:
    """All that is needed of a queue to go on with it. Raises psycopg's errors, and Absent, where it is none."""
    [rows] = session.script(
        f"""
        select namespace.oid, about.mark, log.seq, log.folding,
            (select string_agg(relname, ' ') from pg_class where relnamespace = namespace.oid and relkind = 'r')
        from pg_namespace as namespace, {location.name}.about as about, {location.name}.log as log
        where nspname = '{location.schema}' and application = '{APPLICATION}' and schema_version = {SCHEMA_VERSION}
        """
    )
    if len(rows) != 1:
        raise Absent(location.url)
    [(oid, mark, head, folding, tables)] = rows
    return Opened(About(_key(oid), mark), int(head), folding, frozenset(tables.split()))


def _look(session: Session, location: PostgresLocation) -> About | None:
    """The queue that the schema has; None where it has nothing, or is not there."""
    [[row]] = session.script(
        f"""
        select oid, to_regclass('{location.name}.about') is not null,
            exists (select 1 from pg_class where relnamespace = pg_namespace.oid and relkind in ('r', 'v', 'm', 'p'))
        from pg_namespace where nspname = '{location.schema}'
        union all select null, false, false limit 1
        """
    )
    oid, is_told, has_tables = row
    if oid is None or has_tables == "f":
        return None
    other = Unusable(
        f"{location.url}: the schema {location.schema} has another program's tables: name another one with ?schema=NAME"
    )
    if is_told == "f":
        raise other
    [rows] = session.script(f"select application, schema_version, mark from {location.name}.about")
    if len(rows) != 1 or rows[0][0] != APPLICATION:
        raise other
    _, version, mark = rows[0]
    if int(version) > SCHEMA_VERSION:
        raise Unusable(
            f"{location.url}: has schema version {version}, this queuectl knows {SCHEMA_VERSION}: upgrade it"
        )
    return About(_key(oid), mark)


def _key(oid: str) -> int:
    """The key of an advisory lock, which is signed."""
    return int(oid) - (1 << 32) if int(oid) >= 1 << 31 else int(oid)


def _make(session: Session, location: PostgresLocation) -> bool:
    """Make the queue; returns whether nobody else has done so meanwhile."""
    name = location.name
    with open(SCHEMA, encoding="utf-8") as file:
        schema = file.read()
    try:
        # Whoever comes second waits here, and finds it made.
        session.script(
            "begin isolation level read committed;"
            f"select pg_advisory_xact_lock({MAKING}, hashtext('{location.schema}'))"
        )
        if _look(session, location) is not None:
            session.roll_back()
            return False
        [[[is_there, encoding]]] = session.script(
            f"""
            select exists (select 1 from pg_namespace where nspname = '{location.schema}'),
                current_setting('server_encoding')
            """
        )
        if encoding not in ENCODINGS:
            raise Unusable(
                f"{location.url}: the database keeps text in {encoding}, which has not every character: make one with"
                " `create database … encoding 'UTF8' template template0`"
            )
        if is_there == "f":
            session.script(f"create schema {name}")
        session.script(
            f"""
            set local search_path = {location.search_path}; {schema};
            insert into about values ('{APPLICATION}', {SCHEMA_VERSION}, '{os.urandom(16).hex()}');
            insert into log values (0, 0, '');
            commit
            """
        )
    except BaseException:
        session.roll_back()
        raise
    return True

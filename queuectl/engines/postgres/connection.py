"""Connecting to a PostgreSQL server, with the session settings of P2, or behind a pooler without any (P10)."""

import logging
from typing import Any

import msgspec
import psycopg
from psycopg import errors
from psycopg.conninfo import conninfo_to_dict

from queuectl.engines.postgres.location import PostgresLocation
from queuectl.engines.postgres.patient_connection import PatientConnection
from queuectl.engines.postgres.session import Session
from queuectl.engines.postgres.values import configure
from queuectl.errors import Unusable

# What psycopg says of errors that it passes over, in the wake of one that it raises, is not for stderr.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

OLDEST = 14
"""The oldest major version of PostgreSQL that is supported."""

CONNECTION = {
    "application_name": "queuectl",
    "connect_timeout": "10",
    "keepalives_idle": "1",
    "keepalives_interval": "1",
    "keepalives_count": "2",
    "tcp_user_timeout": "3000",
}
"""Given to libpq, unless the URL says otherwise: so a server whose host is gone is missed after some 4 s."""

SESSION = {
    "client_min_messages": "warning",
    "default_transaction_read_only": "off",
    "extra_float_digits": "1",
    "idle_in_transaction_session_timeout": "2s",
    "tcp_keepalives_idle": "1",
    "tcp_keepalives_interval": "1",
    "tcp_keepalives_count": "2",
    "tcp_user_timeout": "3000",
    "client_connection_check_interval": "500ms",
    "plan_cache_mode": "force_generic_plan",
    "jit": "off",
    "max_parallel_workers_per_gather": "0",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "statement_timeout": "0",
}
"""What makes a holder of the write lock that hangs be gone soon (P2), generic plans use the indexes, and numbers come
back as they were stored, whatever the defaults of the role are."""

LATER = {"transaction_timeout": "0"}
"""Settings that not every version has which is supported."""

SINCE = {"transaction_timeout": 17}
"""The major version that brought each of them."""


class ServerFacts(msgspec.Struct, frozen=True):
    """What a server tells of itself and of the queue's schema."""

    version: int
    """As `server_version_num`: 160004 is 16.4."""
    pooled: bool
    system: str
    """What tells this cluster, with its standbys, from others; empty where the role may not ask."""
    database: str


def connect(location: PostgresLocation) -> tuple[Session, ServerFacts]:
    """A new session. Raises psycopg's errors, and Unusable for a server that is too old."""
    connection, has_options = _connect(location)
    try:
        configure(connection)
        session = Session(connection)
        facts = _facts(session, has_options)
        if facts.version < OLDEST * 10_000:
            raise Unusable(
                f"{location.url}: the server is PostgreSQL {facts.version // 10_000}, which is too old:"
                f" {OLDEST} is the oldest supported"
            )
        session.pooled = facts.pooled
    except BaseException:
        connection.close()
        raise
    return session, facts


def local_settings(location: PostgresLocation, version: int) -> str:
    """The statements that make the settings for one transaction: behind a pooler the next may be in another session."""
    made = {**SESSION, **{name: LATER[name] for name, since in SINCE.items() if version >= since * 10_000}}
    others = "".join(f"set local {name} = '{value}'; " for name, value in made.items())
    return f"set local search_path = {location.search_path}; {others}"


def _connect(location: PostgresLocation) -> tuple[PatientConnection, bool]:
    """A connection, and whether the server was given options at its start, which poolers may refuse.

    They make the settings, so that no statement is needed for that.
    """
    given: dict[str, Any] = conninfo_to_dict(location.dsn)
    made: dict[str, Any] = {**CONNECTION, **given, "client_encoding": "utf8"}
    settings = {"search_path": location.search_path, **SESSION, "queuectl.session": "on"}
    try:
        made["options"] = " ".join([given.get("options") or "", *(f"-c {name}={settings[name]}" for name in settings)])
        return PatientConnection.connect(**made, autocommit=True), True
    except psycopg.OperationalError as error:
        if "unsupported startup parameter" not in str(error):
            raise
    del made["options"]
    return PatientConnection.connect(**made, autocommit=True), False


_FACTS = """
select current_setting('server_version_num'), coalesce(current_setting('queuectl.session', true), ''),
    current_database();
"""

_SYSTEM = "select system_identifier from pg_control_system();"

_LATER = "".join(
    f"select set_config('{name}', '{value}', false)"
    f" where current_setting('{name}', true) is not null and current_setting('queuectl.session', true) = 'on';"
    for name, value in LATER.items()
)


def _facts(session: Session, has_options: bool) -> ServerFacts:
    """What the server says, in one round trip."""
    try:
        [[version, option, database]], [[system]], *_ = session.script(_FACTS + _SYSTEM + _LATER)
    except (errors.InsufficientPrivilege, errors.UndefinedFunction):
        [[version, option, database]], *_ = session.script(_FACTS + _LATER)
        system = ""
    return ServerFacts(version=int(version), pooled=not has_options or option != "on", system=system, database=database)

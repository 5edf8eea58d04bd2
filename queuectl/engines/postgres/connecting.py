"""Why no session came about: what libpq and the server say, in one line that says what to do.

libpq gives no code for what happens before a session is there, only sentences, but for a missing password. Those of
the server are in the language of its `lc_messages`, which only its administrator may change: what is in another than
English is passed on as it is.
"""

import re
from typing import NamedTuple

import psycopg

from queuectl.errors import Invalid, Unusable


class Unreachable(Unusable):
    """The server can't be reached, or the connection was lost: it may be there again later."""


class ConnectionFailure(NamedTuple):
    """One way in which connecting fails."""

    pattern: str
    """Of what libpq, psycopg or the server says."""
    what: str
    """In our words, with groups of the pattern as {name}."""
    error: type[Exception] = Unusable


NO_PASSWORD = "no password supplied"

REASONS = (
    ConnectionFailure(
        r'password authentication failed for user "(?P<role>.*?)"',
        "the server knows no role {role} with this password: check both; a password is best kept in ~/.pgpass, or in"
        " the file that PGPASSFILE names",
    ),
    ConnectionFailure(
        NO_PASSWORD,
        "the server asks for a password: put it into ~/.pgpass, or into the file that PGPASSFILE names",
    ),
    ConnectionFailure(
        r'role "(?P<role>.*?)" does not exist', "there is no role {role}: check the URL, or `create role`"
    ),
    ConnectionFailure(
        r'database "(?P<name>.*?)" does not exist',
        "there is no database {name}: check the URL, or make it with `createdb`",
    ),
    ConnectionFailure(
        r'permission denied for database "(?P<name>.*?)"',
        "the role may not connect to the database {name}: `grant connect on database`",
    ),
    ConnectionFailure(
        r"no pg_hba.conf entry for (?P<who>[^;]*)",
        "the server's pg_hba.conf lets nobody in as this: {who}; add an entry for it",
    ),
    ConnectionFailure(
        r'database "(?P<name>.*?)" is not currently accepting connections',
        "the database {name} takes no connections: `alter database … allow_connections true`",
    ),
    ConnectionFailure(
        r'role "(?P<role>.*?)" is not permitted to log in', "the role {role} may not log in: `alter role … login`"
    ),
    ConnectionFailure(
        r"too many (?:clients|connections)|connection slots are reserved",
        "the server has no connection left: try again, raise its max_connections, or put PgBouncer before it",
        Unreachable,
    ),
    ConnectionFailure(
        r"the database system is|not yet accepting connections",
        "the server is starting, stopping or recovering: try again in a moment",
        Unreachable,
    ),
    ConnectionFailure(
        r"server closed the connection unexpectedly",
        "the server closes connections: it is stopping or has crashed, or is no PostgreSQL: try again in a moment",
        Unreachable,
    ),
    ConnectionFailure(
        r"server is (?:not )?in hot standby mode|session is (?:not )?read-only",
        "no host of the URL is what target_session_attrs asks for: name the others too, or wait for a promotion",
        Unreachable,
    ),
    ConnectionFailure(
        r"server does not support SSL",
        "the server has no TLS, which sslmode asks for: turn it on there (ssl = on), or leave sslmode out",
    ),
    ConnectionFailure(
        r"(?P<why>certificate verify failed|server certificate for .*? does not match|root certificate file)",
        "the server's certificate does not prove what sslmode asks for ({why}): check sslrootcert and the host's name",
    ),
    ConnectionFailure(
        r"invalid response to SSL negotiation|expected authentication request|unsupported frontend protocol",
        "what answers there is no PostgreSQL server: check host and port",
    ),
    ConnectionFailure(
        r'unrecognized configuration parameter "(?P<name>.*?)"',
        "the options in the URL name {name}, which the server does not know: leave it out",
        Invalid,
    ),
    ConnectionFailure(
        r'invalid value for parameter "(?P<name>.*?)"',
        "the options in the URL give {name} a value that it can't have",
        Invalid,
    ),
    ConnectionFailure(
        r'definition of service "(?P<name>.*?)" not found|service file "(?P<file>.*?)" not found',
        "there is no such service: check ~/.pg_service.conf, or the file that PGSERVICEFILE names",
        Invalid,
    ),
    ConnectionFailure(
        r'invalid URI query parameter: "(?P<name>.*?)"',
        "libpq knows no parameter {name}: leave it out",
        Invalid,
    ),
    ConnectionFailure(
        r"invalid (?:integer value .*? for connection option \"(?P<option>\w+)\"|(?P<name>\w+) value)",
        "the URL gives {option}{name} a value that it can't have",
        Invalid,
    ),
    ConnectionFailure(
        r"could not match \d+ ", "the URL names not as many ports as hosts: give host:port,host:port", Invalid
    ),
    ConnectionFailure(
        r"failed to resolve host '(?P<host>.*?)'|could not translate host name \"(?P<name>.*?)\"",
        "the host {host}{name} is not known: check its name, and the network",
        Unreachable,
    ),
    ConnectionFailure(
        r'socket "(?P<path>.*?)" failed: (?:No such file|Connection refused)',
        "no server has the socket {path}: check that it runs, or name its folder with ?host=/…",
        Unreachable,
    ),
    ConnectionFailure(
        r'server at "(?P<host>.*?)"(?: \(.*?\))?, port (?P<port>\d+) failed: Connection refused',
        "no server answers at {host}, port {port}: check that it runs and listens there (listen_addresses)",
        Unreachable,
    ),
    ConnectionFailure(
        r"timeout expired|timed out|No route to host|Network is unreachable",
        "the server can't be reached: check host and port, the network, and firewalls",
        Unreachable,
    ),
)
"""The first that matches counts: of several hosts, what one that answers says is told rather than who is away."""


def is_about_connecting(error: psycopg.Error, text: str) -> bool:
    """Whether psycopg says this of a session that did not come about. Its own words are never translated."""
    return error.pgconn is not None or text.startswith(("connection timeout", "failed to resolve", "could not match"))


def connection_error(error: psycopg.Error, text: str, url: str) -> Exception:
    """The error for a user, of what was said when no session came about."""
    if error.pgconn is not None and error.pgconn.needs_password:
        text = NO_PASSWORD
    for reason in REASONS:
        if (found := re.search(reason.pattern, text)) is not None:
            groups = {name: value or "" for name, value in found.groupdict().items()}
            return reason.error(f"{url}: {reason.what.format(**groups)}")
    return Unreachable(f"{url}: no connection: {text}")

"""Which schema of which PostgreSQL database a URL names. Nothing is opened; a password leaves it only by `dsn`.

`postgresql://user@host:port/database?schema=NAME`, or `postgres://…`: what libpq takes, and the `schema` in which the
queue is. A password is better in PGPASSFILE or `~/.pgpass`: where it stands in the URL, it is shown nowhere.
"""

import re
from urllib.parse import quote, unquote

import msgspec

from queuectl.errors import Invalid

DEFAULT_SCHEMA = "queuectl"

SECRETS = frozenset(
    {"password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"}
)  # fmt: skip
"""Parameters of libpq that are shown to nobody."""

_URL = re.compile(
    r"""
    postgres(?:ql)?://
    (?:(?P<user>[^:@/?#]*)(?::(?P<password>[^@/?#]*))?(?P<at>@))?
    (?P<hosts>[^@/?#]*)
    (?P<database>(?:/[^@/?#]*)?)
    (?:\?(?P<query>[^@?#]*))?
    """,
    re.VERBOSE | re.IGNORECASE,
)
_HOST = re.compile(r"(?:\[[^\[\]]+\]|[^\[\]:]*)(?::(?P<port>[0-9]{1,5})?)?")
_ESCAPE = re.compile(r"%(?!00)[0-9A-Fa-f]{2}")
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,62}")


class PostgresLocation(msgspec.Struct, frozen=True):
    """A schema of a PostgreSQL database."""

    dsn: str
    """What libpq is given, the password included if it stood in the URL."""
    schema: str
    url: str
    """The same without a password, so that it may be shown."""
    password: str | None = None
    """What stood in the URL."""

    @property
    def has_secret(self) -> bool:
        """Whether the URL says more than may be shown."""
        return self.url not in (self.dsn, with_schema(self, self.schema))

    @property
    def name(self) -> str:
        """The schema as it stands in a statement: a word of SQL may be its name."""
        return f'"{self.schema}"'

    @property
    def search_path(self) -> str:
        """The search path of statements about the queue: temporary tables of the session hide none of its tables."""
        return f"{self.name},pg_temp"

    def __repr__(self) -> str:
        return f"PostgresLocation({self.url!r})"


def locate_postgres(url: str) -> PostgresLocation:
    """What a `postgresql://…` URL names. Raises Invalid, which repeats nothing of it, for one that can't be read."""
    found = _URL.fullmatch(url)
    if found is None or not url.isprintable() or " " in url or "%" in _ESCAPE.sub("", url):
        raise Invalid(
            "the postgresql:// URL can't be read: give postgresql://user@host:port/database?schema=NAME, and in a name"
            " or password write a space as %20, # as %23, % as %25, / as %2F, : as %3A, ? as %3F, @ as %40"
        )
    if not all(_is_host(host) for host in found["hosts"].split(",")):
        raise Invalid(
            "the hosts in the postgresql:// URL can't be read: give host:port with a port up to 65535, several with"
            " commas, an IPv6 address in brackets; in a password write : as %3A, / as %2F, ? as %3F"
        )
    parameters = [each.partition("=") for each in (found["query"] or "").split("&") if each]
    if not all(equals for _, equals, _ in parameters):
        raise Invalid("the postgresql:// URL has a parameter without a value: give ?name=value, several with &")
    named = [(unquote(name), f"{name}={value}", unquote(value)) for name, _, value in parameters]
    schemas = [value for name, _, value in named if name == "schema"]
    if len(schemas) > 1:
        raise Invalid("the postgresql:// URL names several schemas: give one schema=NAME")
    schema = _checked(schemas[0]) if schemas else DEFAULT_SCHEMA
    kept = [text for name, text, _ in named if name != "schema"]
    shown = [text for name, text, _ in named if name not in SECRETS | {"schema"}]
    passwords = [found["password"], *(text.partition("=")[2] for name, text, _ in named if name == "password")]
    own = [f"schema={schema}"] if schema != DEFAULT_SCHEMA else []
    authority = url[url.index("//") + 2 :].partition("?")[0].partition("/")[0]
    return PostgresLocation(
        dsn=_url(authority, found["database"], kept),
        schema=schema,
        password=unquote(passwords[-1]) if passwords[-1] is not None else None,
        url=_url(f"{found['user'] or ''}{found['at'] or ''}{found['hosts']}", found["database"], [*shown, *own]),
    )


def with_passfile(location: PostgresLocation, path: str) -> str:
    """The URL without a password, and with the path of the file in which libpq finds it."""
    return f"{location.url}{'&' if '?' in location.url else '?'}passfile={quote(path, safe='/')}"


def with_schema(location: PostgresLocation, schema: str) -> str:
    """The URL of another schema of the same database, with the password if one stood in the URL."""
    return f"{location.dsn}{'&' if '?' in location.dsn else '?'}schema={schema}"


def _is_host(text: str) -> bool:
    found = _HOST.fullmatch(text)
    return found is not None and (found["port"] is None or 0 < int(found["port"]) < 1 << 16)


def _checked(schema: str) -> str:
    if not _SCHEMA.fullmatch(schema):
        raise Invalid(f"schema={schema!r} is no name for a schema: give small letters, digits and _, at most 63")
    if schema.startswith("pg_") or schema in ("public", "information_schema"):
        raise Invalid(f"the schema {schema} can't be a queue's alone: name another, as in ?schema={DEFAULT_SCHEMA}")
    return schema


def _url(authority: str, database: str, parameters: list[str]) -> str:
    return f"postgresql://{authority}{database}{'?' + '&'.join(parameters) if parameters else ''}"

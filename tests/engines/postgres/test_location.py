"""What a postgresql:// URL names, what is shown of it, and what is refused before anything is opened."""

import pytest

from queuectl.engines import is_postgres
from queuectl.engines.postgres.location import locate_postgres
from queuectl.errors import Invalid

SECRET = "correct-horse"


@pytest.mark.parametrize(
    "url,dsn,shown",
    [
        ("postgres://h/d", "postgresql://h/d", "postgresql://h/d"),
        ("PostgreSQL://h/d", "postgresql://h/d", "postgresql://h/d"),
        ("postgresql://", "postgresql://", "postgresql://"),
        ("postgresql://me:a%40b:c@h:5433/d", "postgresql://me:a%40b:c@h:5433/d", "postgresql://me@h:5433/d"),
        ("postgresql://:x@h/d", "postgresql://:x@h/d", "postgresql://@h/d"),
        ("postgresql://h/d?schema=queuectl", "postgresql://h/d", "postgresql://h/d"),
        ("postgresql://h/d?schema=a&sslmode=require", "postgresql://h/d?sslmode=require",
         "postgresql://h/d?sslmode=require&schema=a"),
        ("postgresql:///d?host=/run/postgresql", "postgresql:///d?host=/run/postgresql",
         "postgresql:///d?host=/run/postgresql"),
        ("postgresql://%2Frun%2Fpostgresql/d", "postgresql://%2Frun%2Fpostgresql/d",
         "postgresql://%2Frun%2Fpostgresql/d"),
        ("postgresql://[::1]:5433/d", "postgresql://[::1]:5433/d", "postgresql://[::1]:5433/d"),
        ("postgresql://a,b:5433,[fe80::1]/d?target_session_attrs=read-write",
         "postgresql://a,b:5433,[fe80::1]/d?target_session_attrs=read-write",
         "postgresql://a,b:5433,[fe80::1]/d?target_session_attrs=read-write"),
        ("postgresql:///d?service=x&options=-c%20work_mem%3D1MB", "postgresql:///d?service=x&options=-c%20work_mem%3D1MB",
         "postgresql:///d?service=x&options=-c%20work_mem%3D1MB"),
        ("postgresql://h/d?password=x&user=me&sslpassword=y&pass%77ord=z", "postgresql://h/d?password=x&user=me&sslpassword=y&pass%77ord=z",
         "postgresql://h/d?user=me"),
    ],
)  # fmt: skip
def test_what_a_url_names(url: str, dsn: str, shown: str) -> None:
    location = locate_postgres(url)
    assert (location.dsn, location.url) == (dsn, shown)
    assert locate_postgres(shown).url == shown
    assert repr(location) == f"PostgresLocation({shown!r})"


@pytest.mark.parametrize("schema", ["queuectl", "a", "_", "select", "a" * 63])
def test_names_that_a_schema_may_have(schema: str) -> None:
    assert locate_postgres(f"postgresql://h/d?schema={schema}").schema == schema


@pytest.mark.parametrize(
    "schema", ["", "A", "1a", "a-b", "a%20b", "a%22", "ä", "a" * 64, "pg_x", "public", "information_schema"]
)
def test_names_that_no_queue_has(schema: str) -> None:
    with pytest.raises(Invalid, match="schema"):
        locate_postgres(f"postgresql://h/d?schema={schema}")


@pytest.mark.parametrize(
    "rest",
    [
        f"me:{SECRET}%zz@h/d", f"me:{SECRET}%00@h/d", f"me:{SECRET}#x@h/d", f"me:{SECRET}@x@h/d", f"me:{SECRET}/x@h/d",
        f"me:{SECRET}?x@h/d", f"me:1?{SECRET}@h/d", f"me:{SECRET}?x=y@h/d", f"me:[{SECRET}]@h/d%", f"me:{SECRET}/x",
        f"me:{SECRET}@h/a b", f"me:{SECRET}@h/d\n", f"me:{SECRET}@h:port/d", f"me:{SECRET}@h:65536/d",
        f"me:{SECRET}@h:0/d", f"me:{SECRET}@[::1/d", f"me:{SECRET}@::1/d", f"me:{SECRET}@h/d?x",
        f"me:{SECRET}@h/d/e", f"me:{SECRET}@h/d?schema=a&schema=b", f"me:{SECRET}@h/d?schema=A",
    ],
)  # fmt: skip
def test_a_refused_url_is_not_repeated(rest: str) -> None:
    with pytest.raises(Invalid) as caught:
        locate_postgres(f"postgresql://{rest}")
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("url", ["postgresql:d", "postgresql:/d", "postgres:d"])
def test_a_url_without_slashes_is_no_file(url: str) -> None:
    assert is_postgres(url)
    with pytest.raises(Invalid):
        locate_postgres(url)


@pytest.mark.parametrize("schema", ["default", "order", "queuectl"])
def test_a_word_of_sql_names_a_schema(schema: str) -> None:
    assert locate_postgres(f"postgresql://h/d?schema={schema}").search_path == f'"{schema}",pg_temp'

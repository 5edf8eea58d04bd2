"""An outbox in PostgreSQL: as in SQLite, with transactions side by side, and a password that nobody learns."""

import re
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from queuectl import Queue
from queuectl.outbox import relay
from tests.support.application import Application
from tests.support.lab import Lab
from tests.support.paths import ROOT
from tests.support.postgres.database import Database
from tests.support.postgres.server import PASSWORD

PAGE = (ROOT / "docs/guides/outbox.md").read_text(encoding="utf-8")
[GRANT] = re.findall(r"^grant .*;$", PAGE, re.MULTILINE)
"""What the guide says that the role of a relay needs."""


def connect(shop: Database, **options: Any) -> psycopg.Connection[Any]:
    """A session of the application."""
    return psycopg.connect(shop.administrator, options=f"-c search_path={shop.schema}", **options)


@pytest.fixture
def shop(postgres_with: Callable[..., Database]) -> Database:
    """The database of the application."""
    return postgres_with()


def opened(database: Database) -> Application:
    database.execute(sql.SQL("create schema {}").format(sql.Identifier(database.schema)))
    return Application(connect(database), "postgresql")


def outbox(database: Database) -> str:
    """The URL for a role that has no more rights than it needs."""
    url = database.role()
    [role] = re.findall(r"//(\w+):", url)
    database.execute(f"grant usage on schema {database.schema} to {role}; {GRANT.replace('relay', role)}")
    return url


@pytest.fixture
def application(shop: Database) -> Iterator[Application]:
    application = opened(shop)
    yield application
    application.close()


@pytest.fixture
def url(shop: Database, application: Application) -> str:
    return outbox(shop)


def test_workers_move_committed_rows_only(lab: Lab, application: Application, url: str) -> None:
    parent = lab.start(count=2, outboxes=[url])
    application.ask("true", "mine")
    lab.until(lambda: lab.completed() == ["mine"])
    application.insert("echo never", "never")
    application.connection.rollback()
    application.ask("echo the table made its id")
    lab.until(lambda: len(lab.completed()) == 2)
    assert lab.completed()[1].startswith("outbox-")
    lab.until(lambda: application.rows() == [])
    assert lab.stopped(parent) == ""


def test_a_wrong_row_keeps_its_error(lab: Lab, application: Application, url: str) -> None:
    application.ask({"command": "true", "priority": "high"}, "wrong")
    application.ask("true", "right")
    lab.ended(lab.start(outboxes=[url], drain=True))
    assert lab.completed() == ["right"]
    assert application.rows() == [("wrong", "priority: must be a whole number, not a string")]


def test_rows_committed_late_are_not_missed(lab: Lab, application: Application, shop: Database) -> None:
    slow = connect(shop)
    slow.execute("insert into queuectl_outbox (id, job) values ('slow', 'true')")
    application.ask("true", "quick")
    assert application.rows("id, number") == [("quick", 2)]
    relays = connect(shop)
    relay(relays, lab.queue)
    assert [job.id for job in lab.queue.jobs()] == ["quick"]
    slow.commit()
    relay(relays, lab.queue)
    assert sorted(job.id for job in lab.queue.jobs()) == ["quick", "slow"]
    assert application.rows() == []
    slow.close()
    relays.close()


def test_a_connection_that_commits_by_itself_serves(lab: Lab, application: Application, shop: Database) -> None:
    application.ask("true", "row")
    with connect(shop, autocommit=True) as connection:
        assert relay(connection, lab.queue) == {}
    assert [job.id for job in lab.queue.jobs()] == ["row"]
    assert application.rows() == []


def test_outboxes_of_two_schemas_are_moved(
    lab: Lab, application: Application, url: str, postgres_with: Callable[..., Database]
) -> None:
    other = postgres_with()
    second = opened(other)
    application.ask("true", "here")
    second.ask("true", "there")
    lab.drain(outboxes=[url, outbox(other)])
    assert lab.completed() == ["here", "there"]
    second.close()


def test_rows_go_into_a_queue_in_postgres(
    application: Application, shop: Database, postgres_with: Callable[..., Database]
) -> None:
    application.ask({"command": "true", "after": ["nobody"]}, "wrong")
    with connect(shop) as connection, Queue(postgres_with().url) as queue:
        for _ in range(2):
            application.ask("true", "right")
            assert [*relay(connection, queue)] in (["wrong"], [])
        assert [job.id for job in queue.jobs()] == ["right"]
    assert application.rows() == [("wrong", "after: there is no job 'nobody'")]


def test_a_locked_table_keeps_nothing_from_running(lab: Lab, application: Application, url: str) -> None:
    parent = lab.start(outboxes=[url])
    lab.up()
    application.connection.execute("lock table queuectl_outbox")
    application.insert("true", "row")
    lab.queue.enqueue("true", id="other")
    lab.until(lambda: lab.completed() == ["other"])
    application.connection.commit()
    lab.until(lambda: lab.completed() == ["other", "row"])
    assert lab.stopped(parent) == ""


def test_a_lost_connection_is_made_anew(lab: Lab, application: Application, shop: Database, url: str) -> None:
    parent = lab.start(outboxes=[url])
    application.ask("true", "before")
    lab.until(lambda: lab.completed() == ["before"])
    ended = "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'queuectl outbox'"
    shop.execute(f"{ended} and usename like '{shop.schema}%'")
    application.ask("true", "behind")
    lab.until(lambda: lab.completed() == ["before", "behind"])
    assert lab.stopped(parent).count("its rows wait") == 1


@pytest.mark.parametrize(
    "wrong, told",
    [
        ("password", "with this password: check both"),
        ("database", "there is no database nowhere: check the URL"),
        ("schema", "make it there by what `queuectl outbox schema` prints"),
        ("rights", "permission denied"),
    ],
)
def test_what_is_wrong_is_told_without_a_password(
    lab: Lab, shop: Database, application: Application, url: str, wrong: str, told: str
) -> None:
    match wrong:
        case "password":
            url = url.replace(PASSWORD, quote(PASSWORD + "/:@", safe=""))
        case "database":
            url = re.sub(r"/\w+\?", "/nowhere?", url)
        case "schema":
            url = re.sub(r"schema=\w+", "schema=elsewhere", url)
        case _:
            url = shop.role()
    lab.queue.enqueue("true", id="other")
    code, said = lab.ended(lab.start(outboxes=[url], drain=True))
    assert (code, lab.completed()) == (0, ["other"])
    assert told in said
    assert said.count("\n") == 1, "one line"
    assert PASSWORD not in said + lab.journal()

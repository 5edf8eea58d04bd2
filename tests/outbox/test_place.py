"""What `--outbox` may name, and what is said of it: a file is never made, and a password never told."""

import os
import sqlite3
import sys
from pathlib import Path

import pytest

from queuectl import Invalid, Queue, Unusable
from queuectl.outbox.client import OutboxClient, refuse_own
from queuectl.outbox.delivery import Delivery
from queuectl.outbox.place import locate
from tests.support.application import Application


def no_file(path: str) -> bool:
    return False


@pytest.mark.parametrize("url", ["app.db", "./x/../app.db", "sqlite:///app.db", "SQLite:///app.db"])
def test_paths_and_urls_name_a_file(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert locate(url).file == str(tmp_path / "app.db")


@pytest.mark.parametrize("url", ["", "mysql://app:hunter2@db/app", "sqlite://app.db", "sqlite:///", ":memory:", "a\0b"])
def test_what_names_no_outbox_is_refused(url: str) -> None:
    with pytest.raises(Invalid, match="names no database that workers know") as caught:
        locate(url)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url, name",
    [
        ("postgresql://app:hunter2@db.example:5433/shop", "postgresql://app@db.example:5433/shop"),
        ("postgres://app@db/shop?password=hunter2&connect_timeout=3", "postgresql://app@db/shop"),
        ("postgresql:///shop?user=app&password=hunter2&schema=sales", "postgresql://app@/shop?schema=sales"),
        ("postgresql://app:hunter2%2Fx@a,b/shop?target_session_attrs=read-write", "postgresql://app@a,b/shop"),
    ],
)
def test_a_password_is_not_in_the_name(url: str, name: str) -> None:
    place = locate(url)
    assert place.name == name
    assert place.file is None
    assert "hunter2" not in repr(place) + place.key


def test_places_that_differ_have_different_keys() -> None:
    urls = [
        "app.db", "b/app.db", "postgresql://db/shop", "postgresql://db/shop?schema=a", "postgresql://db/shop?schema=b",
        "postgresql://db/shop?options=-csearch_path%3Da", "postgresql://app@db/shop", "postgresql://db:5433/shop",
    ]  # fmt: skip
    assert len({locate(url).key for url in urls}) == len(urls)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://app:hunter2/x@db/shop", "postgresql://app:12/hunter2@db/shop",
        "postgresql://app:hunter2:x@db:y/shop", "postgresql://db/shop?hunter2=1",
        "postgresql://app@db/shop#hunter2", "postgresql://app:%zzhunter2@db/shop", "postgresql://[hunter2/shop",
    ],
)  # fmt: skip
def test_a_wrong_url_is_not_repeated(url: str) -> None:
    with pytest.raises(Invalid, match="postgresql:// URL") as caught:
        locate(url)
    assert "hunter2" not in str(caught.value)


def test_a_schema_belongs_to_the_table() -> None:
    assert locate("postgresql://db/shop").table == "queuectl_outbox"
    assert locate("postgresql://db/shop?schema=sales").table == '"sales".queuectl_outbox'


def test_without_psycopg_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(Invalid, match=r"queuectl-eventlog\[postgres\]"):
        locate("postgresql://db/shop")


def test_a_missing_file_is_not_made(tmp_path: Path) -> None:
    client = OutboxClient(locate(str(tmp_path / "app.db")), no_file)
    with pytest.raises(Unusable, match=r"app\.db: No such file or directory"):
        client.turn(None)
    assert [*tmp_path.iterdir()] == []


def test_a_missing_table_is_told(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / "app.db").close()
    (tmp_path / "app.db").touch()
    client = OutboxClient(locate(str(tmp_path / "app.db")), no_file)
    with pytest.raises(Unusable, match="no such table: queuectl_outbox: make it there by"):
        client.turn(None)


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    (tmp_path / "app.db").write_text("a text of more than a few bytes, which is no database at all" * 20)
    client = OutboxClient(locate(str(tmp_path / "app.db")), no_file)
    with pytest.raises(Unusable, match="file is not a database"):
        client.turn(None)


def test_a_client_goes_on_after_trouble(application: Application, tmp_path: Path) -> None:
    client = OutboxClient(locate(str(tmp_path / "app.db")), no_file)
    assert client.turn(None) == []
    application.change("alter table queuectl_outbox rename to elsewhere")
    with pytest.raises(Unusable):
        client.turn(None)
    application.change("alter table elsewhere rename to queuectl_outbox")
    application.ask("true")
    assert len(client.turn(None)) == 1
    client.close()


def test_a_row_that_is_not_utf8_is_refused(application: Application, tmp_path: Path) -> None:
    application.change("insert into queuectl_outbox (id, job) values ('bad', cast(x'6563686f20ff' as text))")
    application.ask("echo good", "good")
    client = OutboxClient(locate(str(tmp_path / "app.db")), no_file)
    with Queue(tmp_path / "q.db") as queue:
        delivery = Delivery(queue, client.turn(None))
        while delivery.step():
            pass
        client.turn(delivery)
        client.close()
        assert [job.id for job in queue.jobs()] == ["good"]
    [(id, error)] = application.rows()
    assert id == "bad"
    assert "UTF-8" in error


@pytest.mark.parametrize("name", ["q.db", "q.db-wal", "link.db", "hard.db"])
def test_the_queues_own_database_is_refused(tmp_path: Path, name: str) -> None:
    with Queue(tmp_path / "q.db") as queue:
        (tmp_path / "link.db").symlink_to("q.db")
        os.link(tmp_path / "q.db", tmp_path / "hard.db")
        with pytest.raises(Invalid, match="is the queue's own database"):
            refuse_own(locate(str(tmp_path / name)), queue.engine.owns)
        client = OutboxClient(locate(str(tmp_path / name)), queue.engine.owns)
        with pytest.raises(Invalid, match="is the queue's own database"):
            client.turn(None)
        os.unlink(tmp_path / "hard.db")

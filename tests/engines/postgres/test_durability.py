"""What was acknowledged is durable, whatever the role or the database have by default."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.engines.postgres.home import access
from queuectl.engines.postgres.location import locate_postgres
from queuectl.engines.postgres.pipeline import Pipeline, Statement
from queuectl.home import Home
from tests.support.postgres.database import Database


def test_a_weak_default_does_not_weaken_a_commit(postgres: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    url = postgres.owner_with("synchronous_commit", "off")
    run = Pipeline.run

    def watched(pipeline: Pipeline, statements: Sequence[Statement], **how: bool) -> object:
        asked.extend(query.decode() for query, _ in statements)
        return run(pipeline, statements, **how)

    with Queue(url) as queue:
        monkeypatch.setattr(Pipeline, "run", watched)
        queue.enqueue("true")
        assert sum("pg_logical_emit_message" in each for each in asked) == 1
        queue.engine.set_durability("normal")
        asked.clear()
        queue.enqueue("true")
        assert not any("pg_logical_emit_message" in each for each in asked)


def test_each_role_has_its_line_in_pgpass(tmp_path: Path) -> None:
    home = Home(str(tmp_path))
    urls = ["//:any@h/d", "//a:one:1@h/d", "//b%40x:two@h/d", "//a:three\\@h/d"]
    shown = {access(locate_postgres(f"postgresql:{url}".replace("one:1", "one%3A1")), home) for url in urls}
    assert not any(word in url for url in shown for word in ("one", "two", "three", "any@"))
    with open(f"{home.folder}/pgpass", encoding="utf-8") as file:
        assert sorted(file.read().splitlines()[:-1]) == ["*:*:*:a:three\\\\", "*:*:*:b@x:two"]
        file.seek(0)
        assert file.read().endswith("*:*:*:*:any\n")

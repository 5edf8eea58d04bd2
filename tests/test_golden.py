"""The answers about a real log of some 5,000 events, compared with the golden ones kept with it."""

from pathlib import Path

import pytest

from tests.support import golden


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("golden") / "golden.db"
    golden.import_log(path)
    return path


@pytest.fixture(scope="module")
def answers(database: Path) -> dict[str, bytes]:
    return golden.answers(database)


def test_every_answer_is_kept(answers: dict[str, bytes]) -> None:
    assert set(answers) == {path.name for path in golden.ANSWERS.iterdir()}


@pytest.mark.parametrize("name", [path.name for path in sorted(golden.ANSWERS.iterdir())])
def test_every_answer_equals_the_golden_one(answers: dict[str, bytes], name: str) -> None:
    assert answers[name].decode() == (golden.ANSWERS / name).read_text()


def test_an_imported_log_is_exported_unchanged(database: Path, tmp_path: Path) -> None:
    exported = golden.ask(database, "export", "--format", "ndjson")
    assert exported == golden.events()
    again = tmp_path / "again.db"
    golden.ask(again, "import", "-", stdin=exported)
    assert golden.ask(again, "export", "--format", "ndjson") == exported
    for what in ("jobs", "attempts"):
        rows = ["export", "--what", what, "--format", "csv"]
        assert golden.ask(again, *rows) == golden.ask(database, *rows)


def test_a_replay_gives_the_same_answers(database: Path) -> None:
    before = golden.ask(database, "export", "--what", "jobs", "--format", "csv")
    assert golden.ask(database, "replay", "--check") == b"the tables say what the log says\n"
    golden.ask(database, "replay")
    assert golden.ask(database, "export", "--what", "jobs", "--format", "csv") == before

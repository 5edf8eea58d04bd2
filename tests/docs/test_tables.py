"""docs/reference/tables.md names the columns of the tables, and the events and fields of the code."""

import re

import apsw
import pytest

import projections
from queuectl.events import VOCABULARY
from tests.support.paths import ROOT

DOC = (ROOT / "docs" / "reference" / "tables.md").read_text(encoding="utf-8")
PUBLIC = ("events", "leaves", "jobs", "attempts", "counts", "workers")


def section(title: str) -> str:
    return DOC.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def cells(text: str) -> list[list[str]]:
    """The rows of the tables in a text, without their heads."""
    lines = [line.strip().strip("|").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in line] for line in lines if not line[0].strip().startswith(("---", "column", "event"))
    ]


def words(cell: str) -> list[str]:
    return re.findall(r"`(\w+)`", cell)


@pytest.fixture
def database() -> apsw.Connection:
    made = apsw.Connection("")
    log = ROOT / "queuectl/engines/sqlite/schema.sql"
    schemas = [log.read_text(), *(projection.schema for projection in projections.builtin())]
    for schema in schemas:
        for _ in made.execute(schema):
            pass
    return made


@pytest.mark.parametrize("table", PUBLIC)
def test_every_column_of_a_public_table_is_described(table: str, database: apsw.Connection) -> None:
    columns = [name for (name,) in database.execute("select name from pragma_table_info(?)", (table,))]
    assert sorted(word for row in cells(section(table)) for word in words(row[0])) == sorted(columns)


def test_every_event_is_described_with_its_fields() -> None:
    told = {
        words(row[0])[0]: words(row[2])
        for row in cells(section("What happens to a job") + section("What happens to a worker, and to the settings"))
    }
    told["cancelled"] = told["completed"] + [word for word in told["cancelled"] if word != "completed"]
    told["heartbeat"] = ["attempts"]
    real = {kind: sorted(payload.__struct_fields__) for kind, payload in VOCABULARY.payloads.items()}
    assert {kind: sorted(fields) for kind, fields in told.items()} == real


def test_the_questions_can_be_asked(database: apsw.Connection) -> None:
    queries = re.findall(r"```sql\n(.*?)```", DOC, re.DOTALL)
    assert len(queries) >= 3
    for query in queries:
        assert list(database.execute(query)) == []

"""Attempts: their table, and what the events of a job tell of them."""

from hypothesis import given, settings

from projections import attempts
from projections.attempts import Attempt
from queuectl.events import Execution, Recorded
from tests.support.folded_tables import Tables
from tests.support.histories import logs


def test_attempts_have_the_fields_of_an_execution() -> None:
    assert set(Execution.__struct_fields__) - set(Attempt.__struct_fields__) == {"kept"}


@settings(max_examples=60)
@given(logs)
def test_attempts_of_events_equal_the_table(log: list[Recorded]) -> None:
    store = Tables(log).fold([log]).store
    columns = ", ".join(Attempt.__struct_fields__)
    for (id,) in store.execute("select id from jobs"):
        rows = store.execute(f"select {columns} from attempts where job = ? order by lease", (id,))
        assert attempts.of(record for record in log if record.stream == f"job:{id}") == [Attempt(*row) for row in rows]

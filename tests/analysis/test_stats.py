"""The figures of a log: exactly those that docs/reference/stats.md defines, and true of what happened."""

import math
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl import Queue, clock, decisions
from queuectl.analysis.stats import Stats, stats
from queuectl.audit.archive import archive
from queuectl.audit.import_log import load
from queuectl.clock import SECOND, micros
from queuectl.engines.figures import FIGURES
from queuectl.engines.sqlite.engine import SqliteEngine
from queuectl.errors import QueueError
from queuectl.events import Claimed, Completed, Enqueued, Failed, Released, Requeued, Retried
from tests.support import ends
from tests.support.paths import ROOT
from tests.support.stories import Story

RECORDED = ROOT / "tests" / "data" / "queue_v1.ndjson"


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        yield queue


def figures(rows: list[dict[str, object]], key: str, *names: str) -> dict[object, tuple[object, ...]]:
    return {row[key]: tuple(row[name] for name in names) for row in rows}


def test_the_documentation_has_the_queries_that_run() -> None:
    doc = (ROOT / "docs" / "reference" / "stats.md").read_text(encoding="utf-8")
    sections = re.findall(r"^## (\w+)\n.*?```sql\n(.*?)\n```", doc, re.MULTILINE | re.DOTALL)
    assert dict(sections) == FIGURES
    assert list(FIGURES) == [name for name, _ in sections]


def test_throughput_is_counted_by_hour_and_day(queue: Queue) -> None:
    story = Story()
    for _, ids in ((0, ["a", "b"]), (1, ["c"]), (2, [])):
        story.enqueue(*ids)
        for id in ids:
            story.attempt(id)
        story.wait(86400)
    story.enqueue("d")
    found = stats(story.told(queue))
    day, hour = 86400 * SECOND, 3600 * SECOND
    first = micros("2027-01-15T00:00:00Z")
    assert figures(found.per_day, "day", "enqueued", "completed") == {
        first: (2, 2), first + day: (1, 1), first + 3 * day: (1, 0),
    }  # fmt: skip
    assert figures(found.per_hour, "hour", "completed")[first + 8 * hour] == (2,)
    assert found.busiest_hours == [{"hour_of_day": 8, "enqueued": 4, "completed": 3}]
    assert (found.totals["enqueued"], found.totals["completed"], found.totals["attempts"]) == (4, 3, 3)
    assert found.json()["per_day"][0]["day"] == "2027-01-15T00:00:00.000000Z"


def test_waiting_begins_when_a_job_is_due(queue: Queue) -> None:
    story = Story()
    story.enqueue("delayed", delay=100, queue="a")
    story.attempt("delayed", late=0.25)
    story.enqueue("retried", queue="b", backoff_base=10.0)
    story.attempt("retried", "exit", late=1)
    story.attempt("retried", late=2)  # 10 s after the failure, and then 2
    story.enqueue("given-back", queue="c")
    story.claim("given-back", late=1)
    story.decide("given-back", lambda job: ends.release(job, decisions.lease(job)))
    story.attempt("given-back", late=3)
    assert stats(story.told(queue)).totals["attempts"] == 4
    found = stats(queue).waiting
    assert [row["claims"] for row in found] == [1, 2, 1]
    for name, told in (("p50", [0.25, 1, 3]), ("longest", [0.25, 2, 3]), ("mean", [0.25, 1.5, 3])):
        assert [row[name] for row in found] == pytest.approx(told, abs=1e-5)


def test_a_percentile_is_the_value_at_its_rank(queue: Queue) -> None:
    story = Story()
    for number in range(1, 201):
        story.enqueue(f"j{number}")
        story.attempt(f"j{number}", seconds=number)
    [row] = stats(story.told(queue)).queues
    assert (row["p50"], row["p95"], row["p99"], row["longest"], row["run_seconds"]) == (100, 190, 198, 200, 20100)


def test_failures_are_rates_of_ended_attempts(queue: Queue) -> None:
    story = Story()
    story.enqueue("good", "flaky", "bad", max_retries=1)
    story.attempt("good")
    story.attempt("flaky", "timeout")
    story.attempt("flaky")
    story.attempt("bad", "exit")
    story.attempt("bad", "lost")
    story.enqueue("other", queue="mail")
    story.claim("other")
    found = stats(story.told(queue))
    [row] = found.queues
    assert (row["completed"], row["failed"], row["retried"], row["dead"]) == (2, 3, 2, 1)
    assert (row["failure_rate"], row["retry_rate"]) == (0.6, 0.4)
    assert row["run_seconds"] == 4, "the lost one has no run time"
    assert found.totals["attempts"] == 6
    assert stats(queue, queue_name="mail").queues == []
    assert stats(queue, queue_name="mail").totals["attempts"] == 1


def test_commands_are_ranked_by_count_time_and_flakiness(queue: Queue) -> None:
    story = Story()
    for number in range(20):
        story.enqueue(f"often{number}", command="often")
        story.attempt(f"often{number}", "exit" if number % 2 else None, seconds=0.5)
    story.enqueue("slow", argv=["slow", "er"], command=None)
    story.attempt("slow", seconds=90)
    story.enqueue("once", command="once")
    for cause in ("exit", "exit", None):
        story.attempt("once", cause)
    story.enqueue("never", command="never", max_retries=0)
    story.attempt("never", "exit")
    found = stats(story.told(queue), limit=3)
    assert [row["command"] for row in found.commands] == ["often", "once", '["slow","er"]']
    assert [row["command"] for row in found.slowest] == ['["slow","er"]', "never", "once"]
    assert [row["command"] for row in found.flakiest] == ["often", "once"], "what never completed is not flaky"
    assert len(stats(queue, limit=1).slowest) == 1
    assert found.commands[0]["failure_rate"] == 0.5
    assert "most_run" not in found.commands[0]


def test_a_period_includes_both_ends(queue: Queue) -> None:
    story = Story()
    for id in ("a", "b", "c"):
        story.enqueue(id)
        story.wait(60)
    story.told(queue)
    second, third = (record.at for record in queue.events(after=1))

    def enqueued(since: int | None = None, until: int | None = None) -> int:
        return stats(queue, since=since, until=until).totals["enqueued"]

    assert enqueued(since=second) == 2
    assert enqueued(since=second + 1) == 1
    assert enqueued(until=second) == 2
    assert enqueued(until=second - 1) == 1
    assert enqueued(since=second, until=second) == 1
    assert enqueued(since=third + 1) == 0


def empty(found: Stats) -> bool:
    counts = [count for name, count in found.totals.items() if not name.endswith("_at")]
    lists = (found.per_day, found.per_hour, found.busiest_hours, found.waiting, found.queues, found.commands,
             found.slowest, found.flakiest)  # fmt: skip
    return not any(counts) and not any(lists)


def test_an_empty_log_has_figures_too(queue: Queue) -> None:
    found = stats(queue)
    assert empty(found)
    assert found.json()["as_of"] == {"seq": 0, "at": None}
    queue.enqueue("true")
    assert empty(stats(queue, queue_name="nobody's"))
    assert not empty(stats(queue))


def test_archived_jobs_are_mentioned_and_not_counted(queue: Queue, tmp_path: Path) -> None:
    assert stats(queue).archived == {"jobs": 0, "events": 0}
    queue.cancel(queue.enqueue("true", queue="slow"))
    archive(queue, str(tmp_path / "a.ndjson"), clock.now() + 1)
    assert empty(found := stats(queue))
    assert found.json()["archived"] == {"jobs": 1, "events": 2}
    assert stats(queue, queue_name="slow").archived["jobs"] == 1
    assert stats(queue, queue_name="quick").archived["jobs"] == 0


def rank(times: list[float], percent: int) -> float | None:
    """The value at the rank of a percentile."""
    return sorted(times)[math.ceil(percent * len(times) / 100) - 1] if times else None


def test_figures_equal_those_computed_event_by_event(queue: Queue) -> None:
    with RECORDED.open("rb") as file:
        load(queue, file)
    queues: dict[str, str] = {}
    due: dict[str, int] = {}
    claims: dict[tuple[str, int], float] = {}
    waits: dict[str, list[float]] = {}
    runs: dict[str, list[float]] = {}
    for record in queue.events():
        match event := record.event:
            case Enqueued() | Retried() | Requeued():
                due[record.stream] = max(record.at, micros(event.run_at))
                if isinstance(event, Enqueued):
                    queues[record.stream] = event.queue
            case Claimed():
                claims[record.stream, event.attempt] = (record.at - due[record.stream]) / SECOND
            case Released():
                del claims[record.stream, event.attempt]
            case Completed() | Failed() if event.run_seconds is not None:
                runs.setdefault(queues[record.stream], []).append(event.run_seconds)
            case _:
                pass
    for (stream, _), seconds in claims.items():
        waits.setdefault(queues[stream], []).append(seconds)
    found = stats(queue)
    assert len(runs) > 1
    for row in found.queues:
        assert [row[f"p{n}"] for n in (50, 95, 99)] == [rank(runs[row["queue"]], n) for n in (50, 95, 99)]
    for row in found.waiting:
        assert row["claims"] == len(waits[row["queue"]])
        assert [row[f"p{n}"] for n in (50, 95, 99)] == [rank(waits[row["queue"]], n) for n in (50, 95, 99)]


def test_figures_only_read(queue: Queue) -> None:
    queue.enqueue("true")
    assert isinstance(queue.engine, SqliteEngine)
    queue.engine._db.pragma("query_only", True)
    with pytest.raises(QueueError, match="can't be written"):
        queue.enqueue("true")
    assert stats(queue).totals["enqueued"] == 1

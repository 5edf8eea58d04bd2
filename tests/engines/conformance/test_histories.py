"""Every engine: what `simulate` asks of the log."""

from queuectl.engines.base import Engine
from tests.support.engine_actions import add, claim, report


def test_failed_jobs_are_those_that_ever_failed(engine: Engine) -> None:
    add(engine, "good", "bad", "waits")
    add(engine, "other", queue="b")
    for job, lease in claim(engine, "w"):
        if job.id != "waits":
            report(engine, lease, None if job.id == "good" else "exit")

    def failed(after: int = 0, upto: int = 1 << 62, queue: str | None = None, limit: int = 9) -> list[tuple[int, str]]:
        with engine.snapshot() as view:
            return view.failed_jobs(after=after, upto=upto, queue=queue, limit=limit)

    [bad, other] = failed()
    assert (bad[1], other[1]) == ("job:bad", "job:other")
    assert failed(limit=1) == failed(upto=bad[0]) == failed(queue="default") == [bad]
    assert failed(after=bad[0]) == failed(queue="b") == [other]


def test_history_gives_each_stream_in_order(engine: Engine) -> None:
    add(engine, "a", "b")
    claim(engine, "w", 2)  # the last event is that of b
    with engine.snapshot() as view:
        end = view.head()[0]
        records = list(view.history(["job:b", "job:a"], end))
        assert sorted((record.stream, record.version) for record in records) == [
            ("job:a", 1), ("job:a", 2), ("job:b", 1),
        ]  # fmt: skip
        assert [record.version for record in records if record.stream == "job:a"] == [1, 2]

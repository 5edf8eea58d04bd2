"""Every engine: what `simulate` and `explain --history` ask of the log."""

from queuectl.engines.base import Engine
from tests.support.engine_actions import add, claim, report, start_worker


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


def test_a_rerun_is_the_past_step_by_step(engine: Engine) -> None:
    names = ("jobs", "counts", "workers")
    add(engine, "a", "b")
    start_worker(engine, "w")
    claims = claim(engine, "w", 2)
    add(engine, "c")
    for _, lease in claims:
        report(engine, lease)
    with engine.snapshot() as view:
        end = view.head()[0]
    with engine.rerun(2, end - 1, names) as rerun:
        assert rerun.view.counts() == {"pending": 2}
        steps: list[list[int]] = []
        for changes in rerun:
            seqs = [change.record.seq for change in changes]
            rerun.take(changes)
            if seqs[0] != 6:  # what is not looked at is folded with what follows
                with engine.past(seqs[-1], names) as past:
                    assert rerun.view.counts() == past.counts()
                    assert rerun.view.jobs([1, 2, 6]) == past.jobs([1, 2, 6])
                    assert rerun.view.workers() == past.workers()
            steps.append(seqs)
        assert steps == [[3], [4, 5], [6], [7]]

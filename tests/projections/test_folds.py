"""The folds: any batches of the log and any limit of memory give the same tables (R1)."""

from collections.abc import Sequence
from typing import Any
from unittest import mock

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from projections import Change, Store, builtin, counts, evolve, jobs, numbers, replay
from projections.jobs import Job
from projections.replay import Subjects
from queuectl.decisions import Outcome
from queuectl.events import Claimed, Heartbeat, Recorded, Unreadable, encode
from tests.support.folded_tables import Tables, by_stream, cut
from tests.support.histories import BEGIN, Command, logs, written

FEW = settings(max_examples=60)


@FEW
@given(logs, st.lists(st.integers(0, 12), max_size=20))
def test_any_cut_into_batches_gives_the_same_tables(log: list[Recorded], sizes: list[int]) -> None:
    whole = Tables(log).fold([log]).rows()
    assert Tables(log).fold([record] for record in log).rows() == whole
    assert Tables(log).fold(cut(log, sizes)).rows() == whole


@FEW
@given(logs, st.integers(1, 30))
def test_folding_by_stream_gives_the_same_tables(log: list[Recorded], batch: int) -> None:
    tables = Tables(log)
    told: list[tuple[int, int]] = []
    with mock.patch.object(replay, "BATCH", batch):
        done = replay.fold_streams(
            builtin(), by_stream(log), tables.store, lambda *progress: told.append(progress), len(log)
        )
    assert done == len(log)
    assert told[-1:] == [(done, done)] * bool(log)
    assert tables.rows() == Tables(log).fold([log]).rows()


@FEW
@given(logs)
def test_each_projection_can_be_folded_alone(log: list[Recorded]) -> None:
    whole = Tables(log).fold([log]).rows()
    for projection in builtin():
        alone = Tables(log, [projection]).fold([log]).rows()
        assert alone == {table: whole[table] for table in projection.tables}


@FEW
@given(logs, st.integers(0, 60))
def test_a_projection_catches_up_from_its_position(log: list[Recorded], stand: int) -> None:
    late = Tables(log).fold([log[:stand]])
    late.fold([log[stand:]])
    assert late.rows() == Tables(log).fold([log]).rows()


@FEW
@given(logs, st.integers(0, 3), st.lists(st.integers(0, 4), max_size=40))
def test_evicted_subjects_are_folded_again_from_the_log(log: list[Recorded], limit: int, sizes: list[int]) -> None:
    tables = Tables(log)
    roomy = Subjects(tables.history).changes(log)
    forgetful = Subjects(tables.history, limit)
    assert [change for page in cut(log, sizes) for change in forgetful.changes(page)] == roomy
    for change in roomy:
        assert change.after == evolve(change.before, change.record, change.event)


@FEW
@given(logs)
def test_counts_equal_the_counted_jobs(log: list[Recorded]) -> None:
    tables = Tables(log).fold([log])
    counted = tables.store.execute("select queue, state, count(*) from jobs group by 1, 2 order by 1, 2")
    assert tables.store.execute("select queue, state, jobs from counts order by 1, 2") == counted


@FEW
@given(logs)
def test_a_job_row_equals_the_folded_job(log: list[Recorded]) -> None:
    tables = Tables(log).fold([log])
    latest: dict[str, Any] = {}
    for record in log:
        latest[record.stream] = evolve(latest.get(record.stream), record, record.event)
    live = {job.seq: job for job in latest.values() if isinstance(job, Job)}
    rows = {row[0]: row for row in tables.store.execute(f"select {', '.join(jobs.TABLE.columns)} from jobs")}
    assert {seq: jobs.TABLE.read(row, live[seq].policy) for seq, row in rows.items()} == live


@FEW
@given(logs)
def test_attempts_equal_the_claims_of_existing_jobs(log: list[Recorded]) -> None:
    tables = Tables(log).fold([log])
    there = {id for (id,) in tables.store.execute("select id from jobs")}
    claims = [
        (record.seq, record.subject, record.event.attempt, record.event.worker)
        for record in log
        if isinstance(record.event, Claimed) and record.subject in there
    ]
    assert tables.store.execute("select seq, job, number, worker from attempts order by seq") == claims
    ended = ("completed", "failed", "released", "cancelled", "interrupted")
    outcomes = tables.store.execute("select outcome, count(*) from attempts where outcome is not null group by 1")
    found = dict.fromkeys(ended, 0)
    for record in log:
        if record.type in found and record.subject in there and getattr(record.event, "attempt", None) is not None:
            found[record.type] += 1
    assert dict(outcomes) == {kind: n for kind, n in found.items() if n}  # pyright: ignore[reportArgumentType]


# -- by example ------------------------------------------------------------------------------------------------------


def test_an_event_without_a_subject_changes_no_count() -> None:
    """As those of a job that was archived, or of a kind of stream that somebody else folds."""
    tables = Tables([], [counts, jobs])
    record = Recorded(1, "audit", 1, "heartbeat", 1, BEGIN, "test", "{}")
    [change] = Subjects(tables.history).changes([record])
    assert (change.before, change.after) == (None, None)
    for projection in tables.projections:
        projection.fold([Change(record, Heartbeat(), None, None)], tables.store)
    assert tables.rows() == {"counts": [], "jobs": []}


def test_a_purge_keeps_the_highest_number() -> None:
    log = written([
        Command("enqueue"), Command("enqueue"), Command("claim", job=1), Command("report", job=1),
        Command("purge", job=1),
    ])  # fmt: skip
    tables = Tables(log).fold([log])
    assert tables.store.execute("select id from jobs") == [("1",)]
    assert tables.store.execute("select name, last from numbers") == [("job", numbers.BLOCK)]


def test_the_highest_number_never_falls() -> None:
    """A log that was put together elsewhere may have the numbers in another order."""
    policy = encode(Command("enqueue").policy).decode()
    log = [Recorded(n, f"job:{id}", 1, "enqueued", 1, BEGIN + n, "test", policy) for n, id in enumerate((3, 50, 20), 1)]
    last = Tables(log).fold([record] for record in log).store.execute("select last from numbers")
    assert last == [(4 * numbers.BLOCK,)], "the end of the block of 50"


def test_what_is_claimed_anew_keeps_its_grants() -> None:
    needy = msgspec.structs.replace(Command("enqueue").policy, needs={"gpu": 1})
    log = written([Command("enqueue", policy=needy), Command("claim"), Command("release"), Command("claim")])
    tables = Tables(log).fold([log[:2], log[2:]])  # the second batch has the end of one attempt and another's claim
    assert tables.store.execute("select seq, resource, job, amount from grants") == [(4, "gpu", "1", 1)]


def test_a_failed_attempt_has_its_cause_and_usage() -> None:
    seen = Outcome(cause="output", exit_code=3, run_seconds=0.5, max_rss=7, output_bytes=9, output_cut=4, error="hm")
    log = written([Command("enqueue"), Command("claim"), Command("report", outcome=seen)])
    columns = "outcome, cause, exit_code, run_seconds, max_rss, output_bytes, output_cut, error, lease, ended_at"
    assert Tables(log).fold([log]).store.execute(f"select {columns} from attempts") == [
        ("failed", "output", 3, 0.5, 7, 9, 4, "hm", 2, log[-1].at)
    ]


@pytest.mark.parametrize("stream, event", [("job:a", Claimed(attempt=1, worker="w")), ("worker:w", Heartbeat())])
def test_an_impossible_history_is_named_with_its_seq(stream: str, event: msgspec.Struct) -> None:
    kind = "claimed" if stream == "job:a" else "heartbeat"
    record = Recorded(42, stream, 7, kind, 1, BEGIN, "test", encode(event).decode())
    with pytest.raises(Unreadable, match=rf"{stream} has a '{kind}' event \(seq 42\)"):
        evolve(None, record, record.event)


def test_differences_name_the_rows_and_are_limited() -> None:
    log = written([Command("enqueue")] * 9)
    live, scratch = Tables(log, [jobs]).fold([log]), Tables(log, [jobs]).fold([log])
    assert replay.differences(jobs, live.store, scratch.store) == []
    live.store.execute("update jobs set state = 'dead' where seq = 3")
    lines = replay.differences(jobs, live.store, scratch.store)
    assert [line.split(" (", 1)[0] for line in lines] == ["jobs has", "jobs lacks"]
    live.store.execute("delete from jobs")
    lines = replay.differences(jobs, live.store, scratch.store)
    assert len(lines) == 6
    assert lines[-1] == "jobs: and 4 rows more"


def test_differences_are_found_whatever_a_column_holds() -> None:
    class Anything:
        name, version, tables = "anything", 1, ("anything",)
        schema = "create table anything (a, b)"

        def fold(self, changes: Sequence[Change], store: Store) -> None:
            store.executemany("insert into anything values (?, ?)", [(c.record.seq, None) for c in changes])

    projection = Anything()
    live, scratch = Tables([], [projection]), Tables([], [projection])
    shared: list[tuple[Any, Any]] = [
        (None, None),
        (None, 2),
        (1, "x"),
        (2.5, "é"),
        ("10", 1),
        ("9", b"x"),
        (b"\xff", 1),
    ]
    insert = "insert into anything values (?, ?)"
    live.store.executemany(insert, [*reversed(shared), ("7", 0), (None, 1), (b"", None)])
    scratch.store.executemany(insert, [*shared, (3, 0)])
    assert replay.differences(projection, live.store, scratch.store) == [
        "anything has ('7', 0)", "anything has (None, 1)", "anything has (b'', None)", "anything lacks (3, 0)",
    ]  # fmt: skip

"""The health of every engine. No SQL, no type of a database and no path: see `conftest.py`."""

from queuectl.engines.base import Engine
from tests.support.engine_actions import add, claim, report


def test_a_new_database_is_sound_and_empty(engine: Engine) -> None:
    with engine.snapshot() as view:
        assert view.wal_backlog() >= 0
        assert view.free_space() >= 0
        assert (view.damage(), view.schema_differences()) == ([], [])
        assert (view.highest_seq(), view.streams(upto=0)) == (0, [])
        assert {each.seq for each in view.projection_statuses()} == {0}


def test_streams_are_listed_with_their_event_counts(engine: Engine) -> None:
    add(engine, "a", "b", "c")
    for _, lease in claim(engine, "w", 2):
        report(engine, lease)
    with engine.snapshot() as view:
        head = view.head()[0]
        assert view.highest_seq() == head
        assert view.streams(upto=head) == [("job:a", 3, 3), ("job:b", 3, 3), ("job:c", 1, 1)]
        assert view.streams(upto=3) == [("job:a", 1, 1), ("job:b", 1, 1), ("job:c", 1, 1)]
        assert view.streams(after="job:a", upto=head, limit=1) == [("job:b", 3, 3)]


def test_every_projection_is_at_the_head(engine: Engine) -> None:
    add(engine, "a")
    with engine.snapshot() as view:
        folded = {each.name: each for each in view.projection_statuses()}
    assert {"jobs", "attempts", "counts", "workers", "config"} <= set(folded)
    assert {(each.seq, each.source, each.broken) for each in folded.values()} == {(1, None, None)}


def test_a_damage_check_reports_its_progress(engine: Engine) -> None:
    add(engine, *(f"job {n}" for n in range(300)))
    told: list[tuple[int, int]] = []
    with engine.snapshot() as view:
        assert view.damage(lambda done, total: told.append((done, total))) == []
    assert told
    assert {total for _, total in told} == {0}

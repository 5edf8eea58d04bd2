"""`export` and `replay`: the log for other programs, and the tables made anew from it."""

import csv
import io
import os

import msgspec
import pytest

from tests.cli.conftest import Shell


@pytest.fixture
def used(queuectl: Shell) -> Shell:
    queuectl("enqueue", "--id", "a", "--queue", "q", 'echo "x, y"').ok()
    queuectl("enqueue", "--id", "b", "--max-retries", "0", "exit 3").ok()
    queuectl.drain()
    return queuectl


def _table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_events_as_csv_are_the_same_events(used: Shell):
    rows = _table(used("export", "--format", "csv").ok().out)
    events = used("export").ok().ndjson
    assert [{**row, "data": msgspec.json.decode(row["data"])} for row in rows] == [
        {**event, "seq": str(event["seq"]), "version": str(event["version"]), "v": str(event["v"])} for event in events
    ]


def test_jobs_and_attempts(used: Shell):
    jobs = used("export", "--what", "jobs").ok().ndjson
    assert {job["id"] for job in jobs} == {"a", "b"}
    attempts = used("export", "--what", "attempts").ok().ndjson
    assert {(attempt["job"], attempt["outcome"], attempt["exit_code"]) for attempt in attempts} == {
        ("a", "completed", 0), ("b", "failed", 3),
    }  # fmt: skip
    table = _table(used("export", "--what", "jobs", "--format", "csv").ok().out)
    assert {(row["id"], row["command"], row["signal"]) for row in table} == {
        ("a", 'echo "x, y"', ""),
        ("b", "exit 3", ""),
    }
    assert [
        row["job"] for row in _table(used("export", "--what", "attempts", "--job", "b", "--format", "csv").out)
    ] == ["b"]


def test_exports_can_be_limited(used: Shell):
    assert [event["type"] for event in used("export", "--type", "dead").ok().ndjson] == ["dead"]
    assert {event["stream"] for event in used("export", "--queue", "q").ndjson} == {"job:a"}
    assert [job["id"] for job in used("export", "--what", "jobs", "--queue", "q").ndjson] == ["a"]
    assert used("export", "--what", "attempts", "--since", "2099-01-01").ok().out == ""
    assert used("export", "--after", "2").ndjson[0]["seq"] == 3
    assert used("export", "--what", "jobs", "--type", "dead").refused(2)


def test_a_file_is_written_whole_or_not_at_all(used: Shell):
    answer = used("export", "-o", "out.ndjson").ok()
    assert answer.out == ""
    assert "wrote out.ndjson" in answer.err
    written = (used.folder / "out.ndjson").read_bytes()
    assert written == used("export").raw
    assert "--force" in used("export", "-o", "out.ndjson", "--what", "jobs").refused(1)
    assert (used.folder / "out.ndjson").read_bytes() == written
    used("export", "-o", "out.ndjson", "--what", "jobs", "--force").ok()
    assert (used.folder / "out.ndjson").read_bytes() == used("export", "--what", "jobs").raw
    assert sorted(path for path in os.listdir(used.folder) if "out" in path) == ["out.ndjson"]


@pytest.mark.parametrize("target", [".", "/dev/null", "nowhere/out", "fifo"])
def test_what_can_not_be_replaced_by_a_file_is_refused(used: Shell, target: str):
    os.mkfifo(used.folder / "fifo")
    used("export", "-o", target, "--force").refused(2)
    assert not os.path.isfile("/dev/null")


def test_replay_makes_the_same_tables(used: Shell):
    before = used("export", "--what", "jobs").raw + used("export", "--what", "attempts").raw
    assert used("replay").ok().out.startswith("replayed ")
    assert used("replay", "counts", "jobs").ok()
    assert used("export", "--what", "jobs").raw + used("export", "--what", "attempts").raw == before
    assert used("replay", "--check").ok().out == "the tables say what the log says\n"
    assert "'nope'" in used("replay", "nope").refused(1)


def test_a_difference_between_log_and_tables_is_told(used: Shell):
    import sqlite3

    with sqlite3.connect(used.folder / "q.db") as database:
        database.execute("update jobs set state = 'completed' where id = 'b'")
    database.close()
    answer = used("replay", "--check")
    assert answer.code == 1
    assert "jobs" in answer.out
    assert used("replay", "--check", "--json").json["ok"] is False
    used("replay").ok()
    assert used("replay", "--check").ok()


@pytest.mark.parametrize("what", ["jobs", "attempts"])
def test_the_filters_of_one_jobs_export_hold_together(queuectl: Shell, what: str):
    queuectl("enqueue", "--id", "a", "--queue", "mail", "true").ok()
    queuectl.drain()
    export = ("export", "--what", what, "--job", "a")
    assert len(queuectl(*export, "--queue", "mail").ndjson) == 1
    assert queuectl(*export, "--queue", "other").ndjson == []
    assert queuectl(*export, "--since", "2050-01-01").ndjson == []
    assert queuectl(*export, "--until", "2000-01-01").ndjson == []


def test_text_that_a_spreadsheet_would_run_as_a_formula_is_made_plain(queuectl: Shell):
    commands = {"=1+1": "=cmd", "+1": "+cmd", "@sum": "-cmd", "a=1": "a-1"}
    for id, command in commands.items():
        queuectl("enqueue", f'{{"id": "{id}", "priority": -5, "command": "{command}"}}').ok()
    rows = _table(queuectl("export", "--what", "jobs", "--format", "csv").ok().out)
    assert [row["id"] for row in reversed(rows)] == ["'=1+1", "'+1", "'@sum", "a=1"]
    assert [row["command"] for row in reversed(rows)] == ["'=cmd", "'+cmd", "'-cmd", "a-1"]
    assert {row["priority"] for row in rows} == {"-5"}, "a number is no text"
    assert [job["id"] for job in queuectl("export", "--what", "jobs").ndjson] == ["a=1", "@sum", "+1", "=1+1"]

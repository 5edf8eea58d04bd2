"""`export` and `replay`: the log for other programs, and the tables made anew from it."""

import csv
import io
import os
from collections.abc import Callable

import msgspec
import pytest

from tests.support.shell import Shell


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


def test_an_export_file_is_written_atomically(used: Shell):
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


def test_the_format_option_offers_every_format():
    from typing import get_args

    from queuectl.cli.commands import export
    from queuectl.export import FORMATS, WHAT

    assert get_args(get_args(export.Format)[0]) == tuple(FORMATS)
    assert get_args(get_args(get_args(export.What)[0])[0]) == WHAT


def test_an_event_export_prints_the_next_position(used: Shell):
    assert used("export", "--what", "jobs").ok().err == ""
    first = used("export", "-o", "first.ndjson").ok()
    last = first.err.split()[-1]
    assert first.err.endswith(f"up to event {last}; go on with --after {last}\n")
    assert used("export", "--after", last).ok().err == f"queuectl: no events; go on with --after {last}\n"
    used("enqueue", "true").ok()
    second = used("export", "--after", last, "-o", "second.ndjson").ok()
    assert second.err.endswith(f"go on with --after {int(last) + 1}\n")
    whole = (used.folder / "first.ndjson").read_bytes() + (used.folder / "second.ndjson").read_bytes()
    assert whole == used("export").raw
    assert used("export", "--type", "enqueued", "--job", "a").ok().err.endswith("--after 1\n")


@pytest.mark.parametrize("format", ["parquet", "ocel-json", "ocel-sqlite"])
def test_every_format_can_be_written_into_a_file(used: Shell, format: str):
    answer = used("export", "--format", format, "-o", "log").ok()
    assert "wrote log, " in answer.err
    file = used.folder / "log"
    assert file.stat().st_mode & 0o777 == 0o600
    begin = {"parquet": b"PAR1", "ocel-json": b"{", "ocel-sqlite": b"SQLite format 3"}[format]
    assert file.read_bytes().startswith(begin)
    before = file.read_bytes()
    assert "--force" in used("export", "--format", format, "-o", "log").refused(1)
    assert file.read_bytes() == before
    used("export", "--format", format, "-o", "log", "--force", "--type", "dead").ok()
    assert file.read_bytes() != before
    assert [path for path in os.listdir(used.folder) if "log" in path] == ["log"]
    assert used("replay", "--check").ok()


def test_binary_formats_are_refused_on_a_terminal(used: Shell, terminal: Callable[..., str]):
    shown = terminal("export", "--format", "parquet")
    assert shown == "queuectl: parquet is nothing to read: write it into a file with --output FILE\n"
    assert used("export", "--format", "parquet", "--what", "jobs").ok().raw.endswith(b"PAR1")
    assert "--output" in used("export", "--format", "ocel-sqlite").refused(2)


def test_without_pyarrow_parquet_says_what_to_install(used: Shell):
    (used.folder / "pyarrow.py").write_text("raise ImportError('none here')")
    used.env["PYTHONPATH"] = f"{used.folder}:{used.env['PYTHONPATH']}"
    message = "Parquet needs pyarrow: pip install 'queuectl-eventlog[parquet]'"
    assert used("export", "--format", "parquet", "-o", "log.parquet").refused(1) == message
    assert used("export", "--format", "parquet").refused(1) == message
    assert [path for path in os.listdir(used.folder) if "log" in path] == []
    used("export").ok()


@pytest.mark.parametrize("target", [".", "/dev/null", "nowhere/out", "fifo"])
def test_a_target_that_is_no_file_is_refused(used: Shell, target: str):
    os.mkfifo(used.folder / "fifo")
    used("export", "-o", target, "--force").refused(2)
    assert not os.path.isfile("/dev/null")


@pytest.mark.parametrize("name", ["q.db", "q.db-wal", "link"])
def test_the_queue_is_never_written_over(used: Shell, name: str):
    (used.folder / "link").symlink_to("q.db")
    before = used("export").raw
    assert "is the queue itself" in used("export", "-o", name, "--force").refused(2)
    assert used("export").ok().raw == before


def test_replay_makes_the_same_tables(used: Shell):
    before = used("export", "--what", "jobs").raw + used("export", "--what", "attempts").raw
    assert used("replay").ok().out.startswith("replayed ")
    assert used("replay", "counts", "jobs").ok()
    assert used("export", "--what", "jobs").raw + used("export", "--what", "attempts").raw == before
    assert used("replay", "--check").ok().out == "the tables say what the log says\n"
    assert "'nope'" in used("replay", "nope").refused(1)


def test_a_difference_between_log_and_tables_is_reported(used: Shell):
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
def test_filters_of_an_export_are_combined(queuectl: Shell, what: str):
    queuectl("enqueue", "--id", "a", "--queue", "mail", "true").ok()
    queuectl.drain()
    export = ("export", "--what", what, "--job", "a")
    assert len(queuectl(*export, "--queue", "mail").ndjson) == 1
    assert queuectl(*export, "--queue", "other").ndjson == []
    assert queuectl(*export, "--since", "2050-01-01").ndjson == []
    assert queuectl(*export, "--until", "2000-01-01").ndjson == []


def test_csv_escapes_spreadsheet_formulas(queuectl: Shell):
    commands = {"=1+1": "=cmd", "+1": "+cmd", "@sum": "-cmd", "a=1": "a-1"}
    for id, command in commands.items():
        queuectl("enqueue", f'{{"id": "{id}", "priority": -5, "command": "{command}"}}').ok()
    rows = _table(queuectl("export", "--what", "jobs", "--format", "csv").ok().out)
    assert [row["id"] for row in rows] == ["'=1+1", "'+1", "'@sum", "a=1"]
    assert [row["command"] for row in rows] == ["'=cmd", "'+cmd", "'-cmd", "a-1"]
    assert {row["priority"] for row in rows} == {"-5"}, "a number is no text"
    assert [job["id"] for job in queuectl("export", "--what", "jobs").ndjson] == ["=1+1", "+1", "@sum", "a=1"]


def test_csv_has_lists_and_objects_as_json(queuectl: Shell):
    queuectl("enqueue", "--secret", "K=v", "--env", "A=b", "--backoff", "1s,2s", "--", "echo", "a b").ok()
    [row] = _table(queuectl("export", "--what", "jobs", "--format", "csv").ok().out)
    assert [row[name] for name in ("argv", "env", "secrets", "backoff")] == [
        '["echo","a b"]', '{"A":"b"}', '["K"]', "[1.0,2.0]",
    ]  # fmt: skip


def test_columns_can_be_chosen(used: Shell):
    jobs = used("export", "--what", "jobs", "--columns", "id, state").ok().lines
    assert jobs[0] == f'{{"id":"{used("export", "--what", "jobs").ndjson[0]["id"]}","state":"{_state(used)}"}}'
    assert used("export", "--what", "attempts", "--columns", "job", "--format", "csv").ok().lines[0] == "job"
    some = used("export", "--columns", "data,at", "--columns", "seq").ndjson
    for chosen, whole in zip(some, used("export").ndjson, strict=True):
        assert list(chosen.items()) == [(name, whole[name]) for name in ("data", "at", "seq")]
    parquet = used("export", "--what", "jobs", "--format", "parquet", "--columns", "state,id").ok().raw
    import pyarrow
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(pyarrow.BufferReader(parquet)).column_names == ["state", "id"]


def _state(used: Shell) -> str:
    return used("export", "--what", "jobs").ndjson[0]["state"]


@pytest.mark.parametrize(
    "columns,told",
    [("seq,stram", "'stram' is no column of events (did you mean 'stream'?)"), ("", "'' is no column"),
     ("seq,seq", "one is named twice")],
)  # fmt: skip
def test_columns_that_are_not_there(used: Shell, columns: str, told: str):
    assert told in used("export", "--columns", columns).refused(2)

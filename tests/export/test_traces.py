"""Attempts as GNU parallel's joblog, and as a trace for Perfetto."""

import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import msgspec
import pytest
from freezegun import freeze_time

from queuectl import Queue, clock
from queuectl.audit.import_log import load
from queuectl.export import export
from tests.support.one_worker import OneWorker
from tests.support.paths import ROOT
from tests.support.shell import Shell

HEAD = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand"


@pytest.fixture
def ended(queuectl: Shell) -> Shell:
    """A queue whose jobs have ended in all ways."""
    queuectl("enqueue", "--id", "other", "--queue", "other", "--timeout", "0.2", "--max-retries", "0", "sleep 5").ok()
    options = ("--max-retries", "1", "--backoff", "0", "--batch", "b", "--tag", "of={#}")
    queuectl("enqueue", "--each", *options, ". {}", ":::", "./good", "./bad\n", "./killed").ok()
    for name, line in {"good": "printf abc", "bad\n": "exit 3", "killed": "kill -9 $$"}.items():
        (queuectl.folder / name).write_text(line)
    queuectl("enqueue", "--hold", "--batch", "b", "true").ok()
    queuectl.drain()
    return queuectl


def started(queuectl: Shell) -> list[dict[str, Any]]:
    """The attempts, without those that were given back before they started."""
    return [each for each in queuectl("export", "--what", "attempts").ok().ndjson if each["started_at"]]


def trace(queuectl: Shell, *words: str) -> list[dict[str, Any]]:
    return queuectl("export", "--format", "trace", *words).ok().json["traceEvents"]


def test_a_joblog_has_a_line_for_each_attempt(ended: Shell):
    head, *lines = ended("export", "--format", "joblog").ok().out.splitlines()
    assert head == HEAD
    rows = [line.split("\t") for line in lines]
    assert all(len(row) == 9 for row in rows)
    assert sorted((row[0], *row[4:]) for row in rows) == [
        ("1", "0", "0", "-1", "15", "sleep 5"), ("2", "0", "3", "0", "0", ". ./good"),
        *[("3", "0", "0", "3", "0", ". './bad\0'")] * 2, *[("4", "0", "0", "0", "9", ". ./killed")] * 2,
    ]  # fmt: skip
    attempts = started(ended)
    assert [row[2:4] for row in rows] == [
        [f"{clock.micros(each['started_at']) / 1e6:.3f}", f"{each['run_seconds']:10.3f}"] for each in attempts
    ]
    chosen = ended("export", "--format", "joblog", "--where", "batch:b -exit:137").ok().out.splitlines()[1:]
    assert {tuple(line.split("\t")[i] for i in (0, 8)) for line in chosen} == {("1", ". ./good"), ("2", ". './bad\0'")}


def test_an_exit_value_says_what_succeeded(queuectl: Shell):
    queuectl("enqueue", "--ok-codes", "3", "exit 3").ok()
    queuectl("enqueue", "--timeout", "20s", "trap 'exit 0' TERM; touch on; sleep 20 & wait").ok()
    worker = queuectl.start("worker", "start", "--drain", "--slots", "2")
    subprocess.run(
        ["sh", "-c", "until test -e on; do sleep 0.02; done"], cwd=queuectl.folder, timeout=20, check=True
    )  # fmt: skip
    queuectl("cancel", "2").ok()
    worker.communicate(timeout=20)
    rows = [line.split("\t") for line in queuectl("export", "--format", "joblog").ok().out.splitlines()[1:]]
    assert [row[6:8] for row in rows] == [["0", "0"], ["-1", "0"]]


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_gnu_parallel_resumes_what_failed(ended: Shell):
    ended("export", "--format", "joblog", "--where", "batch:b", "-o", "log").ok()
    done = subprocess.run(
        ["parallel", "--resume-failed", "--joblog", "log", "echo", ":::", "good", "bad", "killed", "new"],
        cwd=ended.folder, capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    assert sorted(done.stdout.decode().split()) == ["bad", "killed", "new"]


def test_a_trace_has_each_attempt_in_a_slot(ended: Shell):
    events = trace(ended)
    spans = [event for event in events if event["ph"] == "X"]
    attempts = started(ended)
    assert [(event["ts"], event["dur"], event["cat"], event["args"]["job"]) for event in spans] == [
        (clock.micros(each["started_at"]), round(each["run_seconds"] * 1e6), each["outcome"], each["job"])
        for each in attempts
    ]
    [good] = [event for event in spans if event["name"] == ". ./good"]
    assert {name: good["args"][name] for name in ("command", "batch", "tags", "exit_code", "number", "queue")} == {
        "command": ". ./good", "batch": "b", "tags": {"of": "1"}, "exit_code": 0, "number": 1, "queue": "default",
    }  # fmt: skip
    names = {(event["name"], event["args"]["name"]) for event in events if event["ph"] == "M"}
    [worker] = {each["worker"] for each in attempts}
    assert names >= {("thread_name", "slot 1"), ("thread_name", "slot 2")}
    assert [name for kind, name in names if kind == "process_name"] == [f"worker {worker} on {_host(ended)}"]


def _host(queuectl: Shell) -> str:
    [started] = queuectl("events", "--type", "worker_started", "--json").ok().ndjson
    return started["data"]["host"]


def test_attempts_in_one_slot_do_not_overlap(tmp_path: Path):
    with Queue(tmp_path / "q.db") as queue:
        load(queue, (ROOT / "tests" / "data" / "queue_v1.ndjson").read_bytes().splitlines(keepends=True))
        events = msgspec.json.decode(b"".join(export(queue, what="attempts", format="trace")))["traceEvents"]
    slots: dict[tuple[int, int], list[tuple[int, int]]] = {}
    named = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    for event in events:
        if event["ph"] == "X":
            slots.setdefault((event["pid"], event["tid"]), []).append((event["ts"], event["ts"] + event["dur"]))
    assert slots.keys() == named
    assert any(len(spans) > 1 for spans in slots.values())
    for spans in slots.values():
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(sorted(spans)))


def test_what_runs_lasts_until_now(tmp_path: Path):
    with freeze_time("2026-11-24T09:00:00Z") as frozen:
        worker = OneWorker(tmp_path)
        worker.add("a")
        worker.claim()
        frozen.tick(5)
        made = b"".join(export(worker.queue, what="attempts", format="trace"))
        worker.queue.close()
    [*_, event] = msgspec.json.decode(made)["traceEvents"]
    assert 4_999_900 < event["dur"] <= 5_000_000
    assert event["cat"] == "running"


def test_an_empty_trace_is_one(queuectl: Shell):
    queuectl.make()
    assert trace(queuectl) == []
    assert queuectl("export", "--format", "joblog").ok().out == f"{HEAD}\n"


@pytest.mark.parametrize("format", ["joblog", "trace"])
def test_both_are_of_attempts_alone(queuectl: Shell, format: str):
    queuectl.make()
    told = queuectl("export", "--format", format, "--what", "jobs").refused(2)
    assert told == f"{format} is a format of attempts, not of jobs"
    assert queuectl("export", "--format", format, "--columns", "job").refused(2) == f"columns: {format} has its own"

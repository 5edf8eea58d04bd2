"""A job file that a person would have: compress every file of a tree, all kinds of names, some commands failing.

Drained by four slots, then looked at, repaired, sent back and exported, all through the command line.
"""

import csv
import gzip
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

NAMES = [
    "index.html",
    "about us.html",
    "it's here.txt",
    'she said "no".txt',
    "-starts-with-a-dash.txt",
    "$HOME & more; true.txt",
    "grüße/straße ☂.txt",
    "a/b/c/d/deep.log",
    "semi;colon|pipe.csv",
    "100%.txt",
    "back\\slash.txt",
    *(f"logs/2026-{month:02d}.log" for month in range(1, 13)),
]

MAKE_JOB_FILE = "find tree -type f -print0 | sort -z | xargs -0 printf 'gzip -9k -- %q\\n' > jobs.txt"

FAILING = """
# what some of last year's scripts do
gzip -9k -- tree/report.csv
no-such-program --optimise tree/index.html
{"id": "flaky", "command": "test -e tried || { touch tried; echo not yet >&2; exit 75; }"}
{"id": "killed", "command": "kill -9 $$", "max_retries": 0}
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs a line of shell, as the person would in that folder."""
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "LANG": "C.UTF-8",
        "QUEUECTL_DB": str(tmp_path / "jobs.db"),
    }

    def shell(line: str, code: int = 0) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=env,
            capture_output=True,
            text=True,
            timeout=50,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, f"{line}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return shell


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def started(job: dict[str, Any]) -> list[dict[str, Any]]:
    """The attempts of a job's document whose command was started; others were claimed ahead, and given back."""
    return [attempt for attempt in job["attempts"] if attempt["outcome"] != "released"]


def test_compressing_a_tree(tmp_path: Path, run: Run) -> None:
    contents = {name: f"{name}\n".encode() * 1000 for name in NAMES}
    for name, content in contents.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    run(MAKE_JOB_FILE)
    with open(tmp_path / "jobs.txt", "a", encoding="utf-8") as jobs:
        jobs.write(FAILING)

    ids = run("queuectl enqueue --file jobs.txt --max-retries 1 --backoff-base 1").stdout.split()
    assert len(ids) == len(set(ids)) == len(NAMES) + 4
    missing, unknown = ids[len(NAMES)], ids[len(NAMES) + 1]
    assert ids[-2:] == ["flaky", "killed"]

    run("queuectl worker start --slots 4 --drain")

    for name, content in contents.items():
        assert gzip.decompress((tmp_path / "tree" / f"{name}.gz").read_bytes()) == content
    status = json.loads(run("queuectl status").stdout)
    assert (status["completed"], status["dead"], status["total"]) == (len(NAMES) + 1, 3, len(ids))
    assert status["workers"] == 0

    buried = {job["id"]: job for job in objects(run("queuectl dlq list --json").stdout)}
    assert set(buried) == {missing, unknown, "killed"}

    history = objects(run(f"queuectl inspect {missing} --events --json").stdout)
    told = [(event["type"], event["state"]) for event in history if event["type"] != "heartbeat"]
    while ("released", "pending") in told:  # claimed ahead, and given back on a slow machine
        at = told.index(("released", "pending"))
        del told[at - 1 : at + 1]
    assert told == [
        ("enqueued", "pending"),
        ("claimed", "processing"),
        ("failed", "failed"),
        ("retried", "failed"),
        ("claimed", "processing"),
        ("failed", "failed"),
        ("dead", "dead"),
    ]
    failures = [event["data"] for event in history if event["type"] == "failed"]
    assert [(data["cause"], data["exit_code"], data["attempt"]) for data in failures] == [
        ("exit", 1, 1),
        ("exit", 1, 2),
    ]
    assert "No such file or directory" in run(f"queuectl logs {missing}").stdout

    jobs = {id: json.loads(run(f"queuectl inspect {id} --json").stdout) for id in (unknown, "killed", "flaky")}
    assert [attempt["exit_code"] for attempt in started(jobs[unknown])] == [127, 127]
    assert [attempt["signal"] for attempt in started(jobs["killed"])] == [9]
    assert [attempt["exit_code"] for attempt in started(jobs["flaky"])] == [75, 0]

    # The report has come; its job is sent back, with a reason.
    (tmp_path / "tree" / "report.csv").write_text("a,b\n1,2\n")
    run(f"queuectl dlq retry {missing} --reason 'the report has come'")
    run("queuectl worker start --slots 4 --drain")

    assert gzip.decompress((tmp_path / "tree" / "report.csv.gz").read_bytes()) == b"a,b\n1,2\n"
    job = json.loads(run(f"queuectl inspect {missing} --json").stdout)
    assert job["state"] == "completed"
    assert [attempt["number"] for attempt in started(job)] == [1, 2, 3]
    again = next(e for e in objects(run(f"queuectl events --job {missing} --json").stdout) if e["type"] == "requeued")
    assert again["data"]["reason"] == "the report has come"
    assert again["actor"].startswith("cli:")

    run("queuectl export --format ndjson -o audit.ndjson")
    exported = (tmp_path / "audit.ndjson").read_text()
    assert exported == run("queuectl events --json").stdout
    events = objects(exported)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert Counter(event["type"] for event in events)["enqueued"] == len(ids)

    run("queuectl export --what jobs --format csv -o jobs.csv")
    with open(tmp_path / "jobs.csv", newline="", encoding="utf-8") as file:
        rows = {row["id"]: row for row in csv.DictReader(file)}
    assert {id: row["state"] for id, row in rows.items() if row["state"] != "completed"} == {
        unknown: "dead",
        "killed": "dead",
    }
    assert len(rows) == len(ids)

    before = run("queuectl list --json").stdout
    run("queuectl replay --check")
    run("queuectl replay")
    assert run("queuectl list --json").stdout == before

    folder = tmp_path / "jobs.db.d"
    assert os.stat(folder).st_mode & 0o777 == 0o700
    assert {os.stat(path).st_mode & 0o777 for path in (folder / "output").iterdir()} <= {0o600}

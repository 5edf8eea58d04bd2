"""`import --joblog` and `import --pueue`: what other programs have on record becomes jobs."""

import json
import shutil
import subprocess
from typing import Any

import pytest

from tests.support.shell import Shell

HEAD = "Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand\n"
AT = "2026-11-30T10:00:00.123456789+01:00"


NESTED = b'{"tasks": {"1": {"command": "a", "path": "/", "status": ' + b"[" * 100_000
"""A status that is too deep to be read."""


def line(seq: int, code: int, signal: int, command: str) -> str:
    return f"{seq}\t:\t1796073252.788\t     0.002\t0\t0\t{code}\t{signal}\t{command}\n"


LOG = (
    HEAD + line(2, 3, 0, "b\tx") + line(1, 0, 0, "a") + line(3, 0, 9, "echo 'c\0d'") + line(4, 0, 0, "e")
    + line(1, -1, 15, "a") + line(3, 0, 0, "late")
)  # fmt: skip


def task(id: int, status: Any, **more: Any) -> dict[str, Any]:
    return {
        "id": id, "created_at": AT, "original_command": "gs", "command": f"echo {id}", "path": "/tmp", "envs": {},
        "group": "default", "dependencies": [], "priority": 0, "label": None, "status": status, **more,
    }  # fmt: skip


def queued(version: int) -> Any:
    return "Queued" if version == 3 else {"Queued": {"enqueued_at": AT}}


def done(version: int, result: Any) -> Any:
    return {"Done": result if version == 3 else {"enqueued_at": AT, "start": AT, "end": AT, "result": result}}


def status(*tasks: dict[str, Any], **groups: tuple[str, int]) -> bytes:
    return json.dumps({
        "tasks": {str(each["id"]): each for each in tasks},
        "groups": {name: {"status": state, "parallel_tasks": many} for name, (state, many) in groups.items()},
    }).encode()  # fmt: skip


def commands(queuectl: Shell, *words: str, stdin: bytes) -> list[str]:
    specs = queuectl("import", *words, "-", "--dry-run", "--json", stdin=stdin).ok().ndjson
    assert queuectl.total() == 0
    return [spec["command"] for spec in specs]


def test_what_failed_in_a_joblog_is_taken(queuectl: Shell):
    assert commands(queuectl, "--joblog", stdin=LOG.encode()) == ["a", "b\tx"]
    assert commands(queuectl, "--joblog", "--all", stdin=LOG.encode()) == ["a", "b\tx", "late", "e"]
    (queuectl.folder / "log").write_text(LOG)
    answer = queuectl("import", "--joblog", "log").ok()
    assert answer.out == "took in 2 jobs, 1 to 2\n"
    assert answer.err.endswith("queuectl: left out 2 that have ended; --all takes them in too, to run again\n")
    jobs = {job["id"]: job for job in queuectl("list", "--json").ndjson}
    assert {id: (job["command"], job["state"], job["timeout"]) for id, job in jobs.items()} == {
        "1": ("a", "pending", None), "2": ("b\tx", "pending", None),
    }  # fmt: skip
    assert queuectl("import", "--joblog", "--json", "log").ok().json == {
        "jobs": ["3", "4"], "left_out": 2, "concurrency": {},
    }  # fmt: skip


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_the_joblog_of_gnu_parallel_is_read(queuectl: Shell):
    lines = ["true", "echo 'a\nb'; exit 3", "kill -9 $$", "exit 0"]
    subprocess.run(
        ["parallel", "-0", "--joblog", "log"], input="\0".join(lines).encode(), cwd=queuectl.folder, timeout=60,
        capture_output=True, check=False,
    )  # fmt: skip
    log = (queuectl.folder / "log").read_bytes()
    assert commands(queuectl, "--joblog", stdin=log) == lines[1:3]
    queuectl("config", "set", "max-retries", "0").ok()
    queuectl("import", "--joblog", "--all", "-", stdin=log).ok()
    queuectl.drain()
    again = queuectl("export", "--format", "joblog").ok().raw
    specs = queuectl("import", "--joblog", "-", "--dry-run", "--json", stdin=again).ok().ndjson
    assert [spec["command"] for spec in specs] == lines[1:3], "ours is read as well"


@pytest.mark.parametrize("version", [3, 4])
def test_tasks_of_pueue_become_jobs(queuectl: Shell, version: int):
    running = "Running" if version == 3 else {"Running": {"enqueued_at": AT, "start": AT}}
    paused = "Paused" if version == 3 else {"Paused": {"enqueued_at": AT, "start": AT}}
    locked = {"status": "Locked", "prev_status": queued(3)} if version == 3 else {
        "status": {"Locked": {"previous_status": queued(4)}}
    }  # fmt: skip
    data = status(
        task(0, done(version, "Success")), task(8, done(version, {"Failed": 1})),
        task(1, queued(version), dependencies=[0, 3, 77], priority=-5, label="night"),
        task(2, {"Stashed": {"enqueue_at": None}}),
        task(3, running, envs={"A": "b c", "API_TOKEN": "s3cret", "F%%": "x"}),
        task(4, {"Stashed": {"enqueue_at": "2099-01-01T00:00:00.123456789+01:00"}}), task(5, paused),
        task(6, None) | locked, task(7, queued(version), group="gpu", path="/usr"),
        task(9, queued(version), group="off"), task(10, {"Stashed": {"enqueue_at": AT}}),
        default=("Running", 0), gpu=("Running", 2), off=("Paused", 3), unused=("Running", 4),
    )  # fmt: skip
    (queuectl.folder / "status.json").write_bytes(data)
    answer = queuectl("import", "--pueue", "status.json").ok()
    assert answer.out == "took in 9 jobs, 1 to 9\n"
    assert "left out 2 that have ended" in answer.err
    assert "queue gpu: at most 2 at once" in answer.err
    jobs = {job["tags"]["pueue"]: job for job in queuectl("list", "--json").ndjson}
    held = {"2", "5", "9"}
    assert {id: job["held"] for id, job in jobs.items()} == {str(id): str(id) in held for id in (*range(1, 8), 9, 10)}
    assert {(job["timeout"], job["max_retries"], job["state"]) for id, job in jobs.items() if id != "1"} == {
        (None, 0, "pending")
    }
    first = jobs["1"]
    assert (first["state"], first["after"], first["priority"], first["command"]) == (
        "blocked", [jobs["3"]["id"]], -5, "echo 1",
    )  # fmt: skip
    assert first["tags"] == {"pueue": "1", "label": "night"}
    assert (jobs["3"]["env"], jobs["3"]["secrets"]) == ({"A": "b c"}, ["API_TOKEN"])
    assert jobs["4"]["run_at"] == "2098-12-31T23:00:00.123456Z"
    assert jobs["10"]["run_at"] == jobs["10"]["enqueued_at"]
    assert (jobs["7"]["queue"], jobs["7"]["cwd"]) == ("gpu", "/usr")
    assert "s3cret" not in queuectl("events", "--json").out
    limits = {
        each["queue"]: each["concurrency"] for each in queuectl("queue", "list", "--json").ndjson if each["queue"]
    }
    assert {name: limits[name] for name in ("default", "gpu", "off")} == {"default": None, "gpu": 2, "off": 3}
    assert "unused" not in limits


def test_a_limit_that_is_there_stays(queuectl: Shell):
    queuectl("queue", "set", "gpu", "--concurrency", "5").ok()
    data = status(task(1, queued(4), group="gpu"), task(2, done(4, "Killed")), gpu=("Running", 2))
    assert queuectl("import", "--pueue", "--all", "--json", "-", stdin=data).ok().json == {
        "jobs": ["1", "2"], "left_out": 0, "concurrency": {},
    }  # fmt: skip
    assert queuectl("queue", "list", "--json").ndjson[-1]["concurrency"] == 5


@pytest.mark.parametrize(
    "words,data,told",
    [
        (["--joblog"], b"", ""),
        (["--joblog"], b"Seq\tHost\n", "stdin: line 1: is not the head of a joblog"),
        (["--joblog"], (HEAD + "1\t:\t0\n").encode(), "line 2: has 3 columns; a joblog has 9"),
        (["--joblog"], (HEAD + line(1, 1, 0, "a").replace("1\t", "x\t", 1)).encode(), "line 2: Seq, Exitval and"),
        (["--joblog"], (HEAD + line(1, 1, 0, " ")).encode(), "line 2: the command is empty"),
        (["--joblog"], (HEAD + line(1, 1, 0, "x" * 140_000)).encode(), "line 2: the command: is 140000 bytes long"),
        (["--joblog"], (HEAD + line(1, 1, 0, "x" * 2_000_000)).encode(), "line 2: is longer than 1048576 bytes"),
        (["--joblog"], HEAD.encode() + line(1, 1, 0, "@").encode().replace(b"@", b"\xff"), "line 2: the command is"),
        (["--pueue"], b"", "is not what `pueue status --json` prints"),
        (["--pueue"], NESTED, "is not what `pueue status --json` prints"),
        (["--pueue"], b'{"tasks": {"1": {"command": 5}}}', "is not what `pueue status --json` prints: Expected `str`"),
        (["--pueue"], status(task(1, "Sleeping")), "task 1: its status is none that is known: 'Sleeping'"),
        (["--pueue"], status(task(1, {})), "task 1: its status is none that is known: '{}'"),
        (["--pueue"], status(task(1, {"Locked": {}})), "task 1: its status is none that is known"),
        (["--pueue"], status(task(7, "Queued", group="a b")), "task 7: queue: 'a b' has a space"),
        (["--pueue"], status(task(7, "Queued", label="a\nb")), "task 7: tag: label="),
        (["--pueue"], status(task(7, "Queued", priority=2**40)), "task 7: priority: 1099511627776"),
        (["--pueue"], status(task(7, "Queued"), default=("Running", 10**7)), "group default: concurrency: 1"),
        (["--pueue"], status(task(7, "Queued"), default=("Running", -1)), "group default: concurrency: -1 is not"),
        (["--pueue"], status(task(7, {"Stashed": {"enqueue_at": "x"}})), "task 7: 'x'"),
        (["--pueue"], status(task(1, done(4, {"Failed": 1})), task(2, "Queued", dependencies=[1])),
         "task 2: depends on task 1, which has failed and is left out"),
        (["--pueue"], status(task(1, "Queued", dependencies=[2]), task(2, "Queued", dependencies=[1])),
         "task 1, task 2: after: 1 -> 2 -> 1: they wait for each other"),
        (["--pueue", "--joblog"], b"", "--joblog and --pueue"),
        (["--all"], b"", "--all goes with --joblog or --pueue"),
        (["--dry-run"], b"", "--dry-run goes with --joblog or --pueue"),
    ],
)  # fmt: skip
def test_a_bad_record_changes_nothing(queuectl: Shell, words: list[str], data: bytes, told: str):
    if not told:
        assert queuectl("import", *words, "-", stdin=data).ok().out == "took in 0 jobs\n"
        return
    message = queuectl("import", *words, "-", stdin=data).refused(2)
    assert told in message
    assert len(message) < 300
    assert queuectl.total() == 0


def test_a_refused_import_leaves_nothing_in_the_log(queuectl: Shell):
    data = status(
        task(1, "Queued", dependencies=[2], group="gpu"), task(2, "Queued", dependencies=[1]), gpu=("Running", 2)
    )
    queuectl("import", "--pueue", "-", stdin=data).refused(2)
    assert queuectl("events", "--json").ndjson == []


def test_a_record_that_cannot_be_read(queuectl: Shell):
    assert queuectl("import", "--joblog", "nope").refused(2) == "can't read 'nope': No such file or directory"
    queuectl.make()
    assert "is the queue itself" in queuectl("import", "--pueue", "q.db").refused(2)

"""Every program in examples/ is run for real: as it says, with a worker beside it, in a folder of its own."""

import json
import re
import signal
import subprocess
import sys
import tomllib
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from queuectl import Queue
from tests.support.paths import ROOT
from tests.support.transcripts import environment

if TYPE_CHECKING:
    from tests.support.postgres.database import Database

EXAMPLES = ROOT / "examples"
FILES = {
    "README.md", "analyse_backup.py", "debian/build", "enqueue_and_wait.py", "enqueue_once.py", "http_service.py",
    "job_file.sh", "jobs.ndjson", "nightly.sh", "notify.py", "outbox.py", "progress.py", "progress.sh",
    "runs_per_day/pyproject.toml", "runs_per_day/runs_per_day.py", "same_transaction.py",
}  # fmt: skip


class Folder:
    """A folder with a queue in it, and what a person would type there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.env = environment(path) | {"QUEUECTL_DB": str(path / "jobs.db")}

    def __call__(self, *words: str | Path, code: int = 0) -> str:
        """Run a program and return what it printed."""
        done = subprocess.run(
            words, cwd=self.path, env=self.env, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    def python(self, name: str, *words: str | Path) -> str:
        return self(sys.executable, EXAMPLES / name, *words)

    def start(self, name: str, *words: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, EXAMPLES / name, *words], cwd=self.path, env=self.env, stdout=subprocess.PIPE, text=True
        )

    @contextmanager
    def worker(self) -> Iterator[None]:
        self("queuectl", "worker", "start", "--slots", "2", "--detach")
        try:
            yield
        finally:
            self("queuectl", "stop-workers", "--now")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def test_every_file_of_the_examples_is_run_here() -> None:
    files = [file.relative_to(EXAMPLES) for file in EXAMPLES.rglob("*") if file.is_file()]
    assert {str(file) for file in files if "__pycache__" not in file.parts} == FILES
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert [name for name in FILES - {"README.md", "runs_per_day/pyproject.toml"} if f"({name})" not in listed] == []


def test_enqueue_and_wait(folder: Folder) -> None:
    with folder.worker():
        assert folder.python("enqueue_and_wait.py").splitlines() == [
            "echo hello from attempt $QUEUECTL_ATTEMPT: completed in attempt 1, exit code 0",
            "test -e /no/such/file: dead in attempt 2, exit code 1",
            "it wrote: hello from attempt 1",
        ]


def test_enqueue_once(folder: Folder) -> None:
    logs = folder.path / "logs"
    logs.mkdir()
    (logs / "a.log").write_text("a")
    assert folder.python("enqueue_once.py", logs).startswith("enqueued gzip-a.log-")
    assert folder.python("enqueue_once.py", logs).startswith("passed over: there is a job")
    folder("queuectl", "worker", "start", "--drain")
    assert (logs / "a.log.gz").exists()


def test_job_file(folder: Folder) -> None:
    with folder.worker():
        told = folder("sh", EXAMPLES / "job_file.sh", EXAMPLES / "jobs.ndjson").splitlines()
    assert told[-2] == "failed:"
    assert json.loads(told[-1])["id"] == "four"
    assert folder("queuectl", "logs", "three") == "no shell: $HOME stays as it is\n"


def test_nightly_enqueues_once_a_day(folder: Folder) -> None:
    (folder.path / "notes").mkdir()
    for _ in range(2):
        assert folder("sh", EXAMPLES / "nightly.sh") == ""
    folder("queuectl", "worker", "start", "--drain")
    assert json.loads(folder("queuectl", "status", "--json"))["completed"] == 1
    assert len(list(folder.path.glob("backup-*.tar.gz"))) == 1
    (folder.path / "jobs.db").write_text("no database")
    folder("sh", EXAMPLES / "nightly.sh", code=4)


def test_jobs_tell_how_far_they_are(folder: Folder) -> None:
    (folder.path / "a.txt").write_text("a")
    folder("queuectl", "enqueue", "--id", "files", "--", "sh", EXAMPLES / "progress.sh", "a.txt")
    folder("queuectl", "enqueue", "--id", "primes", "--", sys.executable, EXAMPLES / "progress.py", "10000")
    folder("queuectl", "worker", "start", "--drain")
    files, primes = (json.loads(folder("queuectl", "inspect", id, "--json")) for id in ("files", "primes"))
    assert [note["text"] for job in (files, primes) for note in job["notes"]] == [
        "1 files compressed",
        "1,229 primes below 10,000",
    ]
    [attempt] = primes["attempts"]
    assert (attempt["progress"], attempt["progress_text"]) == (100, "10,000 of 10,000")
    assert files["attempts"][0]["progress"] == 100
    assert (folder.path / "a.txt.gz").exists()


def test_notify(folder: Folder) -> None:
    received: list[dict[str, Any]] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            pass

    folder("queuectl", "enqueue", "--id", "before", "true")
    folder("queuectl", "cancel", "before")
    with HTTPServer(("localhost", 0), Hook) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        notifier = folder.start("notify.py", f"http://localhost:{server.server_port}", "2")
        with folder.worker(), notifier:
            assert notifier.stdout is not None
            assert notifier.stdout.readline() == "following\n"
            folder("queuectl", "enqueue", "--id", "good", "true")
            folder("queuectl", "wait", "good")
            folder("queuectl", "enqueue", "--id", "bad", "--max-retries", "0", "exit 3")
            assert notifier.wait(timeout=30) == 0
        server.shutdown()
    assert [(each["id"], each["state"], each["exit_code"]) for each in received] == [
        ("good", "completed", 0),
        ("bad", "dead", 3),
    ]


def test_analyse_backup(folder: Folder) -> None:
    folder("queuectl", "enqueue", "sleep 0.5")
    folder("queuectl", "enqueue", "--max-retries", "1", "--backoff-base", "1", "--backoff-max", "0.1", "exit 3")
    folder("queuectl", "worker", "start", "--drain")
    slow, fast, failed = folder.python("analyse_backup.py").splitlines()
    assert re.fullmatch(r"sleep 0.5: 1 runs, 0\.\d+ s, the longest 0\.\d+ s", slow)
    assert re.fullmatch(r"exit 3: 2 runs, 0\.\d+ s, the longest 0\.\d+ s", fast)
    assert failed == "failed by exit 3: 2 times"


def test_http_service(folder: Folder) -> None:
    text = "; echo $HOME 'ü'"
    with folder.worker(), folder.start("http_service.py", "0") as service:
        try:
            assert service.stdout is not None
            url = service.stdout.readline().strip()
            with urllib.request.urlopen(url, text.encode(), timeout=10) as answer:
                assert answer.status == 202
                id = json.loads(answer.read())["id"]
            folder("queuectl", "wait", id)
            with urllib.request.urlopen(f"{url}/{id}", timeout=10) as answer:
                assert json.loads(answer.read()) == {"id": id, "state": "completed", "exit_code": 0}
        finally:
            service.send_signal(signal.SIGINT)
        assert service.wait(timeout=10) == 0
    assert folder("queuectl", "logs", id) == folder(
        sys.executable, "-c", f"import hashlib; print(hashlib.sha256({text!r}.encode()).hexdigest())"
    )


def test_outbox(folder: Folder) -> None:
    assert folder.python("outbox.py", "shop.db", "lamp", "chair", "chair", "lamp").splitlines() == [
        "ordered: lamp", "ordered: chair", "sold out: chair", "ordered: lamp",
    ]  # fmt: skip
    for _ in range(2):
        folder("queuectl", "worker", "start", "--outbox", "shop.db", "--drain")
    assert folder("queuectl", "logs", "mail-1", "mail-2", "mail-3").splitlines() == [
        "mail-1 | order 1: a lamp is on its way",
        "mail-2 | order 2: a chair is on its way",
        "mail-3 | order 3: a lamp is on its way",
    ]
    assert json.loads(folder("queuectl", "status", "--json"))["total"] == 3


def test_same_transaction(folder: Folder, postgres: "Database") -> None:
    shop = f"{postgres.schema}_shop"
    postgres.execute(f"create schema {shop} authorization queuectl")
    folder.env |= {"QUEUECTL_DB": postgres.url, "PGOPTIONS": f"-c search_path={shop}"}
    database = postgres.url.partition("?")[0]
    try:
        told = folder.python("same_transaction.py", database, postgres.schema, "lamp", "chair", "chair", "lamp")
        assert told.splitlines() == [
            "ordered: lamp, job 1", "ordered: chair, job 2", "sold out: chair", "ordered: lamp, job 3",
        ]  # fmt: skip
    finally:
        postgres.execute(f"drop schema {shop} cascade")
    with Queue(postgres.url) as queue:
        assert [job.policy.argv for job in sorted(queue.jobs(), key=lambda job: int(job.id))] == [
            ["echo", "order 1: a lamp is on its way"],
            ["echo", "order 2: a chair is on its way"],
            ["echo", "order 4: a lamp is on its way"],
        ]


def test_runs_per_day(folder: Folder) -> None:
    folder("queuectl", "enqueue", "true")
    folder("queuectl", "worker", "start", "--drain")
    install(EXAMPLES / "runs_per_day", folder.path / "site")
    folder.env["PYTHONPATH"] = str(folder.path / "site")
    folder("queuectl", "replay")
    folder("queuectl", "enqueue", "--max-retries", "0", "exit 3")
    folder("queuectl", "worker", "start", "--drain")
    rows = folder(
        sys.executable, "-m", "apsw", "-nocolour", "jobs.db",
        "select command, sum(runs), sum(failed), sum(seconds) > 0 from runs_per_day group by command order by command",
    )  # fmt: skip
    assert rows.splitlines() == ["exit 3|1|1|1", "true|1|0|1"]
    assert folder("queuectl", "replay", "--check") == "the tables say what the log says\n"


def install(project: Path, site: Path) -> None:
    """What pip would do with a project of one module, without asking an index for its build backend."""
    about = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    name, version = about["project"]["name"].replace("-", "_"), about["project"]["version"]
    info = site / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    [(group, entries)] = about["project"]["entry-points"].items()
    (info / "entry_points.txt").write_text(
        "\n".join([f"[{group}]", *(f"{key} = {value}" for key, value in entries.items())]) + "\n"
    )
    for module in about["tool"]["setuptools"]["py-modules"]:
        (site / f"{module}.py").write_text((project / f"{module}.py").read_text(encoding="utf-8"))

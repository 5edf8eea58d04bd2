"""`queuectl selftest`: 50 jobs, 5 workers and a scratch database, to see that all works here."""

import os
import sys
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

from queuectl import engines
from queuectl.cli import parameters as p
from queuectl.cli.ui import output, signals
from queuectl.clock import monotonic
from queuectl.errors import QueueError
from queuectl.job_fields import Spec

if TYPE_CHECKING:
    from queuectl.queue import Queue

_JOBS, _WORKERS, _FAILING, _TIME_LIMIT = 50, 5, 4, 120.0


def selftest(
    *,
    db: Annotated[
        str | None,
        p.Parameter(
            name="--db",
            help="A postgresql:// URL: in a schema of its own there, which is made, and dropped in the end.",
        ),
    ] = None,
    json: p.Json = False,
) -> int:
    """Run 50 jobs with 5 workers in a scratch database, and judge the outcome (exit code 0 or 1).

    $ queuectl selftest
    $ queuectl selftest --db postgresql://queuectl@db.example/queuectl

    45 jobs complete, 4 fail twice and die, 1 names a program that does not exist. Each must run as often as it
    should, and the tables must say what the log says. Nothing is left behind, and no queue of yours is
    touched: without --db the database is a file, whatever QUEUECTL_DB names.
    """
    import tempfile

    began = monotonic()
    with tempfile.TemporaryDirectory(prefix="queuectl-selftest-", ignore_cleanup_errors=True) as folder:
        checks = _checks(folder, db)
    seconds = monotonic() - began
    passed = all(ok for ok, _ in checks)
    if json:
        named = [{"ok": ok, "what": what} for ok, what in checks]
        output.document({"ok": passed, "jobs": _JOBS, "workers": _WORKERS, "seconds": seconds, "checks": named})
        return 0 if passed else 1
    for ok, what in checks:
        output.line(f"{output.paint('ok  ', 'green') if ok else output.paint('FAIL', 'red')}  {output.escape(what)}")
    verdict = "passed" if passed else "FAILED"
    output.line(output.paint(f"selftest {verdict} in {seconds:.1f}s", "green" if passed else "red"))
    return 0 if passed else 1


@contextmanager
def _scratch(folder: str, db: str | None) -> Generator[str]:
    """The URL of a database that is not there yet, and is gone in the end."""
    if db is None:
        yield f"{folder}/queue.db"
        return
    url = engines.scratch(db)
    try:
        with signals.interruptible():
            yield url
    except BaseException:
        with suppress(QueueError):  # it was never made, or the server is away: what has failed first is told
            engines.discard(url)
        raise
    engines.discard(url)


def _checks(folder: str, db: str | None) -> list[tuple[bool, str]]:
    from queuectl.queue import Queue

    with _scratch(folder, db) as url:
        with Queue(url) as q:
            ids = q.enqueue_many(_specs(folder))
            access = q.engine.access
        code, words = _work(access)
        checks = [
            (len(ids) == _JOBS, f"{len(ids)} jobs enqueued"),
            (code == 0, f"{_WORKERS} workers drained the queue{words}"),
        ]
        with Queue(url) as q:  # opened anew: all of it comes from the database
            return checks + _results(q, folder)


def _specs(folder: str) -> list[Spec]:
    common: dict[str, Any] = {"cwd": folder, "timeout": 30.0, "backoff_base": 1.0}
    note = "echo $QUEUECTL_JOB_ID >> ran"
    specs = [Spec(command=note, id=f"good{n}", max_retries=1, **common) for n in range(_JOBS - _FAILING - 1)]
    specs += [Spec(command=f"{note}; exit 3", id=f"bad{n}", max_retries=1, **common) for n in range(_FAILING)]
    return [*specs, Spec(argv=("no-such-program-here",), id="missing", max_retries=0, **common)]


def _work(access: str) -> tuple[int, str]:
    """Drain the queue; return the exit code, and what the workers wrote to stderr."""
    import subprocess

    command = [sys.executable, "-P", "-m", "queuectl", "worker", "start", "--count", str(_WORKERS), "--drain"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("QUEUECTL_")}
    environ |= {"QUEUECTL_DB": access}
    try:
        done = subprocess.run(
            command,
            env=environ,
            capture_output=True,
            timeout=_TIME_LIMIT,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired:
        return 1, f" (not within {_TIME_LIMIT:.0f} seconds)"
    return done.returncode, f" ({' '.join(done.stderr.split())})" if done.stderr.strip() else ""


def _results(q: "Queue", folder: str) -> list[tuple[bool, str]]:
    try:
        with open(f"{folder}/ran", encoding="utf-8") as file:
            ran = Counter(file.read().split())
    except FileNotFoundError:
        ran = Counter[str]()
    good = [f"good{n}" for n in range(_JOBS - _FAILING - 1)]
    bad = [f"bad{n}" for n in range(_FAILING)]
    counts = q.status().counts
    missing = q.job("missing")
    workers = len({attempt.worker for attempt in q.all_attempts()})
    differences = q.check()
    return [
        (
            all(ran[id] == 1 for id in good),
            f"{sum(ran[id] == 1 for id in good)} of {len(good)} good jobs ran exactly once",
        ),
        (counts["completed"] == len(good), f"{counts['completed']} jobs completed, run by {workers} workers"),
        (all(ran[id] == 2 for id in bad), f"{sum(ran[id] == 2 for id in bad)} of {len(bad)} failing jobs ran twice"),
        (counts["dead"] == len(bad) + 1, f"{counts['dead']} jobs in the dead letter queue"),
        (missing.exit_code == 127, f"a program that does not exist: exit code {missing.exit_code}"),
        (not differences, "the tables say what the log says" if not differences else differences[0]),
    ]

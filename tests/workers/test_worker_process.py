"""How processes of workers and jobs come to be, and are waited for: never by a fork (R7), each by its pid (R15)."""

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.workers import worker_process
from tests.support.paths import ROOT

FORKS = {"os.fork", "os.forkpty", "os.system", "os.popen"}
FORKING_MODULES = {"subprocess", "multiprocessing", "concurrent", "pty"}
WAITS = {"os.waitpid", "os.wait4"}
WAITS_FOR_ANY = {"os.wait", "os.wait3"}


def nodes() -> Iterator[tuple[str, ast.AST]]:
    """Everything in the code that has to do with processes, and where it stands."""
    for folder in ("workers", "host"):
        for path in sorted((ROOT / "queuectl" / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}", node


def calls() -> list[tuple[str, str, ast.Call]]:
    return [(place, ast.unparse(node.func), node) for place, node in nodes() if isinstance(node, ast.Call)]


def imported() -> set[str]:
    """The top-level modules that this code imports."""
    plain = {alias.name for _, node in nodes() if isinstance(node, ast.Import) for alias in node.names}
    parts = {node.module or "" for _, node in nodes() if isinstance(node, ast.ImportFrom)}
    return {name.partition(".")[0] for name in plain | parts}


def test_nothing_in_the_workers_forks() -> None:
    assert not imported() & FORKING_MODULES
    assert [place for place, called, _ in calls() if called in FORKS] == []
    assert any(called == "os.posix_spawn" for _, called, _ in calls())


def test_nothing_in_the_workers_waits_for_any_child() -> None:
    found = [(place, ast.unparse(node.args[0])) for place, called, node in calls() if called in WAITS]
    assert found
    assert [place for place, pid in found if pid in ("-1", "0")] == []
    assert [place for place, called, _ in calls() if called in WAITS_FOR_ANY] == []


def test_what_spawns_workers_imports_nothing_heavy() -> None:
    code = "import sys, queuectl.workers.worker_process, queuectl.workers.execution.traces; print(*sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30).stdout
    assert "signal" in said.split()
    assert not {"msgspec", "apsw", "queuectl.queue"} & set(said.split())


def test_a_worker_without_options_does_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    worker = worker_process.spawn_worker()
    os.close(worker.orders)
    _, status = os.waitpid(worker.pid, 0)
    os.close(worker.pidfd)
    assert (os.waitstatus_to_exitcode(status), *capfd.readouterr()) == (0, "", "")


def test_a_worker_nobody_asks_for_is_reaped() -> None:
    before = children()
    with worker_process.one_ahead():
        assert len(children() - before) == 1
    assert children() == before


def test_the_worker_ahead_is_taken_first() -> None:
    before = children()
    with worker_process.one_ahead():
        ahead = children() - before
        first, second = worker_process.spawn_worker(), worker_process.spawn_worker()
    assert {first.pid} == ahead
    assert children() - before == {first.pid, second.pid}
    for worker in (first, second):
        worker.discard()


def test_options_longer_than_a_pipe_arrive_whole() -> None:
    read_end, write_end = os.pipe()
    options = bytes(range(256)) * 1024
    code = "import sys; from queuectl.workers import worker_process as w; sys.stdout.buffer.write(w.read_options())"
    reader = subprocess.Popen(
        [sys.executable, "-c", f"import os; os.dup2({read_end}, 3); {code}"], cwd=ROOT, pass_fds=[read_end],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    os.close(read_end)
    worker = worker_process.WorkerProcess(reader.pid, write_end)
    worker.begin(options)
    worker.order(worker_process.ORDER_STOP, 15)
    assert reader.communicate(timeout=30)[0] == options
    worker.begin(options)  # it has ended: nothing happens
    os.close(worker.pidfd)
    os.close(write_end)


def children() -> set[int]:
    """The children of this process."""
    pid = os.getpid()
    return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))

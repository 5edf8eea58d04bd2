"""How processes of workers and jobs come to be, and are waited for: never by a fork (R7), each by its pid (R15)."""

import ast
from collections.abc import Iterator

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

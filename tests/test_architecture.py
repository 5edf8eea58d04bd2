"""The structure: allowed imports, the cost of an import, the length of files and of the names of tests."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.support.paths import ROOT

LAYERS: list[tuple[str, ...]] = [
    ("queuectl.errors", "queuectl.clock"),
    ("queuectl.units", "queuectl.host"),
    (
        "queuectl.runnable",
        "queuectl.backoff",
        "queuectl.rate",
        "queuectl.amounts",
        "queuectl.halt",
        "queuectl.host_lease",
        "queuectl.recurrence",
        "queuectl.progress",
    ),
    ("queuectl.events",),
    (
        "queuectl.bounds",
        "queuectl.option_kinds",
        "queuectl.options",
        "queuectl.job_fields",
        "queuectl.spec",
        "queuectl.shell_quoting",
        "queuectl.templates",
        "queuectl.settings",
        "queuectl.dotenv",
        "queuectl.dotenv_syntax",
        "queuectl.home",
        "queuectl.environment",
    ),
    ("projections",),
    (
        "queuectl.policy",
        "queuectl.filters",
        "queuectl.disk",
        "queuectl.admission",
        "queuectl.limits",
        "queuectl.stock",
        "queuectl.host_limits",
        "queuectl.schedule_terms",
        "queuectl.versions",
    ),
    ("queuectl.decisions",),
    ("queuectl.engines",),
    (
        "queuectl.liveness",
        "queuectl.inputs",
        "queuectl.outputs",
        "queuectl.history",
        "queuectl.documents",
        "queuectl.forecast",
        "queuectl.enclosing_jobs",
        "queuectl.listing",
        "queuectl.queries",
        "queuectl.admission_facts",
        "queuectl.rest",
        "queuectl.on_empty",
        "queuectl.selection",
        "queuectl.queue_summary",
        "queuectl.batches",
        "queuectl.circles",
        "queuectl.batch_summary",
        "queuectl.job_graph",
        "queuectl.labels",
        "queuectl.waits",
        "queuectl.overview",
        "queuectl.wait_changes",
        "queuectl.wait_history",
        "queuectl.uniqueness",
        "queuectl.output_queries",
        "queuectl.flow_queries",
        "queuectl.wait_queries",
        "queuectl.resource_control",
    ),
    ("queuectl.flow_control", "queuectl.noting"),
    ("queuectl.worker_control",),
    ("queuectl.enqueueing",),
    ("queuectl.editing", "queuectl.joining"),
    ("queuectl.schedule_summary",),
    ("queuectl.scheduling",),
    ("queuectl.queue",),
    ("queuectl.audit", "queuectl.export", "queuectl.analysis", "queuectl.other_queues", "queuectl.outbox"),
    ("queuectl.workers",),
    ("queuectl.doctor", "queuectl.service"),
    ("queuectl.cli",),
]
"""Lowest first: a module imports what stands in its own row or in a row above it in this list."""


def files(*folders: str) -> list[Path]:
    """Every Python file in these folders."""
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


def modules(*packages: str) -> Iterator[tuple[str, Path]]:
    """Every module of these packages: its dotted name and its file."""
    for path in files(*packages):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imports(name: str, path: Path) -> Iterator[tuple[str, int]]:
    """(module, line) of every import in a file, those inside functions and `if TYPE_CHECKING` too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            source = ".".join(part for part in (base, node.module) if part)
            for alias in node.names:
                whole = f"{source}.{alias.name}"
                yield (whole if is_module(whole) else source), node.lineno


def is_module(name: str) -> bool:
    """Whether a dotted name is one of our files or packages, rather than something inside one."""
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def layer(name: str) -> int | None:
    """The row in which a module of ours stands; None for what is not ours, and for `queuectl` itself."""
    for row, members in enumerate(LAYERS):
        if any(name == member or name.startswith(f"{member}.") for member in members):
            return row
    return None


def test_every_module_has_its_place() -> None:
    homeless = {name for name, _ in modules("queuectl", "projections") if layer(name) is None}
    assert homeless <= {"queuectl", "queuectl.__main__"}, "give it a row in LAYERS"


def test_imports_run_one_way() -> None:
    upwards = [
        f"{path.relative_to(ROOT)}:{line} imports {target}"
        for name, path in modules("queuectl", "projections")
        for target, line in imports(name, path)
        if (mine := layer(name)) is not None and (theirs := layer(target)) is not None and theirs > mine
    ]
    assert not upwards, "\n".join(upwards)


def test_projections_know_only_events_and_the_clock() -> None:
    known = {
        target
        for name, path in modules("projections")
        for target, _ in imports(name, path)
        if target.startswith("queuectl")
    }
    assert known <= {"queuectl.events", "queuectl.clock"}


def test_only_engines_and_the_outbox_know_databases() -> None:
    databases = {"apsw", "sqlite3", "dbm", "shelve", "duckdb", "pandas", "sqlalchemy", "psycopg"}
    known = {
        "queuectl.engines": {"apsw", "psycopg"},
        "queuectl.outbox": {"sqlite3", "psycopg"},
        "bench": {"apsw", "psycopg"},
    }
    found = {
        (".".join(name.split(".")[: 1 + name.startswith("queuectl.")]), database)
        for name, path in modules("queuectl", "projections", "bench")
        for target, _ in imports(name, path)
        if (database := target.partition(".")[0]) in databases
    }
    assert found <= {(package, database) for package, databases in known.items() for database in databases}


def test_only_the_engines_know_sqlite() -> None:
    outside = [(name, path) for name, path in modules("queuectl") if not name.startswith("queuectl.engines")]
    imported = {
        (name, target)
        for name, path in outside
        for target, _ in imports(name, path)
        if target.startswith("queuectl.engines.sqlite")
    }
    named = {name for name, path in outside if re.search(r'"[^" ]*-(wal|shm)', path.read_text(encoding="utf-8"))}
    assert (imported, named) == (set(), set())


def test_jobs_end_in_one_place_only() -> None:
    ends = {"Completed", "Dead", "Cancelled"}
    made = {
        (name, end)
        for name, path in modules("queuectl", "projections")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for end in ends & {ast.unparse(node.func).rpartition(".")[2]}
    }
    assert made == {("queuectl.decisions.finish", end) for end in ends}
    renamed = [
        (name, alias.asname)
        for name, path in modules("queuectl", "projections")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in ends and alias.asname not in (None, alias.name)
    ]
    assert renamed == []


def test_the_command_line_goes_through_the_queue() -> None:
    below = {
        (name, target)
        for name, path in modules("queuectl")
        for target, _ in imports(name, path)
        if name.startswith("queuectl.cli") and target.startswith(("queuectl.engines.", "queuectl.decisions"))
    }
    assert not below


def test_files_stay_short_enough_to_read() -> None:
    sizes = {
        path: len(path.read_text(encoding="utf-8").splitlines())
        for path in files("queuectl", "projections", "bench", "tests")
    }
    assert {str(path.relative_to(ROOT)): lines for path, lines in sizes.items() if lines > 400} == {}


def test_names_of_tests_have_eight_words_at_most() -> None:
    long = [
        f"{path.relative_to(ROOT)}::{node.name}"
        for path in files("tests")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
        and len(node.name.split("_")) > 9
    ]
    assert long == []


def test_functions_stay_short_enough_to_read() -> None:
    long = {
        f"{name}.{node.name}": lines
        for name, path in modules("queuectl", "projections", "bench")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef) and (lines := (node.end_lineno or 0) - node.lineno + 1) > 60
    }
    assert long == {}


def test_no_two_classes_have_one_name() -> None:
    names = [
        node.name
        for _, path in modules("queuectl", "projections")
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        path for path in files("queuectl", "projections", "bench") if not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


def loaded_by(statement: str) -> set[str]:
    """The top-level modules in `sys.modules` of a new interpreter after a statement."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=30
    )
    return set(done.stdout.split())


def test_importing_the_library_is_cheap() -> None:
    heavy = {
        "apsw",
        "asyncio",
        "cronsim",
        "cyclopts",
        "dotenv",
        "freezegun",
        "platformdirs",
        "psycopg",
        "rich",
        "subprocess",
    }
    assert not loaded_by("import queuectl") & heavy


def test_enqueues_and_workers_load_no_rare_modules() -> None:
    code = "from queuectl.cli import main; main(['enqueue', '--help']); import queuectl.queue, queuectl.workers.worker"
    assert not loaded_by(code) & {"cronsim", "statistics", "zoneinfo", "sqlite3", "psycopg"}


def test_each_engine_is_loaded_without_the_other() -> None:
    assert "psycopg" not in loaded_by("from queuectl import engines; engines.load('q.db')")
    assert "apsw" not in loaded_by("from queuectl import engines; engines.load('postgresql://host/db')")


def test_only_the_screen_loads_textual() -> None:
    assert "textual" not in loaded_by("from queuectl.cli import app; app.load_all(); import queuectl.cli.top.live_view")


def test_projections_can_be_imported_first() -> None:
    assert "projections" in loaded_by("import projections.jobs, projections.replay")


def test_the_public_names_resolve_without_the_command_line() -> None:
    assert not loaded_by("from queuectl import Queue; Queue") & {"cyclopts", "rich"}

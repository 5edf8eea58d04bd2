"""Workers on PostgreSQL once a newer version has changed the tables: a lease runs out meanwhile."""

from pathlib import Path

from tests.support import later_version
from tests.support.worker_hosts import WorkerHost, WorkerHosts


def test_an_outdated_worker_ends_what_it_runs(hosts: WorkerHosts, a: WorkerHost, tmp_path: Path) -> None:
    """As interrupted: it is tried again without a retry."""
    parent = a.worker()
    hosts.up(1)
    made = a("enqueue", "--max-retries", "0", "--timeout", "none", "[ -e again ] || { touch began; sleep 600; }").ok()
    id = made.out.strip()
    hosts.until((hosts.folder / "began").exists)
    a.env["PYTHONPATH"] = str(later_version.make(tmp_path / "later"))
    a.in_new_process("status").ok()
    assert parent.wait(50) == 4
    (hosts.folder / "again").touch()
    a.in_new_process("worker", "start", "--drain").ok()
    job = a.in_new_process("inspect", id, "--json").ok().json
    assert [(each["outcome"], each["cause"]) for each in job["attempts"]] == [
        ("interrupted", None),
        ("completed", None),
    ]
    a.in_new_process("replay", "--check").ok()

"""Control groups: which one was delegated, how it is made ready, and what is written into a new one.

The kernel is a fake of files here; `tests/workers/test_memory_limit.py` uses the real one where it may be used.
"""

from pathlib import Path

import pytest

from queuectl.host import cgroup
from tests.support.fake_cgroups import FakeCgroups

RESTING = "resting"


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeCgroups:
    groups = FakeCgroups(tmp_path / "cgroup")
    groups.make()
    groups.install(monkeypatch.setattr)
    return groups


def within(groups: FakeCgroups, path: str) -> str | None:
    """The delegated group of a process in this one, from the root."""
    groups.enter(path)
    found = cgroup.delegated(RESTING)
    return found.removeprefix(f"{groups.root}").lstrip("/") if found is not None else None


def test_a_group_is_used_only_if_delegated(groups: FakeCgroups) -> None:
    for path in ("user.slice", "user.slice/jobs.service", "user.slice/jobs.service/main"):
        groups.make(path)
        assert within(groups, path) is None
    groups.delegated.add("user.slice/jobs.service")
    assert within(groups, "user.slice/jobs.service") == "user.slice/jobs.service"
    assert within(groups, "user.slice/jobs.service/main") == "user.slice/jobs.service"
    groups.make("user.slice/jobs.service/main/deep")
    assert within(groups, "user.slice/jobs.service/main/deep") is None


def test_the_root_of_a_container_is_its_own(groups: FakeCgroups) -> None:
    assert within(groups, "") == ""
    groups.make("init.scope")
    assert within(groups, "init.scope") is None
    groups.make(RESTING)
    assert within(groups, RESTING) == ""


def test_the_memory_controller_must_be_there(groups: FakeCgroups) -> None:
    (groups.root / "cgroup.controllers").write_text("cpu pids\n")
    assert within(groups, "") is None
    (groups.root / "cgroup.controllers").unlink()
    assert within(groups, "") is None


def test_version_1_alone_has_no_group(groups: FakeCgroups) -> None:
    groups.own.write_text("4:memory:/jobs\n1:name=systemd:/jobs\n")
    assert cgroup.delegated(RESTING) is None
    groups.own.unlink()
    assert cgroup.delegated(RESTING) is None


def test_processes_leave_a_group_with_limits_below(groups: FakeCgroups) -> None:
    group = groups.make("jobs", 101, 102, 103)
    cgroup.prepare(str(group), RESTING)
    assert (groups.procs("jobs"), groups.procs(f"jobs/{RESTING}")) == ([], [101, 102, 103])
    assert (group / "cgroup.subtree_control").read_text() == "+memory"


def test_a_ready_group_is_left_alone(groups: FakeCgroups) -> None:
    group = groups.make("jobs", 101)
    (group / "cgroup.subtree_control").write_text("cpu memory")
    cgroup.prepare(str(group), RESTING)
    assert groups.procs("jobs") == [101]


def test_the_root_of_all_keeps_its_processes(groups: FakeCgroups) -> None:
    (groups.root / "cgroup.procs").write_text("1\n101\n")
    cgroup.prepare(str(groups.root), RESTING)
    assert groups.procs("") == [1, 101]
    assert (groups.root / "cgroup.subtree_control").read_text() == "+memory"


def test_strangers_in_the_group_are_not_moved(groups: FakeCgroups) -> None:
    group = groups.make("jobs", 0)  # so the kernel calls a process of another pid namespace
    with pytest.raises(PermissionError):
        cgroup.prepare(str(group), RESTING)
    assert groups.procs("jobs") == [0]
    assert (group / "cgroup.subtree_control").read_text() == ""


def test_a_group_that_stays_full_is_useless(groups: FakeCgroups) -> None:
    group = groups.make("jobs", 101, 102)
    groups.gone.add("101")
    with pytest.raises(OSError, match="busy"):
        cgroup.prepare(str(group), RESTING)
    assert groups.procs(f"jobs/{RESTING}") == [102]


def test_a_group_is_made_removed_and_limited(groups: FakeCgroups) -> None:
    path = groups.root / "one"
    cgroup.make(str(path), 64 << 20)
    written = [(path / f"memory.{name}").read_text() for name in ("max", "swap.max", "oom.group")]
    assert written == [str(64 << 20), "0", "1"]
    with pytest.raises(FileExistsError):
        cgroup.make(str(path), 1)

    (path / "cgroup.procs").write_text("101\n")
    assert not cgroup.remove(str(path))
    (path / "cgroup.procs").write_text("")
    assert cgroup.remove(str(path))
    assert not path.exists()
    assert cgroup.remove(str(path)), "it is gone already"


def test_a_kernel_without_swap_limits_will_do(groups: FakeCgroups, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.fake_cgroups.FILES", ("cgroup.procs", "memory.max"))
    cgroup.make(str(groups.root / "one"), 64 << 20)
    assert (groups.root / "one" / "memory.max").read_text() == str(64 << 20)
    monkeypatch.setattr("tests.support.fake_cgroups.FILES", ("cgroup.procs",))
    with pytest.raises(FileNotFoundError):
        cgroup.make(str(groups.root / "two"), 64 << 20)
    assert not (groups.root / "two").exists()


def test_a_kill_for_memory_is_counted(groups: FakeCgroups) -> None:
    path = groups.root / "one"
    cgroup.make(str(path), 64 << 20)
    assert not cgroup.has_run_out(str(path))
    (path / "memory.events").write_text("oom 1\noom_kill 3\noom_group_kill 1\n")
    assert cgroup.has_run_out(str(path))
    assert not cgroup.has_run_out(str(groups.root / "gone"))

"""The kept environment of an enqueuer: once in the log, without secret-looking variables, and part of archives."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue, environment, spec
from queuectl.audit.archive import archive
from queuectl.audit.event_lines import lines
from queuectl.audit.import_log import load
from queuectl.clock import now
from queuectl.errors import Invalid
from queuectl.events import EnvironmentKept, Failed
from queuectl.host.working_directory import working_directory
from queuectl.job_fields import Spec
from queuectl.workers.turn import TurnWriter
from tests.support.archives import work


@pytest.fixture
def queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Queue]:
    monkeypatch.delenv("QUEUECTL_KEEP_ENV")
    with Queue(tmp_path / "q.db") as queue:
        queue.engine.set_durability("normal")
        yield queue


def kept(chosen: str, **environ: str) -> EnvironmentKept:
    found = environment.select(environment.parse(chosen), environ, 0o027)
    assert found is not None
    return found


def test_names_and_patterns_select_variables():
    environ = {"PATH": "/bin", "CUDA_HOME": "/cuda", "CUDA_VISIBLE_DEVICES": "0", "CUDAX": "no", "A_HOME": "a"}
    assert kept("PATH, CUDA_*", **environ).variables == {
        "CUDA_HOME": "/cuda", "CUDA_VISIBLE_DEVICES": "0", "PATH": "/bin",
    }  # fmt: skip
    assert kept("*_HOME", **environ).variables == {"A_HOME": "a", "CUDA_HOME": "/cuda"}
    assert kept("NOT_SET").variables == {}
    assert kept("PATH", **environ).umask == "0027"
    assert environment.select(environment.parse("none"), environ) is None


def test_all_leaves_out_variables_of_the_session():
    session = dict.fromkeys(
        ("SSH_AUTH_SOCK", "DISPLAY", "WAYLAND_DISPLAY", "XDG_SESSION_ID", "XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS",
         "TERM", "TMUX", "STY", "SHLVL", "OLDPWD", "PWD", "_", "QUEUECTL_DB", "INVOCATION_ID"), "x",
    )  # fmt: skip
    found = kept("all", HOME="/h", LANG="C", XDG_DATA_HOME="/d", **session)
    assert (found.whole, found.variables) == (True, {"HOME": "/h", "LANG": "C", "XDG_DATA_HOME": "/d"})


def test_secret_looking_variables_are_kept_only_by_name():
    environ = {"AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "r", "GITHUB_TOKEN": "t", "TOKENIZERS_PARALLELISM": "false"}
    assert kept("all", **environ).variables == {"AWS_REGION": "r", "TOKENIZERS_PARALLELISM": "false"}
    assert kept("AWS_*", **environ).variables == {"AWS_REGION": "r"}
    assert kept("AWS_*, GITHUB_TOKEN", **environ).variables == {"AWS_REGION": "r", "GITHUB_TOKEN": "t"}


@pytest.mark.parametrize("text", ["all, PATH", "PATH,ALL", "*", "A-B", "A*B*", "A=B"])
def test_invalid_patterns_are_refused(text: str):
    with pytest.raises(Invalid):
        environment.parse(text)


def test_invalid_utf8_is_left_out_unless_named():
    odd = {"ODD": os.fsdecode(b"\xff"), "FINE": "1"}
    assert kept("all", **odd).variables == kept("O*, F*", **odd).variables == {"FINE": "1"}
    with pytest.raises(Invalid, match="ODD is not valid UTF-8"):
        kept("ODD", **odd)


def test_the_locale_set_by_python_is_left_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LC_CTYPE", "C.UTF-8")
    found = environment.select(("LC_*",))
    given = b"\0LC_CTYPE=" in b"\0" + Path("/proc/self/environ").read_bytes()
    assert found is not None
    assert ("LC_CTYPE" in found.variables) == given


def test_the_same_environment_has_the_same_name():
    one, other = kept("all", A="1", B="2"), kept("all", B="2", A="1")
    assert environment.digest(one) == environment.digest(other)
    assert environment.digest(kept("A", A="1")) != environment.digest(kept("all", A="1"))


@pytest.mark.parametrize("name", ["API_KEY", "my_token", "DB_PASSWORD", "GOOGLE_CREDENTIALS", "MYSQL_PWD"])
def test_a_secret_looking_variable_is_not_logged(name: str):
    with pytest.raises(Invalid, match=f"--secret .*--env-in-log {name}"):
        spec.check(Spec(command="true", env={name: "x"}))
    spec.check(Spec(command="true", env={name: "x"}, env_in_log=(name,)))
    spec.check(Spec(command="true", secrets={name: "x"}))


def test_many_jobs_share_one_environment_event(queue: Queue):
    queue.enqueue_many(["true"] * 1000)
    records = list(queue.events())
    assert [record.type for record in records].count("environment_kept") == 1
    assert records[0].stream == f"env:{queue.job('7').policy.environment}"
    assert queue.check() == []


def test_an_archive_has_the_environments_of_its_jobs(queue: Queue, tmp_path: Path):
    queue.enqueue("true")
    work(queue, "w1")
    path = str(tmp_path / "old.ndjson.gz")
    archive(queue, path, now())
    queue.enqueue("true")
    assert queue.environment(queue.job("2").policy.environment or "") is not None, "it is here too"
    assert len(list(queue.events(type="environment_kept"))) == 1
    with Queue(tmp_path / "new.db") as new, open(path, "rb") as file:
        load(new, lines(file))
        name = new.job("1").policy.environment
        assert name is not None
        assert new.environment(name) == queue.environment(name) is not None


def test_a_job_without_its_environment_is_not_run(queue: Queue, tmp_path: Path):
    queue.enqueue("true", max_retries=5)
    some = [record.json() for record in queue.events(job="1")]
    with Queue(tmp_path / "new.db") as new:
        load(new, iter(some))
        writer = TurnWriter(new, "w", (), "identity")
        writer.start(1)
        assert writer.turn([], [], 5).claims == []
        assert new.job("1").state == "dead"
        failed: Any = next(new.events(type="failed")).event
        assert isinstance(failed, Failed)
        assert failed.cause == "spawn"
        assert "environment that it was enqueued with" in (failed.error or "")


def test_the_folder_keeps_the_users_symbolic_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "rel" / "sub").mkdir(parents=True)
    (tmp_path / "current").symlink_to("rel")
    monkeypatch.chdir(tmp_path / "rel")
    monkeypatch.setenv("PWD", str(tmp_path / "current"))
    assert working_directory() == str(tmp_path / "current")
    assert spec.check(Spec(command="true", cwd="sub")).cwd == str(tmp_path / "current" / "sub")
    assert spec.check(Spec(command="true", cwd="..")).cwd == str(tmp_path)
    for stale in ("/", "", "current", str(tmp_path / "current" / ".." / "rel")):
        monkeypatch.setenv("PWD", stale)
        assert working_directory() == str(tmp_path / "rel")


def test_an_open_queue_notices_changes_of_its_environment(queue: Queue, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TZ", "UTC")
    first = job(queue)
    assert job(queue) == first
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    second = job(queue)
    mask = os.umask(0o007)
    try:
        third = job(queue)
    finally:
        os.umask(mask)
    queue.set_config("keep-env", "none")
    monkeypatch.setenv("QUEUECTL_TIMEOUT", "7s")
    last = job(queue)
    monkeypatch.delenv("QUEUECTL_TIMEOUT")
    queue.set_config("keep-env", None)
    monkeypatch.setenv("TZ", "UTC")
    assert job(queue) == first
    assert len({first, second, third, last}) == 4
    assert last == (7.0, None)
    assert len(list(queue.events(type="environment_kept"))) == 3


def test_an_environment_is_logged_after_a_failed_enqueue(queue: Queue, monkeypatch: pytest.MonkeyPatch):
    def full(_: object) -> None:
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"):
        queue.enqueue_many(["true"], progress=full)
    _, name = job(queue)
    assert name is not None
    assert queue.environment(name) is not None


def job(queue: Queue) -> tuple[float | None, str | None]:
    policy = queue.job(queue.enqueue("true")).policy
    return policy.timeout, policy.environment

"""What a command finds when it starts, and what is said when it can't."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from projections.environments import Environment
from queuectl import clock
from queuectl.decisions import Outcome
from queuectl.host.mounts import RemotePaths
from queuectl.runnable import SHELL, Argv, Shell
from queuectl.workers.execution import spawn, traces
from queuectl.workers.execution.attempt import AttemptProcess, Start, launch
from queuectl.workers.execution.spawn import environment

ENV = {"PATH": os.defpath}
Run = Callable[..., tuple[Outcome, str]]


def finish(attempt: AttemptProcess) -> Outcome:
    while attempt.outcome is None:
        assert select.select([attempt], [], [], 10)[0], "the command does not end"
        attempt.collect(clock.monotonic())
    return attempt.outcome


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Run a shell command to its end: its outcome and output."""

    def run(
        line: str = "", *, argv: tuple[str, ...] | None = None, shell: str = SHELL, **what: object
    ) -> tuple[Outcome, str]:
        path = tmp_path / f"output{len(list(tmp_path.glob('output*')))}"
        runnable = Shell(line, shell) if argv is None else Argv(argv)
        start = Start(**{"run": runnable, "env": ENV, "output": str(path), **what})  # type: ignore[arg-type]
        return finish(launch(start)), path.read_text()

    return run


def test_output_is_in_order_from_both_streams(run: Run) -> None:
    assert run("echo a; echo b >&2; echo c; ls /no/such >&2 || echo d")[1].splitlines()[::2] == ["a", "c", "d"]


def test_shell_reports_a_missing_command_itself(run: Run) -> None:
    outcome, text = run("no-such-program --x")
    assert (outcome.cause, outcome.exit_code) == ("exit", 127)
    assert "not found" in text


def script(path: Path, text: str, mode: int = 0o755) -> str:
    path.write_text(text)
    path.chmod(mode)
    return str(path)


def test_failed_start_is_explained_in_outcome_and_output(run: Run, tmp_path: Path) -> None:
    plain = script(tmp_path / "plain", "#!/bin/sh\n", 0o644)
    headless = script(tmp_path / "headless", "true\n")
    orphan = script(tmp_path / "orphan", "#!/no/such/interpreter\n")
    path = {"PATH": f"/no/such:{tmp_path}"}
    for what, code, said in (
        ({"argv": ("no-such-program", "x")}, 127, "no-such-program: not found"),
        ({"argv": ("/no/such/program",)}, 127, "/no/such/program: not found"),
        ({"argv": ("",)}, 127, ": not found"),
        ({"argv": (plain,)}, 126, f"{plain}: permission denied"),
        ({"argv": ("plain",), "env": path}, 126, "plain: permission denied"),
        ({"argv": (str(tmp_path),)}, 126, f"{tmp_path}: permission denied"),
        ({"argv": (headless,)}, 126, "not a program this machine can run"),
        ({"argv": (orphan,)}, 127, f"interpreter of {orphan}: not found"),
        ({"line": "true", "cwd": "/no/such"}, 127, "working directory /no/such: not found"),
        ({"line": "true", "cwd": plain}, 126, f"working directory {plain}: not a folder"),
        ({"line": "true", "stdin": "/no/such"}, 127, "stdin /no/such: not found"),
        ({"line": "true\0"}, 126, "can't be handed to a program"),
        ({"line": "true", "env": {"A": "\ud800"}}, 126, "can't be handed to a program"),
        ({"argv": ("true", "x" * 200_000)}, 126, "longer than this machine takes"),
    ):
        outcome, text = run(**what)
        assert (outcome.cause, outcome.exit_code) == ("spawn", code), what
        assert outcome.error is not None
        assert said in outcome.error
        assert text == f"queuectl: {outcome.error}\n"
        assert outcome.output_bytes == len(text)
        assert (outcome.started_at or 0) > 0
        assert (outcome.run_seconds, outcome.cpu_seconds) == (0, 0)


def test_program_is_found_in_the_jobs_path(run: Run, tmp_path: Path) -> None:
    script(tmp_path / "greet", "#!/bin/sh\necho hello\n")
    (tmp_path / "first" / "greet").mkdir(parents=True)  # a folder of that name is no program
    outcome, text = run(argv=("greet",), env={"PATH": f"/no/such:{tmp_path}/first:{tmp_path}"})
    assert (outcome.exit_code, text) == (0, "hello\n")
    assert run(argv=("greet",))[0].exit_code == 127
    assert run(argv=("./greet",), cwd=str(tmp_path))[1] == "hello\n"
    assert run(argv=("greet",), cwd=str(tmp_path), env={"PATH": "/no/such::"})[1] == "hello\n"


def test_command_runs_in_its_cwd_without_moving_worker(run: Run, tmp_path: Path) -> None:
    before = os.getcwd()
    assert run("pwd", cwd=str(tmp_path))[1] == f"{tmp_path}\n"
    assert run("pwd")[1] == f"{before}\n"
    run(argv=("no-such-program",), cwd=str(tmp_path))
    assert os.getcwd() == before


@pytest.mark.parametrize("command, argv", [("echo $PWD; exit 3", None), ("", ("sh", "-c", "echo $PWD; exit 3"))])
def test_remote_cwd_is_entered_by_the_child(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, argv: tuple[str, ...]
) -> None:
    far = tmp_path / "mnt" / "my share"
    (far / "deep").mkdir(parents=True)
    (tmp_path / "link").symlink_to("mnt/my share/deep")

    def read(mounts: RemotePaths) -> None:
        mounts._points[str(far)] = True

    monkeypatch.setattr(RemotePaths, "_read", read)
    mounts = RemotePaths()
    monkeypatch.setattr(spawn, "remote_paths", lambda: mounts)
    with monkeypatch.context() as patched:
        patched.setattr(os, "chdir", lambda path: pytest.fail("the worker went there itself"))
        outcome, text = run(command, argv=argv, cwd=str(tmp_path / "link"))
        assert (outcome.cause, outcome.exit_code, text) == ("exit", 3, f"{tmp_path}/link\n")
        outcome, text = run(command, argv=argv, cwd=f"{far}/not there")
        assert (outcome.cause, outcome.exit_code) == ("exit", 127)
        assert "not there" in text
    if argv is not None:  # a program there is found by the child, too
        script(far / "greet", "#!/bin/sh\necho hello\n")
        monkeypatch.setattr(os, "access", lambda *_: pytest.fail("the worker looked there itself"))
        assert run(argv=("greet",), env={"PATH": f"{far}:{ENV['PATH']}"})[1] == "hello\n"
        assert run(argv=(f"{far}/greet",))[1] == "hello\n"


def test_mounts_are_read_with_their_escapes_and_types(tmp_path: Path) -> None:
    mounts = RemotePaths()
    table = tmp_path / "mountinfo"
    table.write_text(
        "20 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw\n"
        f"21 20 0:40 / {tmp_path}/with\\040space rw shared:1 - nfs4 host:/x rw\n"
        f"22 20 0:41 / {tmp_path}/fuse rw - fuse.sshfs host: rw\n"
        f"23 20 0:42 / {tmp_path}/tmp rw - tmpfs tmpfs rw\n"
    )
    os.close(mounts._fd)
    mounts._fd = os.open(table, os.O_RDONLY)
    mounts._read()
    (tmp_path / "up").symlink_to(tmp_path / "tmp" / ".." / "fuse")
    (tmp_path / "loop").symlink_to("loop")
    for path, remote in (
        ("with space", True),
        ("with space/below/it", True),
        ("with", False),
        ("with spaces", False),
        ("fuse", True),
        ("tmp/x", False),
        ("up/x", True),
        ("fuse/../x", True),
        ("loop/x", False),
        ("", False),
    ):
        assert mounts.is_remote(f"{tmp_path}/{path}") is remote, path
    os.close(mounts._fd)


def test_stdin_never_blocks_the_worker(run: Run, tmp_path: Path) -> None:
    assert run("readlink /proc/self/fd/0; cat")[1] == "/dev/null\n"
    (tmp_path / "input").write_text("one\ntwo\n")
    assert run("cat", stdin=str(tmp_path / "input"))[1] == "one\ntwo\n"
    os.mkfifo(tmp_path / "fifo")
    assert run("cat; echo done", stdin=str(tmp_path / "fifo"))[1] == "done\n"


def test_command_inherits_only_the_lock_descriptor(run: Run) -> None:
    mine = os.open("/dev/null", os.O_RDONLY)
    try:
        text = run("for fd in /proc/$$/fd/*; do readlink $fd && echo ${fd##*/}; done")[1]
    finally:
        os.close(mine)
    links = dict(zip(text.split("\n")[1::2], text.split("\n")[::2], strict=False))
    inherited = {fd for fd in map(int, os.listdir("/proc/self/fd")) if is_inheritable(fd)}  # by the test run itself
    assert {int(fd) for fd in links} == inherited | {0, 1, 2, 77}
    assert links["1"] == links["2"] == links["77"] != "/dev/null"


def is_inheritable(fd: int) -> bool:
    try:
        return os.get_inheritable(fd)
    except OSError:
        return False  # of listing the folder itself


def test_signals_are_as_they_were_born(run: Run) -> None:
    assert run("yes | head -1")[1] == "y\n"
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        text = run(argv=("grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"))[1]
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGHUP, before)
    of_the_c_library = 1 << 31 | 1 << 32  # 32 and 33: it has them ignored in what it spawns
    assert [int(line.split()[1], 16) & ~of_the_c_library for line in text.splitlines()] == [0, 0]


def test_command_has_its_own_session_and_group(run: Run) -> None:
    pid, group, session = run("cut -d ' ' -f 1,5,6 /proc/$$/stat")[1].split()
    assert pid == group == session
    assert int(session) != os.getsid(0)


def test_a_command_may_begin_with_a_dash(run: Run, tmp_path: Path) -> None:
    script(tmp_path / "-x", "#!/bin/sh\necho dashed\n")
    assert run("-x", env={"PATH": f"{tmp_path}:/bin:/usr/bin"})[1] == "dashed\n"


def test_environment_combines_worker_kept_and_job_variables(run: Run) -> None:
    env = environment(
        {"PATH": "/worker", "LANG": "C", "QUEUECTL_TAG": "stale", "PWD": "/elsewhere"},
        Environment(1, {"PATH": ENV["PATH"], "VIRTUAL_ENV": "/venv"}, whole=False, umask=None),
        {"MODE": "fast"},
        {"TOKEN": "s3cret", "VIRTUAL_ENV": "/its"},
        database="/q.db",
        job="job1",
        attempt=2,
        queue="mail",
        tag="cafe:job1:7",
        progress="/q.db.d/output/job1.7.cafe.progress",
        cwd="/",
    )
    text = run(argv=("env", "-0"), env=env, cwd="/")[1]
    assert dict(entry.split("=", 1) for entry in text.rstrip("\0").split("\0")) == {
        "PATH": ENV["PATH"],
        "LANG": "C",
        "VIRTUAL_ENV": "/its",
        "MODE": "fast",
        "TOKEN": "s3cret",
        "PWD": "/",
        "QUEUECTL_DB": "/q.db",
        "QUEUECTL_JOB_ID": "job1",
        "QUEUECTL_ATTEMPT": "2",
        "QUEUECTL_PROGRESS": "/q.db.d/output/job1.7.cafe.progress",
        "QUEUECTL_QUEUE": "mail",
        traces.TAG: "cafe:job1:7",
    }


def test_niceness_is_added_to_the_workers(run: Run) -> None:
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert run("nice; sh -c nice", nice=7)[1].split() == [str(own + 7)] * 2
    assert run("nice")[1] == f"{own}\n"


def test_worker_without_standard_streams_starts_commands(tmp_path: Path) -> None:
    program = """
import os, select, sys
from queuectl import clock
from queuectl.runnable import Shell
from queuectl.workers.execution.attempt import Start, launch
for fd in (0, 1, 2): os.close(fd)
attempt = launch(Start(run=Shell("echo out; echo err >&2; cat"), output=sys.argv[1], env={}))
select.select([attempt], [], [])
attempt.collect(clock.monotonic())
os._exit(attempt.outcome.exit_code)
"""
    output = tmp_path / "output"
    done = subprocess.run(
        [sys.executable, "-c", program, str(output)], check=False, env={"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert done.returncode == 0
    assert output.read_text() == "out\nerr\n"

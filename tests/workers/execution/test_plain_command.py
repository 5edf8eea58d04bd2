"""Plain command lines: that running one without the shell can't be told from running it by the shell."""

import os
import re
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from queuectl import clock
from queuectl.decisions import Outcome
from queuectl.host.mounts import RemotePaths
from queuectl.runnable import SHELL, Argv, Shell
from queuectl.workers.execution import plain_command as module
from queuectl.workers.execution import spawn
from queuectl.workers.execution.attempt import Start, launch
from queuectl.workers.execution.plain_command import plain_command
from tests.support.lab import Lab

Both = Callable[..., tuple[Outcome, bytes]]
PATH = "/usr/local/bin:/usr/bin:/bin"
WORDS = st.text("abZ09_./+,@%:=-", min_size=1, max_size=6)
PROGRAMS = ["basename", "dirname", "expr", "cat", "uname", "/usr/bin/basename", "./tool", "tool", "here/tool", "script"]
OTHERS = ["true", "echo", "test", "if", "no-such-program", "/no/such", ".", "here", "a=b", "-x", "+x", "%1", "@", "!"]
DIE = """
import os, signal, sys
number = int(sys.argv[1])
if number != signal.SIGKILL:
    signal.signal(number, signal.SIG_DFL)
os.kill(os.getpid(), number)
"""
NAMES = [
    "A",
    "_",
    "OLDPWD",
    "SHLVL",
    "IFS",
    "PS1",
    "OPTIND",
    "PPID",
    "LC_ALL",
    "LANG",
    "BASH_COMPAT",
    "SHELLOPTS",
    "ENV",
]
HARMLESS = ["MAIL", "HISTSIZE", "LINES", "TERM", "HOME", "PYTHONPATH", "TMOUT", "CDPATH", "FUNCNEST", "POSIX"]
SPAWNED = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture(params=["sh", "dash", "bash", "busybox"])
def shell(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The path of a shell that counts as the default one, under the name `sh`."""
    if (found := shutil.which(request.param)) is None:
        pytest.skip(f"no {request.param} here")
    if request.param == "sh":
        return SHELL
    link = tmp_path / "shells" / "sh"
    link.parent.mkdir()
    link.symlink_to(os.path.realpath(found))
    monkeypatch.setattr(module, "SHELL", str(link))
    monkeypatch.setattr(spawn, "SHELL", str(link))
    return str(link)


@pytest.fixture
def cwd(tmp_path: Path) -> str:
    """A folder with programs of several kinds; `tool` is found in its `bin`, which comes first in the PATH."""
    for folder in ("bin", "here", "bin/here"):
        (tmp_path / folder).mkdir()
    for path in ("tool", "here/tool", "bin/tool"):
        shutil.copy("/usr/bin/basename", tmp_path / path)
    (tmp_path / "bin" / "script").write_text('echo "a script without a first line: $*"\n')
    (tmp_path / "bin" / "script").chmod(0o755)
    return str(tmp_path)


def environment(cwd: str, variables: dict[str, str] | None = None) -> dict[str, str]:
    return {**(variables or {}), "PATH": f"{cwd}/bin:{PATH}", "PWD": cwd}


@pytest.fixture
def both(shell: str, cwd: str) -> Both:
    """Run a line by the shell, and as a worker runs it: the outcome and output, which are compared."""

    def both(line: str, env: dict[str, str] | None = None, **what: object) -> tuple[Outcome, bytes]:
        by_shell, direct = (run(direct=direct, line=line, env=env, **what) for direct in (False, True))
        assert told(direct) == told(by_shell)
        return direct

    def run(*, direct: bool, line: str, env: dict[str, str] | None, **what: object) -> tuple[Outcome, bytes]:
        path = Path(cwd) / "output"
        path.unlink(missing_ok=True)
        command, env = Shell(line, shell), env or environment(cwd)
        plain = plain_command(command, env, cwd) if direct else None
        start = {"run": command, "env": env, "cwd": cwd, "output": str(path), "plain": plain, **what}
        attempt = launch(Start(**start))  # type: ignore[arg-type]
        while attempt.outcome is None:
            assert select.select([attempt], [], [], 10)[0], "the command does not end"
            attempt.collect(clock.monotonic())
        return attempt.outcome, path.read_bytes()

    def told(run: tuple[Outcome, bytes]) -> tuple[object, ...]:
        outcome, text = run
        # The variables are in another order.
        return outcome.cause, outcome.exit_code, outcome.signal, outcome.error, sorted(text.split(b"\0"))

    return both


@SPAWNED
@given(st.sampled_from(PROGRAMS + OTHERS) | WORDS, st.lists(WORDS, max_size=3), st.sampled_from([" ", "  "]))
def test_plain_words_do_the_same(both: Both, first: str, words: list[str], space: str) -> None:
    both(space.join([first, *words]))


@SPAWNED
@example({"SHLVL": "999"})
@given(
    st.dictionaries(
        st.sampled_from(NAMES) | st.sampled_from(HARMLESS) | st.text("aZ.%0_", min_size=1, max_size=4),
        st.text("a1/ :\n", max_size=4),
    )
)
def test_the_environment_is_the_same(both: Both, cwd: str, variables: dict[str, str]) -> None:
    both("env -0", environment(cwd, variables))


@pytest.mark.parametrize("number", [1, 2, 3, 6, 9, 11, 13, 14, 15, int(signal.SIGRTMIN)])
def test_death_by_a_signal_is_told_alike(both: Both, cwd: str, number: int) -> None:
    Path(cwd, "die.py").write_text(DIE)
    outcome, _ = both(f"{os.path.realpath(sys.executable)} die.py {number}")
    assert number in (outcome.signal, (outcome.exit_code or 0) - 128)


@pytest.mark.parametrize("line", ["ls /proc/self/fd", "cat /proc/self/limits", "readlink /proc/self/cwd", "cat -"])
def test_descriptors_limits_and_folder_are_alike(both: Both, line: str) -> None:
    both(line)


def test_umask_niceness_and_signals_are_alike(both: Both) -> None:
    assert b"0027" in both("grep Umask /proc/self/status", umask=0o027)[1]
    assert both("grep -e SigBlk -e SigIgn -e SigCgt /proc/self/status")[1].count(b"\n") == 3
    assert both("nice", nice=3)[1] == b"%d\n" % (os.nice(0) + 3)


@pytest.fixture
def is_plain(cwd: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., bool]:
    """Whether a line runs without the shell, where that is a dash that stays."""
    monkeypatch.setattr(module, "_shell_kind", lambda _: module._ShellKind(is_bash=False, stays=True))

    def is_plain(line: str, **changes: str) -> bool:
        return plain_command(Shell(line, module.SHELL), {**environment(cwd), **changes}, cwd) is not None

    return is_plain


@pytest.mark.parametrize("line", ["env", "basename a  b", "/usr/bin/env -i A=1 b", "here/tool +x", "tool --y=1,2:3@4%"])
def test_words_that_name_a_program_are_plain(is_plain: Callable[..., bool], line: str) -> None:
    assert is_plain(line)


@pytest.mark.parametrize("line", [
    "true", "echo a", "[ a", "time env", "A=1 env", "-env", "+env", "env;", "env $A", "env 'a'", "env a|env", "env ~",
    "env *", "env a\nenv", "env\ta", " env", "env é", "env {a,b}", "env #a", "env !", "env &", "env >a", "env <a",
    "env ?", "env \\a", "env (", "env `a`", "env ^", "no-such-program", "here", "script", "", "setsid env",
    "env /usr/bin/setsid a", "%1", f"env {'a' * 5000}",
])  # fmt: skip
def test_other_lines_are_the_shells(is_plain: Callable[..., bool], line: str) -> None:
    assert not is_plain(line)


def test_no_builtin_is_plain(shell: str, is_plain: Callable[..., bool], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_find", lambda *_: "/usr/bin/env")
    assert is_plain("no-builtin")
    names = {name for folder in PATH.split(":") for name in os.listdir(folder)} | module._BUILTINS | {"[[", "!", "{"}
    asked = [shell, "-c", 'for name; do type "$name"; done', "sh", *sorted(names)]
    told = subprocess.run(asked, capture_output=True, text=True, check=False).stdout
    builtins = re.findall(r"^(\S+) is a .*(?:builtin|keyword|reserved word)", told, re.MULTILINE)
    assert len(builtins) > 50
    assert not any(map(is_plain, builtins))


@pytest.mark.parametrize("changes", [
    {"PATH": ""}, {"PATH": "/usr/bin:"}, {"PATH": "bin:/usr/bin"}, {"PATH": "~/bin:/usr/bin"},
    {"PATH": "/b%func:/usr/bin"}, {"BASH_FUNC_env%%": "() { echo hello; }"}, {"IFS": "a"}, {"PWD": "/"}, {"A.B": "1"},
    {"LD_PRELOAD": "no.so"}, {"SHELLOPTS": "xtrace"},
])  # fmt: skip
def test_some_environments_are_the_shells(is_plain: Callable[..., bool], changes: dict[str, str]) -> None:
    assert is_plain("env", A="1", LD_LIBRARY_PATH="/usr/lib")
    assert not is_plain("env", **changes)


def test_other_shells_and_programs_are_not_plain(cwd: str) -> None:
    assert plain_command(Shell("env", "/bin/bash"), environment(cwd), cwd) is None
    assert plain_command(Argv(("env",)), environment(cwd), cwd) is None
    assert plain_command(Shell("env"), environment(cwd), None) is None


def test_a_changed_program_is_noticed(is_plain: Callable[..., bool], cwd: str) -> None:
    assert is_plain("tool a")
    Path(cwd, "bin", "tool").write_text("echo now a script\n")
    assert not is_plain("tool a")
    Path(cwd, "bin", "tool").unlink()
    assert not is_plain("tool a")


def test_remote_programs_and_folders_are_the_shells(
    is_plain: Callable[..., bool], cwd: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.makedirs(f"{cwd}/mounted/bin")
    shutil.copy("/usr/bin/basename", f"{cwd}/mounted/bin/far")
    os.symlink(f"{cwd}/mounted/bin/far", f"{cwd}/bin/link")
    lines = {line: {"PATH": f"{cwd}/bin:{cwd}/mounted/bin"} for line in ("far a", "tool a", "link a")}
    assert is_plain("link a")
    assert all(is_plain(line, **changes) for line, changes in lines.items())
    remote = RemotePaths()
    remote._points = {f"{cwd}/mounted": True}
    monkeypatch.setattr(module, "remote_paths", lambda: remote)
    assert is_plain("tool a")
    assert not is_plain("link a")
    assert not any(is_plain(line, **changes) for line, changes in lines.items())


def test_what_cannot_be_executed_is_the_shells(both: Both, cwd: str) -> None:
    Path(cwd, "bin", "broken").write_bytes(b"\x7fELF, it says")
    Path(cwd, "bin", "broken").chmod(0o755)
    assert both("broken a")[0].exit_code in (2, 126, 127)


def test_a_setting_leaves_every_line_to_the_shell(lab: Lab) -> None:
    kind = module._shell_kind(SHELL)
    if kind is None or not kind.stays:
        pytest.skip("the shell here becomes the command")

    def leads_its_session() -> bool:
        id = lab.queue.enqueue("cat /proc/self/stat")
        lab.drain()
        pid, _, _, _, _, session, *_ = Path(lab.queue.output(id)).read_text().split()
        return pid == session

    assert leads_its_session()
    lab.queue.set_config("plain-commands", "shell")
    assert not leads_its_session()

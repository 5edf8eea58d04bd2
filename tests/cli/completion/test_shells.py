"""TAB in real shells, each on a terminal: what a completed line calls.

bash is on each machine. Where zsh or fish is not, what is tested is that this is said; `.ci/run` installs both.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.interactive_shell import InteractiveShell
from tests.support.shell import Shell


@pytest.fixture(params=["bash", "zsh", "fish"])
def shell(request: pytest.FixtureRequest, queuectl: Shell, tmp_path: Path) -> Iterator[InteractiveShell | None]:
    """A shell beside a queue with some jobs; None where it is not installed."""
    if shutil.which(request.param) is None:
        with pytest.raises(FileNotFoundError, match=f"there is no {request.param}: install the package"):
            InteractiveShell(request.param, tmp_path, queuectl.env)
        assert request.param != "bash"
        yield None
        return
    queuectl("enqueue", "--queue", "mail", "--id", "it's $1", "--batch", "b:1", "--tag", "exp=3", "true").ok()
    queuectl("enqueue", "--id", "other one", "true").ok()
    (tmp_path / "some file").touch()
    shell = InteractiveShell(request.param, tmp_path, queuectl.env)
    yield shell
    shell.close()


def test_tab_completes_what_stands_at_the_cursor(shell: InteractiveShell | None) -> None:
    if shell is None:
        return
    for keys, words in (
        ("canc\t", ["cancel"]),
        ("cancel it\t", ["cancel", "it's $1"]),
        ("cancel 'oth\t", ["cancel", "other one"]),
        ('cancel "oth\t', ["cancel", "other one"]),
        ("cancel other\\ o\t", ["cancel", "other one"]),
        ("cancel --sig\tKI\t", ["cancel", "--signal", "KILL"]),
        ("enqueue --after bat\tb\t", ["enqueue", "--after", "batch:b:1"]),
        ("list sta\tde\t", ["list", "state:dead"]),
        ("list tag:exp=\t", ["list", "tag:exp=3"]),
        ("list --queue=m\t", ["list", "--queue=mail"]),
        ("list --state dead,pen\t", ["list", "--state", "dead,pending"]),
        ("--db q.db worker star\t", ["--db", "q.db", "worker", "start"]),
        ("backup som\t", ["backup", "some file"]),
        ("enqueue --stdin=som\t", ["enqueue", "--stdin=some file"]),
        ("enqueue -- cat som\t", ["enqueue", "--", "cat", "some file"]),
    ):
        assert shell.call(keys) == words, keys


def test_tab_shows_what_each_name_stands_for(shell: InteractiveShell | None) -> None:
    if shell is None:
        return
    assert shell.shows("dlq \t\t", "Run dead jobs again")


def test_tab_without_a_queue_is_quiet(shell: InteractiveShell | None, tmp_path: Path) -> None:
    if shell is None:
        return
    shell.seen = ""
    assert shell.call("--db lost.db cancel x\t") == ["--db", "lost.db", "cancel", "x"]
    assert "queuectl:" not in shell.seen
    assert not (tmp_path / "lost.db").exists()


def test_the_scripts_are_the_same_each_time(queuectl: Shell) -> None:
    for name in ("bash", "zsh", "fish"):
        script = queuectl("completion", name).ok()
        assert script.raw == queuectl("completion", name).ok().raw
        assert f"Completion of queuectl for {name}" in script.out

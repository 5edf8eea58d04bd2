"""What `queuectl __complete` answers: which words may stand at the cursor."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from queuectl.cli import commands, plain_parser
from queuectl.cli.completion import slot as slots
from queuectl.cli.completion.values import OF_PLACEHOLDER
from tests.support.shell import Answer, Shell

Inside = Callable[..., Answer]

FREE = {
    "N", "M", "X", "DURATION", "DURATION|none", "DURATION[,DURATION…]", "WHEN", "TEXT",
    "KEY", "RULE", "CODE[,CODE…]", "PATTERN", "SEQ",
    "SEQ:HASH", "LIST", "SIZE", "N/SPAN", "K[=V]", "PERCENT", "N|SIZE", "CRON", "CRON|COMMAND", "FIELD=VALUE", "WORD",
    "--env-in-log", "schedule add NAME", "export --columns", "selftest --db", "--name", "--user",
}  # fmt: skip
"""Placeholders, options and arguments with values that can't be known before they are typed."""


def words(answer: Answer) -> list[str]:
    assert answer.ok().err == ""
    return [line.partition("\t")[0] for line in answer.lines[1:]]


@pytest.fixture
def complete(inside: Inside) -> Callable[[str], list[str]]:
    """The words that are suggested for the last one of a line."""
    return lambda line: words(inside("__complete", "zsh", *line.split(" ")))


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_each_command_completes_its_options(complete: Callable[[str], list[str]], name: str) -> None:
    parameters = plain_parser.options(commands.load(name))
    flags = {flag for each in parameters for flag in each.described.names if flag.startswith("-")}
    assert {*complete(f"{name} -")} == {*flags, "--help"}


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_each_value_is_known_or_free(name: str) -> None:
    command = commands.load(name)
    for each in plain_parser.options(command):
        described = each.described
        if each.type is bool or not described.names or slots.values_of(each.type, described) is not None:
            continue
        places = {described.metavar, described.names[0], f"{name} {described.names[0]}"}
        assert places & FREE, f"{places}: say what it may be, as a placeholder or by `values`"


def test_no_placeholder_is_both() -> None:
    assert not FREE & OF_PLACEHOLDER.keys()


def test_names_of_commands_are_completed(complete: Callable[[str], list[str]]) -> None:
    shown = {name.partition(" ")[0] for name in commands.COMMANDS if name != commands.ALIAS}
    assert {*complete("")} == shown | {"help"}
    assert complete("sto") == ["stop-workers"]
    assert complete("dlq ") == ["list", "retry", "purge"]
    assert complete("help dlq r") == ["retry"]
    assert complete("--db x.db worker st") == ["start", "stop"]
    assert complete("nothing ") == complete("nothing --") == complete("dlq nothing ") == []


@pytest.fixture
def queue(inside: Inside, queuectl: Shell) -> Inside:
    inside("enqueue", "--id", "bad", "--max-retries", "0", "--tag", "exp=3", "false").ok()
    queuectl.drain()
    inside("enqueue", "--id", "a b", "--queue", "mail", "--batch", "night", "sleep  9").ok()
    inside("enqueue", "--id", "kept", "--hold", "true").ok()
    inside("resource", "set", "gpu", "2").ok()
    inside("schedule", "add", "nightly", "@daily", "true").ok()
    return inside


VALUES: dict[str, list[str]] = {
    "cancel ": ["kept", "a b"], "dlq retry ": ["bad"], "dlq purge b": ["bad"], "retry ": ["bad"],
    "hold ": ["a b"], "release ": ["kept"], "start ": ["kept", "a b"], "suspend ": [],
    "cancel kept ": ["a b"], "inspect ": ["kept", "a b", "bad"], "logs k": ["kept"],
    "enqueue --after k": ["kept"], "enqueue --after kept,b": ["kept,bad", "kept,batch:"],
    "enqueue --after-any batch:": ["batch:night"], "pause ": ["default", "mail"], "queue set m": ["mail"],
    "list --queue=m": ["--queue=mail"], "worker start --queue m": ["mail"], "wait --batch ": ["night"],
    "list --tag ": ["exp=3"], "enqueue --tag e": ["exp=3"], "schedule run ": ["nightly"],
    "schedule add ": [], "resource unset ": ["gpu"], "run --resource ": ["gpu"], "worker stop ": [],
    "config set sync": ["synchronous"], "config set synchronous ": ["full", "normal"],
    "config set on-lost d": ["dead"], "enqueue --on-lost ": ["retry", "dead"],
    "cancel --signal USR": ["USR1", "USR2"], "archive --state c": ["completed", "cancelled"],
    "list --state dead,pe": ["dead,pending"], "list state:de": ["state:dead"], "list sta": ["state:"],
    "list -queue:m": ["-queue:mail"], "list tag:exp": ["tag:exp=3"],
    "events --type worker_l": ["worker_lost"], "replay cou": ["counts"], "export --what j": ["jobs"],
    "completion ": ["bash", "zsh", "fish"], "list --columns id,exit": ["id,exit_code"],
    "schedule add n --tz Europe/Berl": ["Europe/Berlin"], "schedule edit --overlap q": ["queue"],
}  # fmt: skip
"""What is suggested for the last word of a line."""


def test_values_are_those_that_make_sense(queue: Inside) -> None:
    found = {line: words(queue("__complete", "zsh", *line.split(" "))) for line in VALUES}
    assert found == VALUES


TASKS = {
    "backup ": "files", "backup --db ": "files", "--db ": "files", "--db=": "files",
    "enqueue --stdin=": "files", "replay --into ": "files",
    "enqueue --cwd ": "folders", "--logs ": "folders", "enqueue ": "programs", "run ma": "programs",
    "enqueue -- ": "argv", "enqueue --id x -- ls -": "argv", "schedule add x @daily -- m": "argv",
    "list st": "open", "list state:": "words", "enqueue --each gzip ::: ": "files",
    "list --limit ": "words",
}  # fmt: skip
"""What the shell has to do for it."""


def test_the_shell_is_told_what_it_completes(inside: Inside) -> None:
    assert {line: inside("__complete", "fish", *line.split(" ")).ok().lines[0] for line in TASKS} == TASKS


def test_an_option_is_given_once_unless_repeatable(complete: Callable[[str], list[str]]) -> None:
    assert complete("enqueue --pri") == ["--priority"]
    assert complete("enqueue --priority 3 --pri") == complete("enqueue --priority=3 --pri") == []
    assert complete("enqueue --tag a --ta") == ["--tag"]


def test_a_filter_in_one_word_is_completed(queue: Inside) -> None:
    assert words(queue("__complete", "zsh", "cancel", "--where", "state:dead ta")) == ["state:dead tag:"]
    assert words(queue("__complete", "zsh", "cancel", "--where", "state:dead -tag:e")) == ["state:dead -tag:exp=3"]


def test_words_are_described_in_one_line(queue: Inside) -> None:
    queue("enqueue", "--id", "odd", "echo \x1b[31m\n\t" + "x" * 99).ok()
    lines = queue("__complete", "zsh", "inspect", "").ok().lines
    assert lines[2:] == ["kept\tpending true", "a b\tpending sleep 9", "bad\tdead false"]
    assert lines[1].startswith("odd\tpending echo [31m xxx")
    assert len(lines[1]) < 80
    listed = queue("__complete", "bash", "63", "queuectl inspect ", "").ok().lines
    assert listed[2:] == ["kept  (pending true)", "a\\ b  (pending sleep 9)", "bad   (dead false)"]
    assert queue("__complete", "bash", "9", "queuectl inspect ", "").ok().lines[2:] == ["kept", "a\\ b", "bad"]


@pytest.mark.parametrize("database", ["absent.db", "folder", "text", "postgresql://localhost:1/x", "nope://x", ""])
def test_what_can_not_be_read_has_no_names(inside: Inside, queuectl: Shell, database: str) -> None:
    (queuectl.folder / "folder").mkdir()
    (queuectl.folder / "text").write_text("not a database" * 50)
    before = sorted(queuectl.folder.rglob("*"))
    answer = inside("__complete", "zsh", "--db", database, "cancel", "").ok()
    assert (answer.out, answer.err) == ("words\n", "")
    assert sorted(queuectl.folder.rglob("*")) == before


def test_the_database_is_the_one_of_the_line(queue: Inside, queuectl: Shell) -> None:
    queue("enqueue", "--db", "other.db", "--id", "elsewhere", "true").ok()
    for line in ("--db other.db cancel ", "--db=other.db cancel ", "cancel --db other.db ", "cancel --db=other.db "):
        assert words(queue("__complete", "zsh", *line.split(" "))) == ["elsewhere"]
    (queuectl.folder / ".env").write_text("QUEUECTL_DB=other.db\nTHIS IS NO LINE\n")
    named = queuectl("__complete", "zsh", "cancel", "", QUEUECTL_DB="")
    assert words(named) == ["elsewhere"]
    there = queuectl("__complete", "zsh", "--db", "$FOLDER/other.db", "cancel", "", FOLDER=str(queuectl.folder))
    assert words(there) == ["elsewhere"]


def test_nothing_is_written(queue: Inside, queuectl: Shell) -> None:
    def contents() -> dict[str, bytes]:
        files = (path for path in sorted(queuectl.folder.rglob("*")) if path.is_file())
        return {str(path): path.read_bytes() for path in files if not path.name.endswith("-shm")}

    before = contents()
    assert words(queue("__complete", "zsh", "cancel", "")) == ["kept", "a b"]
    assert contents() == before


def test_an_unknown_shell_is_refused(inside: Inside) -> None:
    assert inside("completion", "tcsh").refused(2) == "there is no completion for 'tcsh'; for bash, zsh, fish"
    assert "(did you mean 'zsh'?)" in inside("completion", "zhs").refused(2)
    assert inside("completion").refused(2).startswith("completion needs a SHELL")


@pytest.mark.parametrize("words", [(), ("tcsh", "x"), ("zsh",), ("bash", "9", "queuectl ")], ids=str)
def test_only_scripts_are_answered(inside: Inside, words: tuple[str, ...]) -> None:
    assert "is for the scripts" in inside("__complete", *words).refused(2)


def test_no_answer_needs_heavy_modules(queuectl: Shell) -> None:
    """Each is imported with nothing that a press of TAB would wait for."""
    queuectl("enqueue", "true").ok()
    heavy = ("cyclopts", "rich", "psycopg", "queuectl.queue", "queuectl.engines.view", "queuectl.engines.base")
    code = (
        "import sys; sys.modules['typing_extensions'] = None; from queuectl.cli import main\n"
        "for line in ('cancel ', 'wor', 'retry --'): main(['__complete', 'zsh', *line.split(' ')])\n"
        f"print([name for name in {heavy!r} if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=queuectl.folder, env=queuectl.env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "1\tpending true" in done.stdout

"""Bad input: one clear line, the exit code of the contract, and nothing half done."""

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.support.shell import Answer, Shell


def _nothing(queuectl: Shell) -> None:
    """Nothing was enqueued."""
    assert queuectl.total() == 0


@pytest.mark.parametrize("words", [[""], ["  "], ["\n"], ["--", ""]])
def test_an_empty_command(queuectl: Shell, words: list[str]):
    assert queuectl("enqueue", *words).refused(2) == "the command is empty"
    _nothing(queuectl)


@pytest.mark.parametrize("words", [[], ["--"]])
def test_no_command_at_all(queuectl: Shell, words: list[str]):
    assert queuectl("enqueue", *words).refused(2)
    _nothing(queuectl)


def test_a_malformed_spec(queuectl: Shell):
    assert "not valid JSON" in queuectl("enqueue", '{"id": "job1", "command": ').refused(2)
    _nothing(queuectl)


def test_an_unknown_field_is_named_with_the_nearest(queuectl: Shell):
    line = queuectl("enqueue", '{"comand": "true"}').refused(2)
    assert "unknown field 'comand'" in line
    assert "did you mean 'command'?" in line
    _nothing(queuectl)


def test_a_duplicate_id(queuectl: Shell):
    queuectl("enqueue", "--id", "job1", "true").ok()
    assert "'job1'" in queuectl("enqueue", "--id", "job1", "false").refused(3)
    assert queuectl("inspect", "job1", "--json").json["command"] == "true"
    assert queuectl.total() == 1


@pytest.mark.parametrize(
    "words,flag",
    [
        (["--max-retries", "-1"], "--max-retries: '-1'"), (["--delay", "-5"], "--delay: '-5'"),
        (["--delay", "-5s"], "--delay: '-5s'"), (["--timeout", "-1"], "--timeout: '-1'"),
        (["--backoff-base", "-2"], "--backoff-base: '-2'"), (["--jitter", "-0.1"], "--jitter: '-0.1'"),
        (["--backoff-max", "-1h"], "--backoff-max: '-1h'"), (["--max-retries", "many"], "--max-retries: 'many'"),
        (["--priority", "1.5"], "--priority: '1.5'"), (["--at", "yesterday"], "--at: 'yesterday'"),
        (["--on-lost", "shrug"], "--on-lost: 'shrug'"), (["--env", "NOT_SET_HERE"], "--env: 'NOT_SET_HERE'"),
        (["--env", "1A=x"], "--env: '1A'"), (["--queue", "a b"], "--queue: 'a b'"), (["--id", ""], "--id: is empty"),
        (["--after", ""], "--after: an id is empty"), (["--after-any", "1,,2"], "--after-any: an id is empty"),
        (["--on-duplicate", "fail"], "give --unique KEY as well"), (["--if-absent"], "an id of your own"),
        (["--stdin", "nowhere"], "nowhere"), (["--stdin", "/dev/null"], "not a regular file"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_with_its_flag(inside: Callable[..., Answer], words: list[str], flag: str):
    assert flag in inside("enqueue", *words, "true").refused(2)
    assert not os.path.exists("q.db") or inside("status").json["total"] == 0


def test_an_id_of_digits(queuectl: Shell):
    assert "all digits" in queuectl("enqueue", "--id", "17", "true").refused(2)
    assert "all digits" in queuectl("enqueue", '{"id": "17", "command": "true"}').refused(2)
    _nothing(queuectl)


def test_an_unknown_state_is_refused(queuectl: Shell):
    line = queuectl("list", "--state", "faild").refused(2)
    assert "--state: 'faild'" in line
    assert "did you mean 'failed'?" in line
    assert "pending, blocked, processing" in line


@pytest.mark.parametrize("command", ["inspect", "logs", "cancel", "retry", "wait"])
def test_an_unknown_id(queuectl: Shell, command: str):
    queuectl.make()
    assert "'nope'" in queuectl(command, "nope").refused(1)


def test_an_ambiguous_id_names_some_candidates(queuectl: Shell):
    for id in ("job-a", "job-b"):
        queuectl("enqueue", "--id", id, "true").ok()
    line = queuectl("inspect", "job").refused(2)
    assert "ambiguous" in line
    assert "job-a" in line
    assert queuectl("inspect", "job-a", "--json").ok().json["id"] == "job-a"
    assert "'job-'" in queuectl("cancel", "job-").refused(1), "what changes a job takes no prefix"


@pytest.mark.parametrize("command", ["enqueue", "run"])
def test_several_words_are_refused_with_a_hint(queuectl: Shell, command: str):
    assert f"queuectl {command} -- echo 'a b'" in queuectl(command, "echo", "a b").refused(2)
    assert f"queuectl {command} --" in queuectl(command, "ls", "-la").refused(2)
    assert f"queuectl {command} --" in queuectl(command, "ls", "--colour").refused(2)
    assert "stands before --" in queuectl(command, "nice", "--", "ls").refused(2)
    _nothing(queuectl)


def test_a_nul_byte(queuectl: Shell):
    assert "NUL" in queuectl("enqueue", '{"command": "a\\u0000b"}').refused(2)
    assert "NUL" in queuectl("enqueue", "--file", "-", stdin=b"true\na\0b\n").refused(2)
    _nothing(queuectl)


def test_bytes_that_are_no_utf_8(queuectl: Shell):
    assert "not valid UTF-8" in queuectl("enqueue", b"echo \xff").refused(2)
    assert "not valid UTF-8" in queuectl("enqueue", "--", b"echo", b"\xff").refused(2)
    assert "not valid UTF-8" in queuectl(b"\xff").refused(2)
    _nothing(queuectl)


def test_a_command_of_a_megabyte(queuectl: Shell):
    line = queuectl("enqueue", "--file", "-", stdin=b"echo " + b"x" * 1_000_000).refused(2)
    assert "1000005 bytes long" in line
    assert len(line) < 300
    _nothing(queuectl)


def test_one_bad_line_enqueues_nothing(queuectl: Shell):
    lines = [f"echo {n}" for n in range(10_000)]
    lines[7_122] = '{"command": "x", "max_retries": -1}'
    (queuectl.folder / "jobs").write_text("\n".join(lines))
    line = queuectl("enqueue", "--file", "jobs").refused(2)
    assert line.startswith("jobs: line 7123: max_retries: -1 ")
    _nothing(queuectl)


def test_a_job_file_with_existing_id_enqueues_nothing(queuectl: Shell):
    file = b'echo a\n{"id": "b", "command": "echo b"}\n{"id": "b", "command": "echo c"}\n'
    assert "'b'" in queuectl("enqueue", "--file", "-", stdin=file).refused(3)
    _nothing(queuectl)


def test_a_job_file_that_is_not_there(queuectl: Shell):
    assert "'nowhere'" in queuectl("enqueue", "--file", "nowhere").refused(2)
    assert "irectory" in queuectl("enqueue", "--file", ".").refused(2)


def test_an_empty_job_file_is_no_error(queuectl: Shell):
    answer = queuectl("enqueue", "--file", "-", stdin=b"\n# nothing\n").ok()
    assert answer.out == ""
    assert "no job in it" in answer.err


def test_a_file_and_a_command(queuectl: Shell):
    assert "--file" in queuectl("enqueue", "--file", "-", "true", stdin=b"true\n").refused(2)
    assert "--id" in queuectl("enqueue", "--file", "-", "--id", "a", stdin=b"true\n").refused(2)
    _nothing(queuectl)


# -- the database ----------------------------------------------------------------------------------------------------

EVERY = ["enqueue true", "status", "list", "events", "worker start --drain", "recover", "replay --check", "config get"]


@pytest.mark.parametrize("command", EVERY)
def test_a_database_path_that_is_a_folder(queuectl: Shell, command: str):
    (queuectl.folder / "folder").mkdir()
    assert "folder" in queuectl(*command.split(), "--db", "folder").refused(4)
    assert os.listdir(queuectl.folder / "folder") == []


@pytest.mark.parametrize("command", EVERY)
def test_a_file_of_another_kind_stays_unchanged(queuectl: Shell, command: str):
    file = queuectl.folder / "notes.txt"
    file.write_text("Dear diary, this is a text that is longer than the header of a SQLite file. " * 20)
    before = file.read_bytes()
    assert "notes.txt" in queuectl(*command.split(), "--db", "notes.txt").refused(4)
    assert file.read_bytes() == before


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_the_database_of_another_program_stays_unchanged(queuectl: Shell, mode: str):
    file = queuectl.folder / "other.db"
    with sqlite3.connect(file) as other:
        other.execute(f"pragma journal_mode = {mode}")
        other.execute("create table notes (text)")
    other.close()
    before = file.read_bytes()
    for command in EVERY:
        assert "another program" in queuectl(*command.split(), "--db", "other.db").refused(4)
    assert file.read_bytes() == before


def test_a_database_of_a_newer_schema(queuectl: Shell):
    queuectl("enqueue", "true").ok()
    with sqlite3.connect(queuectl.folder / "q.db") as newer:
        newer.execute("pragma user_version = 999")
    newer.close()
    assert "999" in queuectl("enqueue", "true").refused(4)
    assert "upgrade" in queuectl("status").refused(4)


def test_a_database_that_can_not_be_written(queuectl: Shell):
    queuectl.bind_root()
    (queuectl.folder / "closed").mkdir(mode=0o500)
    assert "closed" in queuectl("enqueue", "true", "--db", "closed/q.db").refused(4)


def test_a_database_where_no_folder_can_be_made(queuectl: Shell):
    (queuectl.folder / "file").write_text("")
    assert "file" in queuectl("enqueue", "true", "--db", "file/sub/q.db").refused(4)


def test_a_database_of_an_unknown_engine(queuectl: Shell):
    line = queuectl("status", "--db", "mysql://me:secret@host/x").refused(2)
    assert "postgresql" in line
    assert "secret" not in line


# -- the command line itself -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words,message",
    [
        (["statuss"], "no command 'statuss' (did you mean 'status'?)"),
        (["ls"], "no command 'ls' (did you mean 'list'?)"),
        (["workers"], "no command 'workers' (did you mean 'worker list'?)"),
        (["daemon"], "no command 'daemon' (did you mean 'worker start'?)"),
        (["worker", "kill"], "no command 'worker kill' (did you mean 'worker stop'?)"),
        (["freeze"], "no command 'freeze'; see"),
        (["modify", "1"], "no command 'modify' (did you mean 'edit'?)"),
        (["help", "strat"], "no command 'strat'"),
        (["help", "worker", "strat"], "no command 'worker strat' (did you mean 'start'?)"),
        (["worker", "start", "--daemon"], "worker start has no option --daemon (did you mean '--detach'?)"),
        (["worker", "start", "-j", "4"], "worker start has no option -j (did you mean '--slots'?)"),
        (["status", "--daemon"], "status has no option --daemon; see"),
        (["worker", "strat"], "no command 'worker strat' (did you mean 'start'?)"),
        (["--jsn"], "'--jsn'"),
        (["status", "--jsn"], "status has no option --jsn (did you mean '--json'?)"),
        (["enqueue", "--prioritty", "3", "true"], "enqueue has no option --prioritty (did you mean '--priority'?)"),
        (["status", "extra"], "'extra' is one word too many"),
        (["inspect"], "inspect needs an ID"),
        (["inspect", "1", "--version"], "--version needs a value"),
        (["enqueue", "--id", "a", "--id", "b", "true"], "--id is given twice"),
        (["--db"], "--db needs a value"),
        (["--db", "", "status"], "--db: is empty"),
        (["config", "set", "max-retres", "5"], "did you mean 'max-retries'?"),
        (["config", "set", "max-retries", "-5"], "max-retries: '-5' is not a whole number from 0"),
        (["events", "--type", "enqued"], "--type: 'enqued' is not a type (did you mean 'enqueued'?)"),
        (["events", "--since", "soon"], "--since: 'soon' is not a past moment"),
        (["export", "--format", "xml"], "--format: 'xml' is not one of ndjson, csv"),
        (["worker", "start", "--count", "0"], "--count: '0' is not a whole number from 1"),
        (["worker", "start", "--for", "0"], "--for: '0' is not a duration above 0"),
        (["inspect", "1", "--at", "seq:x"], "--at: 'seq:x'"),
        (["inspect", "1", "--at", "-1m", "--version", "1"], "--at or --version, not both"),
        (["dlq", "retry"], "needs an ID, or --all"),
        (["dlq", "purge", "--all", "1"], "IDs or --all or --where, not both"),
        (["logs", "1", "--tail", "-1"], "--tail: '-1'"),
    ],
)
def test_a_usage_error_is_one_helpful_line(inside: Callable[..., Answer], words: list[str], message: str):
    assert message in inside(*words).refused(2)
    assert not os.path.exists("q.db"), "nothing is made for a command line that is wrong"


def test_a_wrong_variable_of_the_environment_is_named(queuectl: Shell):
    assert "QUEUECTL_MAX_RETRIES" in queuectl("enqueue", "true", QUEUECTL_MAX_RETRIES="lots").refused(2)
    assert ".env" in _with_dotenv(queuectl, "QUEUECTL_MAX_RETRIES=lots\n")("enqueue", "true").refused(2)


def _with_dotenv(queuectl: Shell, text: str) -> Shell:
    (queuectl.folder / ".env").write_text(text)
    return queuectl


# -- the ends of the pipes -------------------------------------------------------------------------------------------


def _sh(queuectl: Shell, line: str) -> Answer:
    import subprocess
    import sys

    command = ["/bin/sh", "-c", line.replace("queuectl", f"{sys.executable} -m queuectl")]
    done = subprocess.run(command, cwd=queuectl.folder, env=queuectl.env, capture_output=True, timeout=50, check=False)
    assert b"Traceback" not in done.stderr
    assert b"Exception ignored" not in done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)


def test_an_unwritable_answer_is_a_failure(queuectl: Shell):
    queuectl("enqueue", "true").ok()
    for command in ("status", "list --json"):
        told = _sh(queuectl, f"queuectl {command} > /dev/full").refused(1)
        assert told == "standard output can't be written (No space left on device)"
    assert _sh(queuectl, "queuectl status >&-").refused(1) == "standard output is closed"
    assert _sh(queuectl, "queuectl nope 2> /dev/full").code == 2
    assert _sh(queuectl, "queuectl cancel 9 > /dev/full").refused(1) == "no job '9'; see `queuectl list`"


def test_an_unwritable_answer_fails_even_with_unbuffered_python(queuectl: Shell):
    run = "PYTHONUNBUFFERED=1 queuectl run --max-retries 0"
    told = _sh(queuectl, f"{run} 'echo x; exit 4' > /dev/full").refused(4)
    assert told.startswith("standard output can't be written (No space left on device): what job 1 writes is kept")
    assert _sh(queuectl, f"{run} 'head -c 300000 /dev/zero' | {{ sleep 0.1; wc -c; }}").ok().out.strip() == "300000"


def test_an_unwritable_answer_to_a_change_is_reported(queuectl: Shell):
    full = "done, but standard output can't be written (No space left on device)"
    assert _sh(queuectl, "queuectl enqueue --id mine true > /dev/full").refused(0) == f"{full}: mine"
    assert _sh(queuectl, "yes true | head -3 | queuectl enqueue --file - > /dev/full").refused(0) == f"{full}: 1, 2, 3"
    assert _sh(queuectl, "queuectl cancel mine 2 > /dev/full").refused(0) == f"{full}: mine  cancelled, 2  cancelled"
    assert '"id":"4"' in _sh(queuectl, "queuectl enqueue --json true > /dev/full").refused(0)
    assert _sh(queuectl, "queuectl config set timeout 9s > /dev/full").code == 0
    assert queuectl.total() == 5


def test_a_refusal_stands_on_a_full_disk(queuectl: Shell):
    queuectl("enqueue", "--id", "mine", "true").ok()
    assert "'mine'" in _sh(queuectl, "queuectl enqueue --id mine true > /dev/full").refused(3)


def test_closed_standard_streams_are_no_crash(queuectl: Shell):
    assert _sh(queuectl, "queuectl enqueue true >&-").refused(0) == "done, but standard output is closed: 1"
    assert _sh(queuectl, "queuectl enqueue true <&- >&- 2>&-").code == 0
    assert _sh(queuectl, "queuectl nope 2>&-").code == 2
    assert queuectl.total() == 2


def test_a_closed_pipe_is_no_failure(queuectl: Shell):
    queuectl("enqueue", "true").ok()
    for command in ("queuectl events --json", "yes true | head -30000 | queuectl enqueue --file -"):
        assert _sh(queuectl, f"({command}; echo $? >&2) | true").err == "0\n"


def test_the_end_of_the_process_is_complete(queuectl: Shell):
    code = (
        "import atexit, sys; from queuectl.cli import main; sys.argv = ['queuectl', 'enqueue', 'true'];"
        "atexit.register(print, 'ended'); sys.exit(main())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=queuectl.folder, env=queuectl.env, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1\nended\n"


def test_the_commands_that_change_something_are_commands():
    from queuectl.cli.commands import CHANGES, COMMANDS

    assert set(COMMANDS.values()) > CHANGES


def test_a_working_directory_that_is_gone(queuectl: Shell):
    queuectl.env["QUEUECTL_DB"] = str(queuectl.folder / "q.db")
    assert _sh(queuectl, "mkdir gone; cd gone; rmdir ../gone; queuectl enqueue true").code == 2
    _nothing(queuectl)
    elsewhere = "mkdir gone; cd gone; rmdir ../gone; queuectl run --cwd /tmp pwd"
    assert _sh(queuectl, elsewhere).ok().out == "/tmp\n"

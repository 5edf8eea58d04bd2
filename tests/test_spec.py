"""Specs of jobs: JSON, lines of a job file, and every bound."""

import os
from pathlib import Path

import pytest
from msgspec import UNSET, structs

from queuectl import bounds, spec
from queuectl.errors import Invalid
from queuectl.job_fields import Spec


def test_a_plain_text_is_a_shell_command():
    assert spec.command_or_spec("gzip -k big.log") == Spec(command="gzip -k big.log")
    assert spec.command_or_spec("{ echo a; }; echo b").command == "{ echo a; }; echo b"
    assert spec.command_or_spec("[1]").command == "[1]"


def test_an_object_is_a_spec():
    job = spec.command_or_spec(
        ' {"id": "job1", "command": "sleep 2", "max_retries": 5, "delay": "5m", "timeout": "none"} '
    )
    assert job == Spec(command="sleep 2", id="job1", max_retries=5, delay=300.0, timeout=None)


def test_a_list_of_strings_is_an_argv():
    assert spec.parse('{"command": ["ls", "a b"]}') == Spec(argv=("ls", "a b"))


def test_every_field_of_a_spec_is_read():
    job = spec.parse(
        '{"command": "x", "id": "a", "queue": "mail", "priority": -3, "at": "2026-11-24T09:00:00Z", "max_retries": 0,'
        ' "backoff_base": 1.5, "backoff_max": "1h", "jitter": 0.1, "timeout": 2, "env": {"A": "1"}, "cwd": "/tmp",'
        ' "env_in_log": ["A_KEY"], "secrets": {"B": "2"}, "shell": "/bin/bash",'
        ' "grace": "2m", "stop_signal": "SIGINT", "ok_codes": 3, "no_retry_codes": [78, 64],'
        ' "stdin": "/etc/hostname", "on_lost": "dead", "keep_children": true, "nice": 19, "held": true,'
        ' "memory_limit": "2G", "split_output": true,'
        ' "needs": {"mem": "1G", "gpu": 2}, "slots": 3, "reason": "why", "name": "b",'
        ' "after": "x, y", "after_any": ["z"], "after_failure": ["w"],'
        ' "tags": {"exp": "3", "urgent": ""},'
        ' "unique": "u", "on_duplicate": "fail", "if_absent": true,'
        ' "batch": "night", "halt": "now,fail=10%",'
        ' "on_complete": "echo done", "on_failure": "none", "on_end": null}'
    )
    assert structs.asdict(job) == {
        "command": "x", "argv": None, "id": "a", "queue": "mail", "priority": -3, "delay": None,
        "at": 1795510800000000, "max_retries": 0, "backoff_base": 1.5, "backoff_max": 3600.0, "jitter": 0.1,
        "timeout": 2.0, "env": {"A": "1"}, "env_in_log": ("A_KEY",), "secrets": {"B": "2"}, "split_output": True,
        "shell": "/bin/bash", "cwd": "/tmp", "stdin": "/etc/hostname", "on_lost": "dead",
        "keep_children": True, "reason": "why", "backoff": None, "nice": 19, "memory_limit": 2 << 30,
        "grace": 120.0, "stop_signal": "INT", "ok_codes": (0, 3), "no_retry_codes": (64, 78),
        "held": True, "needs": {"gpu": 2, "mem": 1 << 30}, "slots": 3, "name": "b", "after": ("x", "y"),
        "after_any": ("z",), "after_failure": ("w",), "tags": {"exp": "3", "urgent": ""},
        "unique": "u", "on_duplicate": "fail", "if_absent": True,
        "batch": "night", "halt": "now,fail=10%", "on_complete": "echo done", "on_failure": None, "on_end": None,
    }  # fmt: skip


def test_omitted_fields_are_left_to_the_settings():
    job = spec.parse('{"command": "x"}')
    assert job.timeout is UNSET
    assert (job.max_retries, job.backoff_base, job.jitter, job.on_lost) == (None, None, None, None)


@pytest.mark.parametrize(
    "text,message",
    [
        ('{"command"', "not valid JSON"),
        ('{"command": "x",}', "not valid JSON"),
        ("{}", "there is no command"),
        ('{"command": null}', "there is no command"),
        ('{"command": ""}', "the command is empty"),
        ('{"command": "  "}', "the command is empty"),
        ('{"command": []}', "the command is empty"),
        ('{"command": [""]}', "the command is empty"),
        ('{"comand": "x"}', r"unknown field 'comand' in the spec \(did you mean 'command'\?\)"),
        ('{"command": "x", "max-retries": 3}', r"did you mean 'max_retries'\?"),
        ('{"command": 5}', "command: must be a string or a list of strings, not a whole number"),
        ('{"command": ["a", 3]}', r"command\[1\]: must be a string"),
        ('{"command": "x", "priority": "3"}', "priority: must be a whole number, not a string"),
        ('{"command": "x", "priority": true}', "priority: must be a whole number"),
        ('{"command": "x", "priority": 99999999999999999999}', "priority: .* is not from -2147483648 to 2147483647"),
        ('{"command": "x", "max_retries": -1}', "max_retries: -1 is not from 0 to 1000000"),
        ('{"command": "x", "max_retries": 1.5}', "max_retries: must be a whole number"),
        ('{"command": "x", "backoff_base": 0.9}', "backoff_base: 0.9 is not from 1 to 1000000"),
        ('{"command": "x", "backoff_base": 1e400}', "backoff_base: number out of range"),
        ('{"command": "x", "jitter": 1.01}', "jitter: 1.01 is not from 0 to 1"),
        ('{"command": "x", "delay": -3}', "delay: '-3' is not a duration"),
        ('{"command": "x", "delay": "soon"}', "delay: 'soon' is not a duration"),
        ('{"command": "x", "at": "tomorrow"}', "at: 'tomorrow' is not a moment"),
        ('{"command": "x", "at": "1h", "delay": 1}', "delay or at, not both"),
        ('{"command": "x", "timeout": 0}', "timeout: 0 is not a duration above 0"),
        ('{"command": "x", "timeout": "x"}', "timeout: 'x' is not a duration"),
        ('{"command": "x", "on_lost": "foo"}', "on_lost: 'foo' is not one of retry, dead"),
        ('{"command": "x", "backoff": true}', "backoff: must be a number or a string or a list of durations, not true"),
        ('{"command": "x", "env": {"1A": "x"}}', "env: '1A' is not the name of a variable"),
        ('{"command": "x", "env": {"A": 3}}', "env.*: must be a string"),
        ('{"command": "x", "env": ["A=3"]}', "env: must be an object of strings"),
        ('{"command": "x", "cwd": ""}', "cwd: is empty"),
        ('{"command": "a\\u0000b"}', "NUL"),
        ('{"command": "\\ud800"}', "not valid JSON"),
    ],
)  # fmt: skip
def test_a_wrong_spec_is_refused_naming_the_field(text: str, message: str):
    with pytest.raises(Invalid, match=message) as caught:
        spec.parse(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "id", ["", "123", "²", "a/b", "-a", ".", "..", "a\nb", "a\x1b", " a", "a\u202eb", "x" * 201, "é" * 101]
)
def test_an_invalid_id_is_refused(id: str):
    with pytest.raises(Invalid, match=r"^id: "):
        bounds.check_id(id)


@pytest.mark.parametrize("id", ["job1", "a b", "ünï", "1a", "a.b-c_d:e", "x" * 200])
def test_a_valid_id_is_accepted(id: str):
    assert bounds.check_id(id) == id


@pytest.mark.parametrize("queue", ["", "a b", "a,b", "a/b", "-a"])
def test_an_invalid_queue_name_is_refused(queue: str):
    with pytest.raises(Invalid, match=r"^queue: "):
        spec.check(Spec(command="x", queue=queue))


def test_a_command_too_long_for_linux_is_refused():
    spec.check(Spec(command="x" * bounds.LONGEST_ARGUMENT))
    with pytest.raises(Invalid, match="1000000 bytes long; a program is given at most 131071"):
        spec.check(Spec(command="x" * 1_000_000))
    with pytest.raises(Invalid, match="put it in a script"):
        spec.check(Spec(argv=("x" * 100_000,) * 20))


def test_bytes_that_are_no_text_are_refused():
    with pytest.raises(Invalid, match="UTF-8"):
        spec.check(Spec(command="echo \udcff"))


def test_paths_become_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    job = spec.check(Spec(command="x", cwd="a/../b", stdin="in"))
    assert (job.cwd, job.stdin) == (os.path.join(tmp_path, "b"), os.path.join(tmp_path, "in"))


def test_a_job_file_has_one_job_a_line():
    lines = [b"\xef\xbb\xbfecho a\r\n", b"\n", b"  # no job\n", b'{"command": "b", "id": "b"}\n', b"  echo c  "]
    assert [job for _, job in spec.read(lines)] == [
        Spec(command="echo a"),
        Spec(command="b", id="b"),
        Spec(command="echo c"),
    ]


@pytest.mark.parametrize(
    "line,message",
    [
        (b'{"command"\n', "line 3: the spec is not valid JSON"),
        (b"a\xffb\n", r"line 3: not valid UTF-8 \(byte 2 of the line\)"),
        (b"a\0b\n", "line 3: the command: has a NUL byte"),
        (b'{"id": "7", "command": "x"}\n', "line 3: id: '7' is all digits"),
    ],
)
def test_a_wrong_line_is_named_by_its_number(line: bytes, message: str):
    with pytest.raises(Invalid, match=message):
        list(spec.read([b"echo a\n", b"\n", line]))

"""Every option of a job means the same through every door: flag, spec, job file, library, setting, retry."""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from projections.jobs import Job
from queuectl import Queue
from queuectl.events import Enqueued
from queuectl.options import EDITABLE, IN_EVENT, OF_NAME, OPTIONS, SETTINGS, TAKE_NONE, Option
from queuectl.settings import Settings
from tests.support import job_fields
from tests.support.shell import Shell

BY_TYPE: dict[str, tuple[Any, Any]] = {
    "integer": ("5", 5),
    "number": ("1", 1.0),
    "duration": ("90s", 90.0),
    "duration, or null": ("2m", 120.0),
    "duration, or array of durations": ("10s,1m", [10.0, 60.0]),
    '`"retry"`, `"dead"`': ("dead", "dead"),
    "size, or null": ("64M", 64 << 20),
    "boolean": (True, True),
    "object of amounts": ("db=1", {"db": 1}),
    "object of strings": ("COLOUR=red", {"COLOUR": "red"}),
    "array of strings": ("A_KEY", ["A_KEY"]),
    "string, or integer": ("sigint", "INT"),
    "string, or null": ("echo it has ended", "echo it has ended"),
    "string, or array of strings": ("parent", ["parent"]),
}
"""By the type of an option a value: as a flag or a setting has it, and as the job then has it."""
BY_NAME: dict[str, tuple[Any, Any]] = {
    "id": ("mine", "mine"), "queue": ("mail", "mail"), "shell": ("/bin/bash", "/bin/bash"), "cwd": ("/", "/"),
    "stdin": ("/etc/hostname", None), "reason": ("because", "because"), "secrets": ("COLOUR=red", ["COLOUR"]),
    "at": ("2099-01-01T00:00:00Z", "2099-01-01T00:00:00.000000Z"),
    "batch": ("night", "night"), "halt": ("soon,fail=3", "not stored"),
    "on_duplicate": ("fail", "not stored"), "unique": ("key", "key"), "if_absent": (True, "not stored"),
    "name": ("mine", "a label is not stored"), "ok_codes": ("24,3", [0, 3, 24]), "no_retry_codes": ("78,64", [64, 78]),
    "tags": ("exp=3", {"exp": "3"}),
}  # fmt: skip
"""The same for options whose type does not say enough."""

EACH = pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)


def written(option: Option) -> str | bool:
    return (BY_NAME.get(option.name) or BY_TYPE[option.kind.documented])[0]


BESIDE: dict[str, dict[str, Any]] = {
    "if_absent": {"id": "mine"}, "halt": {"batch": "night"}, "on_duplicate": {"unique": "key"},
}  # fmt: skip
"""What has to be said beside an option."""


def flags(option: Option) -> list[str]:
    text = written(option)
    beside = [word for name, value in BESIDE.get(option.name, {}).items() for word in (f"--{name}", value)]
    return [f"--{option.key}", *([text] if isinstance(text, str) else []), *beside]


def spec_value(option: Option) -> Any:
    """The value as a JSON spec has it."""
    text = written(option)
    if option.kind.documented == "object of strings":
        name, _, value = str(text).partition("=")
        return {name: value}
    if option.kind.documented == "object of amounts":
        name, _, value = str(text).partition("=")
        return {name: int(value)}
    if option.kind.documented in ("array of strings", "string, or array of strings"):
        return [text]
    return int(str(text)) if option.kind.documented in ("integer", "number") else text


def keyword(option: Option) -> Any:
    """The value as the library has it."""
    read = option.kind.load(spec_value(option))
    return read.get("at") if option.name == "at" else tuple(read) if option.name == "env_in_log" else read


def shown(job: dict[str, Any], option: Option) -> Any:
    """What the document of a job says of an option; of a delay only that there is one."""
    match option.name:
        case "delay":
            return job["run_at"] > job["enqueued_at"]
        case "at":
            return job["run_at"]
        case "stdin":
            return len(job["stdin"]) == 64
        case "env_in_log":
            return ["A_KEY"]
        case "name":
            return "a label is not stored"
        case "on_duplicate" | "if_absent" | "halt":
            return "not stored"
        case name:
            return job[name]


def expected(option: Option) -> Any:
    if option.name in ("delay", "stdin"):
        return True
    return (BY_NAME.get(option.name) or BY_TYPE[option.kind.documented])[1]


@pytest.fixture(autouse=True)
def parent(queuectl: Shell) -> None:
    """A job that others can depend on."""
    queuectl("enqueue", "--id", "parent", "true").ok()


@pytest.mark.parametrize("option", [each for each in OPTIONS if not each.only_in_specs], ids=lambda option: option.name)
def test_a_flag_is_what_the_job_has(queuectl: Shell, option: Option) -> None:
    job = queuectl("enqueue", *flags(option), "--json", "true").ok().json
    assert shown(job, option) == expected(option)


@EACH
def test_a_spec_says_it_as_well(queuectl: Shell, option: Option) -> None:
    spec = {"command": "true", option.name: spec_value(option), **BESIDE.get(option.name, {})}
    job = queuectl("enqueue", "--json", json.dumps(spec)).ok().json
    assert shown(job, option) == expected(option)


@EACH
def test_a_keyword_of_the_library_says_it(tmp_path: Path, queuectl: Shell, option: Option) -> None:
    with Queue(queuectl.folder / "q.db") as queue:
        id = queue.enqueue("true", **{option.name: keyword(option), **BESIDE.get(option.name, {})})
    assert shown(queuectl("inspect", id, "--json").ok().json, option) == expected(option)


@pytest.mark.parametrize("option", [each for each in OPTIONS if not each.only_new], ids=lambda option: option.name)
def test_a_retry_changes_it(queuectl: Shell, option: Option) -> None:
    id = queuectl("enqueue", "true").ok().lines[0]
    queuectl("cancel", id).ok()
    queuectl("retry", id, *flags(option)).ok()
    job = queuectl("inspect", id, "--json").ok().json
    if option.name not in ("secrets", "reason"):  # these stand in the event of the retry
        assert shown(job, option) == expected(option)
    assert job["state"] == "pending"


EDITED = pytest.mark.parametrize("option", [OF_NAME[name] for name in EDITABLE], ids=lambda option: option.name)


@EDITED
@pytest.mark.parametrize("how", ["flag", "words", "json"])
def test_an_edit_changes_it(queuectl: Shell, option: Option, how: str) -> None:
    queuectl("enqueue", "--id", "other", "true").ok()
    id = queuectl("enqueue", "--after", "other", "true").ok().lines[0]
    match how:
        case "flag":
            words = flags(option)
        case "words":
            words = ["--set", f"{option.name}={str(written(option)).replace('True', 'true')}"]
        case _:
            words = ["--set", f"{option.name}={json.dumps(spec_value(option))}"]
    if option.name in ("env_in_log", "reason"):
        words += ["--priority", "1"]
    job = queuectl("edit", id, *words, "--json").ok().json
    if option.name != "reason":  # this stands in the event of the edit
        assert shown(job, option) == expected(option)


@pytest.mark.parametrize("option", SETTINGS, ids=lambda option: option.name)
def test_a_setting_is_what_later_jobs_have(queuectl: Shell, option: Option) -> None:
    queuectl("config", "set", option.key, str(written(option))).ok()
    assert shown(queuectl("enqueue", "--json", "true").ok().json, option) == expected(option)


@pytest.mark.parametrize("option", SETTINGS, ids=lambda option: option.name)
def test_the_default_of_a_setting_is_read(option: Option) -> None:
    assert option.kind.read(option.setting or "") == getattr(Settings(), option.name)


def test_options_are_fields_of_the_event() -> None:
    made = {
        "command",
        "argv",
        "run_at",
        "environment",
        "watching",
        "trigger",
    }  # the rest of the event is not asked for by a name of its own
    assert set(IN_EVENT) == set(Enqueued.__struct_fields__) - made
    assert {"queue", "priority"} < set(Job.__struct_fields__) & set(IN_EVENT)


@pytest.mark.parametrize(
    "given, message",
    [
        (("--delay", "1m", "--at", "2h"), "give --delay or --at, not both"),
        (("--backoff", "1s", "--backoff-base", "2"), "give --backoff-base or --backoff, not both"),
        (("--nice", "20"), "--nice: '20' is not a whole number from 0 to 19"),
        (("--nice", "-1"), "--nice: '-1' is not a whole number from 0 to 19"),
        (("--memory-limit", "0"), "--memory-limit: 0 bytes are not from 4 MiB to 1024 TiB; write 64M or 2G, or none"),
        (("--memory-limit", "64"), "--memory-limit: 64 bytes are not from 4 MiB"),
        (("--memory-limit", "-64M"), "--memory-limit: '-64M' is not a size"),
        (("--memory-limit", "lots"), "--memory-limit: 'lots' is not a size"),
        (("--backoff", "10s,soon"), "--backoff: 'soon' is not a duration"),
        (("--backoff", ""), "--backoff: '' is not a duration"),
        (("--grace", "-1"), "--grace: '-1' is not a duration"),
        (
            ("--stop-signal", "TREM"),
            "--stop-signal: 'TREM' is no signal (did you mean 'TERM'?); write INT, SIGINT or 2",
        ),
        (("--stop-signal", "STOP"), "--stop-signal: 'STOP' asks nothing to end"),
        (("--stop-signal", "0"), "--stop-signal: '0' is no signal"),
        (("--tag", "=3"), "--tag: is empty"),
        (("--tag", "a b=3"), "--tag: 'a b' has a space, a comma or '=' in it"),
        (("--tag", "a=\n"), "--tag: a='\\n' has control characters, or more than 200 bytes"),
        (("--ok-codes", "256"), "--ok-codes: '256' is not a whole number from 0 to 255"),
        (("--ok-codes", "1,"), "--ok-codes: '' is not a whole number from 0 to 255"),
        (("--no-retry-codes", "0"), "--no-retry-codes: '0' is not a whole number from 1 to 255"),
        (
            ("--no-retry-codes", "3", "--ok-codes", "3"),
            "exit code 3 is among ok-codes and among no-retry-codes: choose",
        ),
    ],
)
def test_a_wrong_option_is_refused(queuectl: Shell, given: tuple[str, ...], message: str) -> None:
    answer = queuectl("enqueue", *given, "true")
    assert answer.code == 2
    assert message in answer.err


def test_the_generated_module_is_up_to_date() -> None:
    assert job_fields.MODULE.read_text(encoding="utf-8") == job_fields.module(), f"run: {job_fields.COMMAND}"


def test_the_table_of_specs_is_up_to_date() -> None:
    assert job_fields.PAGE.read_text(encoding="utf-8") == job_fields.page(), f"run: {job_fields.COMMAND}"


def test_listed_delays_give_way_to_a_base(queuectl: Shell) -> None:
    queuectl("enqueue", "--id", "a", "--max-retries", "2", "--backoff", "10ms,20ms", "exit 3").ok()
    queuectl("config", "set", "backoff", "30ms").ok()
    queuectl("enqueue", "--id", "b", "--max-retries", "1", "exit 3").ok()
    queuectl("enqueue", "--id", "c", "--max-retries", "1", "--backoff-max", "0", "exit 3").ok()
    queuectl.drain()
    events = queuectl("events", "--type", "retried", "--json").ok().ndjson
    delays = [[each["data"]["delay"] for each in events if each["stream"] == f"job:{id}"] for id in ("a", "b", "c")]
    assert delays == [[0.01, 0.02], [0.03], [0.0]]
    assert "10ms, then 20ms after each failure" in queuectl("inspect", "a").ok().out


def test_a_command_has_its_niceness(queuectl: Shell) -> None:
    queuectl("enqueue", "--id", "a", "--nice", "7", "--", "nice").ok()
    queuectl.drain()
    own = os.getpriority(os.PRIO_PROCESS, 0)
    assert queuectl("logs", "a").ok().out == f"{own + 7}\n"
    assert re.search(r"^nice +7$", queuectl("inspect", "a").ok().out, re.MULTILINE)


def test_a_higher_places_base_outranks_listed_delays(queuectl: Shell) -> None:
    queuectl("config", "set", "backoff", "10s,1m").ok()
    stored = queuectl("enqueue", "--json", "true").ok().json
    assert (stored["backoff"], stored["backoff_base"]) == ([10, 60], 2)
    higher = queuectl("enqueue", "--json", "true", QUEUECTL_BACKOFF_BASE="7").ok().json
    assert (higher["backoff"], higher["backoff_base"]) == ([], 7)
    seeds = queuectl("enqueue", "--json", "true", BACKOFF_BASE="7").ok().json
    assert seeds["backoff"] == [10, 60]


def test_a_replaced_setting_may_be_wrong(queuectl: Shell) -> None:
    queuectl("enqueue", "--backoff-base", "3", "true", QUEUECTL_BACKOFF="soon").ok()
    assert "QUEUECTL_BACKOFF" in queuectl("enqueue", "true", QUEUECTL_BACKOFF="soon").refused(2)


def test_none_changes_nothing_in_a_retry(queuectl: Shell) -> None:
    id = queuectl("enqueue", "--backoff", "5s", "--nice", "3", "true").ok().lines[0]
    queuectl("cancel", id).ok()
    before = queuectl("inspect", id, "--json").ok().json
    names = {option.name for option in OPTIONS if not option.only_new}
    nothing: Any = dict.fromkeys(names - TAKE_NONE)
    with Queue(queuectl.folder / "q.db") as queue:
        queue.retry(id, **nothing)
    after = queuectl("inspect", id, "--json").ok().json
    assert {name: after[name] for name in IN_EVENT} == {name: before[name] for name in IN_EVENT}


def test_none_lifts_a_limit(queuectl: Shell) -> None:
    queuectl("config", "set", "memory-limit", "1G").ok()
    queuectl("enqueue", "--id", "a", "--memory-limit", "none", "true").ok()
    queuectl("enqueue", "--id", "b", "true").ok()
    queuectl("cancel", "b").ok()
    with Queue(queuectl.folder / "q.db") as queue:
        assert [queue.job(id).policy.memory_limit for id in ("a", "b")] == [None, 1 << 30]
        queue.retry("b", memory_limit=None)
        assert queue.job("b").policy.memory_limit is None
    assert "memory_limit 1 GiB → none" in queuectl("events", "--job", "b").ok().out


def test_a_word_is_read_in_any_case(queuectl: Shell) -> None:
    assert queuectl("enqueue", "--on-lost", "DEAD", "--json", "true").ok().json["on_lost"] == "dead"
    assert queuectl("enqueue", "--json", '{"command": "true", "on_lost": "Dead"}').ok().json["on_lost"] == "dead"


def test_a_retry_adds_tags(queuectl: Shell) -> None:
    queuectl("enqueue", "--id", "a", "--tag", "exp=3", "--tag", "urgent", "--tag", "by=ann=bob", "exit 3").ok()
    queuectl("cancel", "a").ok()
    queuectl("retry", "a", "--tag", "exp=4", "--tag", "again").ok()
    assert "  exp=4, urgent, by=ann=bob, again\n" in queuectl("inspect", "a").ok().out
    edited = queuectl("events", "--job", "a", "--type", "edited").ok().out
    assert "tags exp=3, urgent, by=ann=bob → exp=4, urgent, by=ann=bob, again" in edited
    assert queuectl("inspect", "a", "--json").ok().json["tags"] == {
        "exp": "4", "urgent": "", "by": "ann=bob", "again": "",
    }  # fmt: skip
    assert queuectl("replay", "--check").code == 0

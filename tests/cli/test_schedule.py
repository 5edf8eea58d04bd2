"""`queuectl schedule`: answers, documents, refusals."""

import json
from collections.abc import Callable

import pytest

from tests.support.shell import Answer, Shell

IDLE = "queuectl: no worker is up: nothing fires until `queuectl worker start`\n"


def test_a_schedule_lives_from_add_to_remove(queuectl: Shell) -> None:
    queuectl("enqueue", "true").ok()
    added = queuectl(
        "schedule", "add", "nightly", "30  2 * * *", "--tz", "Europe/Berlin", "--timeout", "2h", "true"
    ).ok()
    assert added.out.startswith("schedule nightly: At 02:30 every day (Europe/Berlin), next ")
    assert added.err == IDLE
    [found] = queuectl("schedule", "list", "--json").ok().ndjson
    assert (found["cron"], found["tz"], found["options"], found["state"], found["command"]) == (
        "30 2 * * *", "Europe/Berlin", {"timeout": 7200}, "active", "true",
    )  # fmt: skip
    assert queuectl("schedule", "pause", "nightly", "--reason", "disk full").ok().lines == [
        "schedule nightly: At 02:30 every day (Europe/Berlin), paused"
    ]
    assert "paused by cli:" in (listed := queuectl("schedule", "list").ok().out)
    assert "disk full" in listed
    assert queuectl("schedule", "pause", "nightly").ok().err == "queuectl: schedule nightly was paused already\n"
    assert queuectl("schedule", "resume", "nightly", "--json").ok().json["state"] == "active"
    assert "was not paused" in queuectl("schedule", "resume", "nightly").ok().err
    edited = queuectl("schedule", "edit", "nightly", "@hourly", "--overlap", "queue", "--priority", "5", "--json").ok()
    assert (edited.json["cron"], edited.json["tz"], edited.json["overlap"]) == ("@hourly", "Europe/Berlin", "queue")
    assert edited.json["options"] == {"timeout": 7200, "priority": 5}
    assert "nothing was changed" in queuectl("schedule", "edit", "nightly", "--priority", "5").ok().err
    assert queuectl("schedule", "remove", "nightly").ok().lines == ["schedule nightly: removed"]
    assert queuectl("schedule", "list").ok().out == ""
    assert queuectl("schedule", "remove", "nightly").refused(1).startswith("no schedule 'nightly'")


def test_an_argv_reaches_the_program_as_it_is(queuectl: Shell) -> None:
    queuectl("schedule", "add", "a", "--every", "15m", "--", "printf", "%s|", "a b", "--", "*").ok()
    id = queuectl("schedule", "run", "a").ok().lines[0]
    queuectl("worker", "start", "--drain").ok()
    assert queuectl("logs", id).ok().out == "a b|--|*|"
    queuectl("schedule", "edit", "a", "--", "echo", "x  y").ok()
    again = queuectl("schedule", "run", "a", "--json").ok().ndjson[0]
    assert (again["argv"], again["trigger"]["schedule"]) == (["echo", "x  y"], "a")
    assert "schedule a, for" in queuectl("inspect", again["id"]).ok().out
    assert [job["id"] for job in queuectl("list", "trigger:a", "--json").ok().ndjson] == [again["id"], id]


def test_a_spec_may_stand_for_the_command(queuectl: Shell) -> None:
    spec = json.dumps({"command": "true", "jitter": 0.5, "queue": "night"})
    found = queuectl("schedule", "add", "a", "@daily", spec, "--jitter", "5m", "--json").ok().json
    assert (found["jitter"], found["options"], found["queue"]) == (300, {"jitter": 0.5}, "night")


def test_the_next_moments_are_on_its_clock(queuectl: Shell) -> None:
    added = queuectl("schedule", "add", "a", "0 9 * * MON", "true", "--tz", "Asia/Tokyo").ok()
    assert added.out.endswith(" 09:00:00 +0900\n")
    assert " 09:00:00 +0900 " in queuectl("schedule", "list").ok().out
    lines = queuectl("schedule", "next", "a", "--count", "2").ok().lines
    assert len(lines) == 2
    assert all(line.startswith("Mon ") and line.endswith(" 09:00:00 +0900") for line in lines)
    moments = queuectl("schedule", "next", "a", "--json").ok().ndjson
    assert len(moments) == 5
    assert all(each["moment"].endswith("T00:00:00.000000Z") for each in moments)
    assert queuectl("schedule", "add", "b", "0 9 * * MON", "true").ok().out.endswith(" 09:00:00\n"), "the clock here"


def test_past_moments_are_backfilled_once(queuectl: Shell) -> None:
    queuectl("schedule", "add", "a", "@daily", "true", "--tz", "UTC").ok()
    asked = ("schedule", "backfill", "a", "--from", "2026-11-01", "--to", "2026-11-03")
    assert queuectl(*asked).ok().lines == [f"a@2026-11-0{day}T00:00:00Z" for day in (1, 2, 3)]
    assert queuectl(*asked).ok().err == "queuectl: no moment lies between without a job\n"
    assert queuectl("schedule", "list", "--json").ok().ndjson[0]["fired"] == 3
    assert queuectl("replay", "--check").ok()


def test_events_of_schedules_are_told(queuectl: Shell) -> None:
    queuectl("schedule", "add", "a", "@daily", "true", "--tz", "UTC", "--catch-up", "none", "--jitter", "5m").ok()
    queuectl("schedule", "run", "a").ok()
    queuectl("schedule", "pause", "a", "--reason", "why not").ok()
    queuectl("schedule", "resume", "a").ok()
    queuectl("schedule", "edit", "a", "--until", "2099-01-01T00:00:00Z").ok()
    queuectl("schedule", "remove", "a").ok()
    told = queuectl("events").ok().out
    for words in (
        "schedule a added: @daily (UTC), catches up none, jitter 5m: true", "asked for: job 1",
        "schedule a paused — why not", "schedule a resumed", "until 2099-01-01 00:00:00", "schedule a removed",
    ):  # fmt: skip
        assert words in told


def test_the_zone_of_here_is_stored(queuectl: Shell) -> None:
    for number, (zone, stored) in enumerate({"America/New_York": "America/New_York", ":UTC": "UTC"}.items()):
        words = ("schedule", "add", f"a{number}", "@daily", "true", "--json")
        assert queuectl(*words, TZ=zone).ok().json["tz"] == stored
    refused = queuectl("schedule", "add", "b", "@daily", "true", TZ="CET-1CEST").refused(2)
    assert refused == "TZ=CET-1CEST is no name of a time zone: give --tz, as Europe/Berlin"


@pytest.mark.parametrize(
    "code, words, told",
    [
        (2, ["61 * * * *", "true"], "cron expression '61 * * * *': character 1: '61' is no minute: 0 to 59"),
        (2, ["0 0 30 2 *", "true"], "character 5: that day never comes in month 2"),
        (2, ["0 0 * * * *", "true"], "6 fields, not 5"),
        (2, ["@daily", "true", "--tz", "Europe/Berln"], "did you mean 'Europe/Berlin'"),
        (2, ["@daily"], "needs a COMMAND behind the cron expression"),
        (2, [], "needs a cron expression in one word"),
        (2, ["--every", "15m"], "needs a COMMAND"),
        (2, ["--every", "soon", "true"], "--every: 'soon' is not a duration"),
        (2, ["--every", "0", "true"], "--every: '0' is not a duration above 0"),
        (2, ["--every", "1.5", "true"], "every: 1.5 are not whole seconds"),
        (2, ["--every", "5", "@daily", "true"], "several words"),
        (2, ["--every", "5", "--tz", "UTC", "true"], "tz: is for cron expressions"),
        (2, ["@daily", "--anchor", "12:00", "true"], "anchor: is where intervals begin"),
        (2, ["@daily", "--catch-up", "some", "true"], "--catch-up: 'some' is not one of none, last, all"),
        (2, ["@daily", "--catch-up", "all", "true"], "give overlap allow as well"),
        (2, ["@daily", "--overlap", "x", "true"], "--overlap: 'x' is not one of skip, queue, allow"),
        (2, ["@daily", "--jitter", "0.1", "true"], "--jitter: '0.1' is less than a second"),
        (2, ["@daily", "--window", "x", "true"], "--window: 'x' is not a duration"),
        (2, ["@daily", "--until", "2020-01-01", "true"], "until: no moment comes before that"),
        (2, ["@daily", "--id", "x", "true"], "has no option --id"),
        (2, ["@daily", "--batch", "x", "true"], "has no option --batch"),
        (2, ["@daily", '{"command": "true", "unique": "k"}'], "unique: a job of a schedule can't have that"),
        (2, ["@daily", "--timeout", "x", "true"], "--timeout"),
        (2, ["@daily", "--env", "TOKEN=x", "true"], "looks like a secret"),
        (3, ["@daily", "--resource", "gpu=5", "true"], "gpu=5, and there is 1"),
        (2, ["@daily", "a", "b"], "put -- before it (queuectl schedule add a @daily -- a b)"),
        (2, ["@daily", "a", "--", "b"], "'a' stands before --"),
    ],
)  # fmt: skip
def test_bad_input_adds_nothing(inside: Callable[..., Answer], code: int, words: list[str], told: str) -> None:
    inside("enqueue", "true").ok()
    before = inside("status", "--json").json["as_of"]
    assert told in inside("schedule", "add", "a", *words).refused(code)
    assert inside("status", "--json").json["as_of"] == before


@pytest.mark.parametrize("words", [
    ("@daily", "--tz", "Berlin"), ("@daily", "--anchor", "12:00"), ("@daily", "--catch-up", "all"),
    ("--every", "1.5"), ("--every", "5", "--tz", "UTC"),
])  # fmt: skip
def test_bad_terms_make_no_queue(inside: Callable[..., Answer], words: tuple[str, ...]) -> None:
    inside("schedule", "add", "a", *words, "true").refused(2)
    assert "no database" in inside("status").refused(4)


@pytest.mark.parametrize(
    "code, words, told",
    [
        (1, ["next", "x"], "no schedule 'x'"),
        (1, ["run", "x"], "no schedule 'x'"),
        (1, ["edit", "x", "--jitter", "5m"], "no schedule 'x'"),
        (2, ["edit", "a"], "needs something to change"),
        (2, ["edit", "a", "61 * * * *"], "character 1: '61' is no minute"),
        (2, ["edit", "a", "--tz", "Mars"], "time zone 'Mars'"),
        (2, ["edit", "a", "--catch-up", "all"], "give overlap allow as well"),
        (2, ["edit", "a", "--pause-on-failure", "--no-pause-on-failure"], "not both"),
        (2, ["edit", "a", "--command", ""], "the command is empty"),
        (2, ["next", "a", "--count", "0"], "--count: '0' is not a whole number from 1"),
        (2, ["backfill", "a"], "--from"),
        (2, ["backfill", "a", "--from", "2099-01-01"], "lie behind"),
        (3, ["backfill", "a", "--from", "1980-01-01"], "at most 100,000 at once"),
        (3, ["add", "a", "@daily", "true"], "there is a schedule a already"),
        (2, ["add", "a b", "@daily", "true"], "has a space, a comma or '@'"),
        (2, ["add", "-a", "@daily", "true"], "-a"),
    ],
)  # fmt: skip
def test_other_bad_input_changes_nothing(inside: Callable[..., Answer], code: int, words: list[str], told: str) -> None:
    inside("schedule", "add", "a", "* * * * *", "true", "--tz", "UTC").ok()
    before = inside("status", "--json").json["as_of"]
    assert told in inside("schedule", *words).refused(code)
    assert inside("status", "--json").json["as_of"] == before

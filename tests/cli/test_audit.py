"""`audit seal` and `audit verify` as a user types them."""

import re
from collections.abc import Callable

import pytest

from tests.support.shell import Answer, Shell
from tests.support.tampering import tamper


def test_verify_accepts_the_anchor_that_seal_prints(queuectl: Shell):
    queuectl("enqueue", "true").ok()
    sealed = queuectl("audit", "seal").ok()
    assert re.fullmatch(r"1:[0-9a-f]{64}\n", sealed.out)
    assert sealed.err == "queuectl: sealed 1 event, up to event 1\n"
    anchor = sealed.out.strip()
    assert queuectl("audit", "seal", "--json").ok().json == {
        "upto": 1, "events": 1, "hash": anchor[2:], "anchor": anchor
    }  # fmt: skip
    said = queuectl("audit", "verify", "--anchor", anchor).ok()
    assert said.lines[0] == "✓ nothing was altered: 1 event under 1 seal and 1 anchor"
    assert re.fullmatch(r"  last seal .*, up to event 1; 1 event since", said.lines[1])

    tamper(queuectl.folder / "q.db", "update events set actor = 'cli:somebody@else' where seq = 1")
    said = queuectl("audit", "verify", "--anchor", anchor)
    assert (said.code, said.lines[0]) == (1, "✗ event 1 (enqueued of job:1) was changed")
    assert said.lines[1] == "not all is what was sealed: 1 event under 1 seal and 1 anchor"
    found = queuectl("audit", "verify", "--json")
    assert found.code == 1
    assert found.json == {
        "ok": False, "seals": 1, "anchor": anchor, "sealed": 1, "unsealed": 1, "archived": 0, "more": 0,
        "findings": [{"kind": "changed", "what": "event 1 (enqueued of job:1) was changed", "seq": 1}],
        "unchecked": [],
    }  # fmt: skip


def test_verify_reports_a_log_without_seals(queuectl: Shell, inside: Callable[..., Answer]):
    queuectl.make()
    said = inside("audit", "verify").ok()
    assert said.out == "nothing is sealed yet: run queuectl audit seal\n"
    inside("enqueue", "true").ok()
    anchored = inside("audit", "verify", "--anchor", f"1:{'0' * 64}")
    assert (anchored.code, anchored.lines[-1]) == (1, "nothing is sealed yet: run queuectl audit seal")


def test_of_many_findings_some_are_shown(inside: Callable[..., Answer], queuectl: Shell):
    queuectl("enqueue", "--file", "-", stdin=b"true\n" * 30).ok()
    queuectl("audit", "seal").ok()
    tamper(queuectl.folder / "q.db", "update events set actor = 'x'")
    said = inside("audit", "verify")
    assert (said.code, len(said.lines)) == (1, 23)
    assert said.lines[19:21] == [
        "✗ event 20 (enqueued of job:20) was changed", "  and 10 more; --json has up to 1,000"
    ]  # fmt: skip


def test_text_from_the_log_is_escaped(inside: Callable[..., Answer], queuectl: Shell):
    queuectl("enqueue", "true").ok()
    queuectl("audit", "seal").ok()
    tamper(queuectl.folder / "q.db", "update events set stream = 'job:' || char(27) || '[2J' where seq = 1")
    assert "\x1b" not in inside("audit", "verify").out


@pytest.mark.parametrize("anchor", ["12345", "x:" + "0" * 64, "1:abc", "", "1:" + "g" * 64, "-1:" + "0" * 64])
def test_an_invalid_anchor_is_refused(inside: Callable[..., Answer], anchor: str):
    said = inside("audit", "verify", "--anchor", anchor).refused(2)
    assert said == f"--anchor: {anchor!r} is no anchor; give the SEQ:HASH that `queuectl audit seal` printed"


def test_verify_reports_a_missing_archive(queuectl: Shell):
    queuectl("enqueue", "true").ok()
    queuectl("cancel", "1").ok()
    queuectl("archive", "--older-than", "0s", "-o", "old.gz").ok()
    queuectl("audit", "seal").ok()
    (queuectl.folder / "old.gz").rename(queuectl.folder / "moved.gz")
    said = queuectl("audit", "verify")
    unproven = f"! unproven: 2 events in {queuectl.folder}/old.gz, which is not here"
    assert said.code == 1
    assert said.lines[0] == f"{unproven}: give --archive FILE, or --allow-missing-archives"
    assert said.lines[1].startswith("not all could be checked: ")
    said = queuectl("audit", "verify", "--allow-missing-archives").ok()
    assert said.lines[0] == unproven
    assert said.lines[1].startswith("✓ nothing was altered, as far as the archives are here: ")
    assert queuectl("audit", "verify", "--archive", "moved.gz").ok().lines[0].startswith("✓ nothing was altered")
    missing = queuectl("audit", "verify", "--archive", "nowhere.gz")
    assert missing.code == 1
    assert "nowhere.gz" in missing.out


def test_an_unreplayable_log_can_still_be_verified(queuectl: Shell):
    queuectl("enqueue", "true").ok()
    queuectl("audit", "seal").ok()
    tamper(queuectl.folder / "q.db", "update events set seq = 9, type = 'cancelled', data = '{}' where seq = 1")
    assert queuectl("status").code == 4
    said = queuectl("audit", "verify")
    assert said.code == 1
    assert "✗ event 1 was removed, and never archived" in said.lines
    assert any(line.startswith("✗ the tables can't be made of the log: ") for line in said.lines)


@pytest.mark.parametrize(
    "change,told",
    [
        ("data = '{}'", "an event of type 'enqueued' version 5 is damaged .*; queuectl doctor names what is damaged"),
        ("type = 'of_tomorrow'", "an event of type 'of_tomorrow' version 5 was written by a newer queuectl; upgrade"),
    ],
)
def test_an_unreadable_log_is_reported_as_such(queuectl: Shell, change: str, told: str):
    queuectl("enqueue", "--file", "-", stdin=b"true\ntrue\n").ok()
    tamper(queuectl.folder / "q.db", f"update events set {change} where seq = 2")
    answer = queuectl("events")
    assert answer.code == 4
    assert re.search(rf"^queuectl: the log can't be read: {told}", answer.err)
    assert len(queuectl("events", "--json").ok().lines) == 2
    assert "event 2" in queuectl("doctor").out


def test_the_doctor_ends_whatever_is_in_the_log(queuectl: Shell):
    queuectl("enqueue", "true").ok()
    tamper(queuectl.folder / "q.db", "update events set v = 'x' where seq = 1")
    answer = queuectl("doctor", "--json")
    assert answer.code == 1
    [log] = [check for check in answer.json["checks"] if check["check"] == "log"]
    assert "the database holds what queuectl does not write" in log["findings"][0]["what"]

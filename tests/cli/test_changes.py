"""`cancel`, `retry`, `dlq`, `config`: changing jobs and settings, all or nothing, with who and why in the log."""

import pytest

from tests.support.shell import Shell


@pytest.fixture
def dead(queuectl: Shell) -> Shell:
    """A queue with two dead jobs, of two queues, and a completed one."""
    for id, queue in (("d1", "default"), ("d2", "mail")):
        queuectl("enqueue", "--id", id, "--queue", queue, "--max-retries", "0", "exit 3").ok()
        queuectl.drain()  # one after the other: what ends in one transaction has died at the same moment
    queuectl("enqueue", "--id", "done", "true").ok()
    queuectl.drain()
    return queuectl


def _states(queuectl: Shell) -> dict[str, str]:
    return {job["id"]: job["state"] for job in queuectl("list", "--json").ndjson}


def test_a_waiting_job_is_cancelled_at_once(queuectl: Shell):
    queuectl("enqueue", "--id", "a", "true").ok()
    assert queuectl("cancel", "a", "--reason", "not needed").ok().out == "a  cancelled\n"
    last = queuectl("events", "--job", "a", "--json").ndjson[-1]
    assert (last["type"], last["data"]["reason"]) == ("cancelled", "not needed")
    assert last["actor"].startswith("cli:")
    assert "cancelled" in queuectl("cancel", "a").refused(3)


def test_a_change_of_many_is_all_or_nothing(dead: Shell):
    dead("enqueue", "--id", "new", "true").ok()
    assert dead("cancel", "new", "done").refused(3)
    assert dead("cancel", "new", "nope").refused(1)
    assert dead("retry", "d1", "new").refused(3)
    assert dead("dlq", "retry", "d1", "done").refused(3)
    assert dead("dlq", "purge", "d1", "nope").refused(1)
    assert _states(dead) == {"d1": "dead", "d2": "dead", "done": "completed", "new": "pending"}


def test_a_cancelled_running_job_stays_processing_until_ended(queuectl: Shell):
    queuectl("enqueue", "--id", "a", "--timeout", "none", "echo up; sleep 60").ok()
    worker = queuectl.start("worker", "start", "--drain")
    following = queuectl.start("logs", "a", "--follow")
    assert following.stdout is not None
    assert following.stdout.readline() == b"up\n"
    assert queuectl("cancel", "a").ok().out == "a  being cancelled\n"
    assert queuectl("wait", "a", "--timeout", "20s").code == 128 + 15
    assert _states(queuectl) == {"a": "cancelled"}
    following.communicate(timeout=20)
    worker.communicate(timeout=20)
    assert worker.returncode == 0


def test_retry_continues_the_attempt_numbers(dead: Shell):
    assert dead("retry", "d1", "done", "--reason", "once more").ok().out == "d1  pending\ndone  pending\n"
    dead.drain()
    job = dead("inspect", "d1", "--json").json
    assert (job["state"], job["failures"], [attempt["number"] for attempt in job["attempts"]]) == ("dead", 1, [1, 2])
    assert "processing" not in dead("retry", "d1", "--json").ok().ndjson[0]["state"]


def test_retry_of_a_completed_job_needs_its_secrets(queuectl: Shell):
    queuectl("enqueue", "--id", "a", "--secret", "TOKEN=one", "echo $TOKEN").ok()
    queuectl.drain()
    assert "TOKEN" in queuectl("retry", "a").refused(3)
    queuectl("retry", "a", "--secret", "TOKEN=two").ok()
    queuectl.drain()
    assert queuectl("logs", "a").out == "two\n"


def test_the_dead_letter_queue(dead: Shell):
    assert [job["id"] for job in dead("dlq", "list", "--json").ok().ndjson] == ["d2", "d1"]
    assert "exit 3" in dead("dlq", "list").ok().out
    assert dead("dlq", "retry", "--all", "--queue", "mail").ok().out == "d2  pending\n"
    assert "not in the dead letter queue" in dead("dlq", "retry", "done").refused(3)
    assert dead("dlq", "purge", "d1", "--reason", "looked at").ok().out == "d1  purged\n"
    assert _states(dead) == {"d2": "pending", "done": "completed"}
    assert "purged" in dead("inspect", "d1").refused(1)
    assert dead("inspect", "d1", "--events", "--json").ok().ndjson[-1]["state"] == "purged"
    answer = dead("dlq", "purge", "--all").ok()
    assert (answer.out, answer.err) == ("", "queuectl: no job matches\n")
    assert dead("replay", "--check").ok()


def test_settings_say_where_they_come_from(queuectl: Shell):
    queuectl.make()

    def source(**env: str) -> str:
        shell = Shell(queuectl.folder)
        shell.env |= env
        return shell("config", "get", "max-retries", "--json").ok().json["source"]

    assert source() == "default"
    assert source(MAX_RETRIES="1") == "environment MAX_RETRIES"
    queuectl("config", "set", "max-retries", "5", "--reason", "flaky disk").ok()
    assert source(MAX_RETRIES="1") == "config set"
    assert source(QUEUECTL_MAX_RETRIES="2") == "environment QUEUECTL_MAX_RETRIES"
    assert queuectl("config", "get", "max_retries").ok().out == "5\n"
    event = queuectl("events", "--type", "config_set", "--json").ndjson[0]
    assert event["data"] == {"key": "max-retries", "value": "5", "reason": "flaky disk"}
    queuectl("config", "unset", "max-retries").ok()
    assert source() == "default"


def test_an_outranked_setting_is_stored_with_a_warning(queuectl: Shell):
    answer = queuectl("config", "set", "timeout", "none", QUEUECTL_TIMEOUT="5").ok()
    assert "QUEUECTL_TIMEOUT outranks" in answer.err
    assert queuectl("config", "set", "timeout", "none").ok().err == ""


def test_all_settings_are_shown(queuectl: Shell):
    queuectl.make()
    answer = queuectl("config", "get", "--json").ok().json
    assert answer["timeout"] == {
        "value": 60.0, "text": "60s", "source": "default", "default": 60.0,
        "help": "how long an attempt may take; none: for ever",
    }  # fmt: skip
    table = queuectl("config", "get").ok().lines
    assert [*(row.split()[0] for row in table[1:]), "database"] == list(answer)

"""`status`, `list`, `inspect`, `logs`, `events`: what the queue answers, to programs and to people."""

from collections.abc import Callable
from select import select

import msgspec
import pytest

from tests.support.shell import Answer, Shell

STATUS = ["pending", "processing", "completed", "failed", "dead", "total", "workers", "blocked", "cancelled", "as_of",
          "held", "disk_free", "disk_floor", "database"]  # fmt: skip


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A queue in which something has happened; only asked, never changed."""
    queuectl = Shell(tmp_path_factory.mktemp("used"))
    queuectl("enqueue", "--id", "good", "echo fine; echo more").ok()
    queuectl("enqueue", "--id", "bad", "--max-retries", "1", "--backoff-base", "1", "echo oops >&2; exit 3").ok()
    queuectl("enqueue", "--id", "later", "--queue", "slow", "--delay", "1h", "true").ok()
    queuectl.drain()
    return queuectl


def test_piped_status_begins_with_the_original_keys(used: Shell):
    for words in (["status", "--json"], ["status"]):
        answer = used(*words).ok().json
        assert list(answer) == STATUS
        assert {key: answer[key] for key in STATUS[:7]} == {
            "pending": 1, "processing": 0, "completed": 1, "failed": 0, "dead": 1, "total": 3, "workers": 0,
        }  # fmt: skip
    assert answer["as_of"]["seq"] > 0
    assert answer["as_of"]["at"].endswith("Z")
    assert used("status", "--queue", "slow").json["total"] == 1


def test_the_status_of_an_empty_queue(queuectl: Shell):
    queuectl.make()
    answer = queuectl("status").ok().json
    assert answer["total"] == 0
    assert answer["as_of"] == {"seq": 0, "at": None}


def test_list_shows_waiting_jobs_then_latest_ended_first(used: Shell):
    assert [job["id"] for job in used("list", "--json").ndjson] == ["later", "bad", "good"]
    assert [job["id"] for job in used("list", "--json", "--state", "dead").ndjson] == ["bad"]
    assert [job["id"] for job in used("list", "--json", "--queue", "slow").ndjson] == ["later"]
    assert [job["id"] for job in used("list", "--json", "--limit", "1").ndjson] == ["later"]
    assert used("list", "--json", "--since", "2099-01-01").ok().out == ""
    table = used("list").ok().lines
    assert table[0].split() == ["ID", "STATE", "QUEUE", "PRIO", "SITUATION", "COMMAND"]
    assert [row.split()[0] for row in table[1:]] == ["later", "bad", "good"]


def test_list_filters_by_enqueue_and_end_times(used: Shell, inside: Callable[..., Answer]):
    def ask(*words: str) -> Answer:
        return inside(*words, "--db", str(used.folder / "q.db"))

    def ids(*words: str) -> list[str]:
        return [job["id"] for job in ask(*words, "--json").ok().ndjson]

    bad = ask("inspect", "bad", "--json").json
    came, ended = bad["enqueued_at"], bad["finished_at"]
    assert ids("list", "--until", came) == ["bad", "good"]
    assert ids("list", "--since", came, "--until", "0s") == ["later", "bad"]
    assert ids("list", "--ended-since", ended) == ["bad"]
    assert ids("list", "--ended-since", "-1h", "--state", "completed") == ["good"]
    assert ids("dlq", "list", "--ended-since", ended, "--since", came) == ["bad"]
    assert ids("dlq", "list", "--until", "-1h") == []
    assert [job["id"] for job in ask("export", "--what", "jobs", "--ended-since", ended).ok().ndjson] == ["bad"]
    attempts = ask("export", "--what", "attempts", "--ended-since", ended).ok().ndjson
    assert [(attempt["job"], attempt["number"]) for attempt in attempts] == [("bad", 2)]
    assert "not events" in ask("export", "--ended-since", "-1h").refused(2)
    for words in (["list"], ["dlq", "list"], ["events"], ["stats"], ["export"]):
        assert "nothing lies between" in ask(*words, "--since", "-1h", "--until", "-2h").refused(2)


def test_inspect_shows_everything(used: Shell):
    job = used("inspect", "bad", "--json").ok().json
    assert list(job)[:4] == ["id", "state", "queue", "command"]
    assert (job["state"], job["exit_code"], job["cause"], job["failures"]) == ("dead", 3, "exit", 2)
    assert [attempt["number"] for attempt in job["attempts"]] == [1, 2]
    first = job["attempts"][0]
    assert (first["exit_code"], first["signal"], first["cause"], first["output_bytes"]) == (3, None, "exit", 5)
    assert first["started_at"] < first["ended_at"]
    assert used("inspect", "ba", "--json").ok().json["id"] == "bad", "an unambiguous prefix will do"


def test_inspect_events_shows_the_state_after_each(used: Shell):
    moments = used("inspect", "bad", "--events", "--json").ok().ndjson
    assert [(moment["type"], moment["state"]) for moment in moments] == [
        ("enqueued", "pending"), ("claimed", "processing"), ("failed", "failed"), ("retried", "failed"),
        ("claimed", "processing"), ("failed", "failed"), ("dead", "dead"),
    ]  # fmt: skip
    assert list(moments[0]) == ["seq", "stream", "version", "type", "v", "at", "actor", "data", "state"]
    told = used("inspect", "bad", "--events").ok().out
    assert "attempt 2 failed: exit 3" in told
    assert "dead letter queue" in told


def test_a_job_as_it_was(used: Shell):
    moments = used("inspect", "bad", "--events", "--json").ndjson
    claimed = moments[1]
    for words in (["--version", "2"], ["--at", f"seq:{claimed['seq']}"], ["--at", claimed["at"]]):
        then = used("inspect", "bad", *words, "--json").ok().json
        assert (then["state"], then["version"], then["failures"]) == ("processing", 2, 0)
        assert [(attempt["number"], attempt["outcome"]) for attempt in then["attempts"]] == [(1, None)]
    later = used("inspect", "bad", "--at", f"seq:{moments[4]['seq']}", "--json").json
    assert [(attempt["number"], attempt["exit_code"]) for attempt in later["attempts"]] == [(1, 3), (2, None)]
    assert "did not exist" in used("inspect", "bad", "--at", "2001-01-01").refused(1)
    assert "only 7 events" in used("inspect", "bad", "--version", "99").refused(1)


def test_logs_gives_the_bytes_that_were_written(used: Shell):
    assert used("logs", "good").ok().raw == b"fine\nmore\n"
    assert used("logs", "good", "--tail", "1").raw == b"more\n"
    assert used("logs", "good", "--tail", "0").raw == b""
    assert used("logs", "good", "--tail", "99", "--follow").raw == b"fine\nmore\n"
    assert used("logs", "bad", "--attempt", "1").raw == b"oops\n"
    assert "no attempt 9" in used("logs", "bad", "--attempt", "9").refused(1)
    assert "no output" in used("logs", "later").refused(1)


def test_logs_passes_bytes_that_are_no_text(queuectl: Shell):
    queuectl("enqueue", "--id", "raw", "printf 'a\\nb\\377\\033[1m'").ok()
    queuectl.drain()
    assert queuectl("logs", "raw").raw == b"a\nb\xff\x1b[1m"
    assert queuectl("logs", "raw", "--tail", "1").raw == b"b\xff\x1b[1m"


def test_logs_follows_a_job_through_its_retries(queuectl: Shell):
    retried = "echo try $QUEUECTL_ATTEMPT; test $QUEUECTL_ATTEMPT = 2"
    queuectl("enqueue", "--id", "a", "--backoff-base", "1", retried).ok()
    following = queuectl.start("logs", "a", "--follow")
    queuectl.drain()
    out, err = following.communicate(timeout=20)
    assert out == b"try 1\ntry 2\n"
    assert err == b"queuectl: attempt 2\n"


def test_events_have_the_one_shape_everywhere(used: Shell):
    events = used("events", "--json").ok().ndjson
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert all(list(event) == ["seq", "stream", "version", "type", "v", "at", "actor", "data"] for event in events)
    assert used("export").ok().raw == used("events", "--json").raw
    history = used("inspect", "good", "--events", "--json").ndjson
    assert [{**moment, "state": None} for moment in history] == [
        {**event, "state": None} for event in events if event["stream"] == "job:good"
    ]


def test_events_can_be_limited(used: Shell):
    assert {event["stream"] for event in used("events", "--job", "bad", "--json").ndjson} == {"job:bad"}
    assert [event["type"] for event in used("events", "--type", "dead", "--json").ndjson] == ["dead"]
    assert used("events", "--after", "2", "--json").ndjson[0]["seq"] == 3
    assert {event["stream"] for event in used("events", "--queue", "slow", "--json").ndjson} == {"job:later"}
    assert used("events", "--since", "2099-01-01").ok().out == ""
    assert used("events", "--until", "2001-01-01").ok().out == ""


def test_events_follows_what_is_appended(queuectl: Shell):
    queuectl("enqueue", "--id", "a", "true").ok()
    following = queuectl.start("events", "--follow", "--from-start", "--json")
    assert following.stdout is not None
    assert b'"job:a"' in following.stdout.readline()
    queuectl("enqueue", "--id", "b", "true").ok()
    assert b'"job:b"' in following.stdout.readline()
    following.send_signal(2)
    _, err = following.communicate(timeout=20)
    assert (following.returncode, err) == (130, b"")


def test_events_follow_begins_with_new_events(queuectl: Shell):
    queuectl("enqueue", "--id", "a", "true").ok()
    following = queuectl.start("events", "--follow", "--json")
    assert following.stdout is not None
    while not select([following.stdout], [], [], 0.05)[0]:  # it can't be seen when it has begun
        queuectl("enqueue", "true").ok()
    assert b'"job:a"' not in following.stdout.readline()
    following.send_signal(2)
    following.communicate(timeout=20)
    assert "not both" in queuectl("events", "--from-start", "--after", "1").refused(2)


def test_a_reader_that_leaves_is_no_error(queuectl: Shell):
    queuectl("enqueue", "--file", "-", stdin=b"true\n" * 3000).ok()
    for words in (["events"], ["events", "--json"], ["list"], ["list", "--json"], ["export"]):
        reading = queuectl.start(*words)
        assert reading.stdout is not None
        reading.stdout.readline()
        reading.stdout.close()
        assert reading.stderr is not None
        assert reading.stderr.read() == b""
        reading.stderr.close()
        assert reading.wait(20) == 0


def test_json_on_a_terminal_is_escaped(queuectl: Shell, terminal: Callable[..., str]):
    command = "true # \x9b31m \u202e\u2028 gpj.exe \x7f \U000e0041 \u6f22"
    queuectl("enqueue", "--id", "a", command).ok()
    for words in (("list",), ("inspect", "a"), ("events",), ("inspect", "a", "--events")):
        shown = terminal(*words, "--json")
        assert "\\u009b31m \\u202e\\u2028 gpj.exe \\u007f \\udb40\\udc41 \u6f22" in shown, words
        assert command in queuectl(*words, "--json").out, words
    assert "\\u009b31m" in terminal("export")
    assert msgspec.json.decode(terminal("inspect", "a", "--json"))["command"] == command


def test_inspect_counts_failures_before_a_retry(queuectl: Shell):
    queuectl("enqueue", "--id", "a", "--max-retries", "0", "false").ok()
    for _ in range(2):
        queuectl("worker", "start", "--drain").ok()
        queuectl("retry", "a").ok()
    assert "2, of which 2 failed, none since it was sent back (dead after 1 failure)" in queuectl("inspect", "a").out


def test_cursor_movement_is_escaped_on_a_terminal(queuectl: Shell, terminal: Callable[..., str]):
    queuectl("enqueue", "--id", "a", "printf '\\033]0;x\\007red\\n'; : \x1b[31m \u202e").ok()
    queuectl.drain()
    for words in (["list"], ["inspect", "a"], ["inspect", "a", "--events"], ["logs", "a"], ["events"]):
        shown = terminal(*words, NO_COLOR="1")
        assert "\x1b" not in shown, words
        assert "\u202e" not in shown, words
    assert "\\x1b]0;x\\x07red\n" in terminal("logs", "a")
    assert "\x1b" not in queuectl("list").out


def test_colour_is_for_terminals_that_want_it(queuectl: Shell, terminal: Callable[..., str]):
    queuectl("enqueue", "--max-retries", "0", "false").ok()
    queuectl.drain()
    assert "\x1b[31m" in terminal("list")
    assert "\x1b" not in terminal("list", NO_COLOR="1")
    assert "\x1b" not in terminal("list", TERM="dumb")
    assert "\x1b" not in queuectl("list").out


def test_on_a_terminal_nothing_is_wider_than_it(queuectl: Shell, terminal: Callable[..., str]):
    queuectl.make()
    queuectl("enqueue", "--id", "日本語", "--max-retries", "0", "echo 日本語 " + "x" * 300 + "; exit 1").ok()
    queuectl.drain()
    for words in (["list"], ["dlq", "list"], ["events"], ["inspect", "日本語", "--events"], ["config", "get"]):
        for line in terminal(*words, NO_COLOR="1").splitlines():
            assert len(line) + sum(c in "日本語" for c in line) <= 80, line


def test_status_on_a_terminal_is_a_table(queuectl: Shell, terminal: Callable[..., str]):
    queuectl("enqueue", "true").ok()
    shown = terminal("status", NO_COLOR="1")
    assert "pending     1\n" in shown
    assert "0 workers up" in shown


def test_status_is_watched(queuectl: Shell):
    queuectl.make()
    watching = queuectl.start("status", "--watch")
    assert watching.stdout is not None
    assert b'"total":0' in watching.stdout.readline()
    queuectl("config", "set", "timeout", "2m").ok()  # an event of which the counts know nothing
    queuectl("enqueue", "true").ok()
    assert b'"total":1' in watching.stdout.readline()
    watching.send_signal(2)
    _, err = watching.communicate(timeout=20)
    assert (watching.returncode, err) == (130, b"")


def test_status_and_list_as_they_were(queuectl: Shell):
    queuectl("enqueue", "--id", "one", "true").ok()
    queuectl("enqueue", "--id", "two", "true").ok()
    queuectl.drain()
    answer = queuectl("status", "--at", "seq:1").ok().json
    assert (answer["pending"], answer["total"], answer["as_of"]["seq"]) == (1, 1, 1)
    assert "disk_free" not in answer
    assert [job["id"] for job in queuectl("list", "--at", "seq:2", "--state", "pending", "--json").ndjson] == [
        "one",
        "two",
    ]
    early = queuectl("status", "--at", "2020-01-01")
    assert (early.code, early.err) == (1, "queuectl: the log had not begun at that moment: nothing was there\n")
    assert queuectl("status", "--at", "seq:1", "--watch").code == 2
    assert queuectl("list", "--at", "nonsense").code == 2

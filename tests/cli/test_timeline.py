"""`inspect --events` as people read it, and `inspect --at`, `--version`: a job's past, in words."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import apsw
import pytest
from hypothesis import given

from projections.jobs import Job, evolve
from queuectl.cli.ui import output
from queuectl.cli.ui.timeline import TimelineEntry, build, render
from queuectl.clock import SECOND, text
from queuectl.events import (
    Cancelled,
    CancelRequested,
    Claimed,
    Completed,
    Dead,
    Event,
    Failed,
    Forced,
    Heartbeat,
    Held,
    HeldAttempt,
    Purged,
    Recorded,
    Released,
    Requeued,
    Retried,
    Unblocked,
    Unheld,
    encode,
)
from queuectl.history import Moment
from tests.support.engine_actions import policy
from tests.support.histories import BEGIN, logs
from tests.support.shell import Answer, Shell

DAY = 86400


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


class Past:
    """The history of one job, told by hand; it is enqueued at 08:00:00."""

    def __init__(self, delay: float = 0, **more: Any) -> None:
        self.moments: list[Moment] = []
        self.now = BEGIN
        self.add(policy(BEGIN + round(delay * SECOND), **more), by="cli:ann@here")

    @property
    def job(self) -> Job | None:
        return self.moments[-1].job if self.moments else None

    def add(self, *events: Event, by: str = "worker:w") -> None:
        """What happens in one transaction."""
        for event in events:
            stream = "worker:w" if isinstance(event, Heartbeat) else "job:j"
            version = 1 + sum(moment.record.stream == stream for moment in self.moments)
            seq = 10 + 2 * len(self.moments)
            record = Recorded(seq, stream, version, event.type, 1, self.now, by, encode(event).decode())
            job = evolve(self.job, record, event) if stream == "job:j" else self.job
            self.moments.append(Moment(record, job))

    def after(self, seconds: float, *events: Event, by: str = "worker:w") -> "Past":
        """What happens so much later than all before."""
        self.now += round(seconds * SECOND)
        self.add(*events, by=by)
        return self

    def beats(self, count: int) -> "Past":
        """A heartbeat every five seconds."""
        for _ in range(count):
            self.after(5, Heartbeat(attempts=[HeldAttempt("j", 1)]))
        return self

    def entries(self, now: float | None = None) -> list[TimelineEntry]:
        """The timeline, `now` seconds after the last event."""
        return build(self.moments, self.now + round(now * SECOND) if now is not None else None)

    def page(self, room: int = 100, now: float | None = None) -> str:
        return "\n".join(render(self.entries(now), room))


def failed(attempt: int, due: int, **more: Any) -> tuple[Event, Event]:
    return Failed(attempt=attempt, cause="exit", exit_code=3, **more), Retried(run_at=text(due), delay=2.0)


def test_a_life_on_one_page():
    past = Past(command="make it so")
    past.after(0.25, Claimed(attempt=1, worker="w")).beats(12)
    past.after(1, *failed(1, past.now + 3 * SECOND, run_seconds=61.0, cpu_seconds=1.5, output_bytes=7))
    past.after(2, Claimed(attempt=2, worker="w"))
    past.after(0.5, Failed(attempt=2, cause="exit", exit_code=3, run_seconds=0.5), Dead(reason="enough"))
    past.after(3 * DAY, Requeued(run_at=text(past.now + 3 * DAY * SECOND), reason="mended"), by="cli:bob@there")
    past.after(0.1, Claimed(attempt=3, worker="w"))
    past.after(0.002, Completed(attempt=3, exit_code=0, run_seconds=0.0015, max_rss=1 << 20))
    past.after(5400, Purged(), by="cli:bob@there")
    assert (
        past.page()
        == """\
   10  08:00:00   +0.000s  ● enqueued in default: make it so
                           │ → pending · cli:ann@here
12-40  08:00:00   +0.250s  ● attempt 1 failed: exit 3 after 1m1s
                           │ pending → processing → failed · worker:w
                           │ waited 250ms · 12 heartbeats over 1m · cpu 1.5s · output 7 B
                           │ will be retried in 2s, at 08:01:03
                           ⋮ 2s until its retry was due
42-46  08:01:03  +63.250s  ● attempt 2 failed: exit 3 after 500ms
                           │ failed → processing → failed → dead · worker:w
                           │ waited 0s
                           │ went to the dead letter queue — enough
                           ⋮ 3d in the dead letter queue
2027-01-18 +0000
   48  08:01:03       +3d  ● requeued, with its retry budget anew — mended
                           │ dead → pending · cli:bob@there
50-52  08:01:03       +3d  ● attempt 3 completed after 1.5ms
                           │ pending → processing → completed · worker:w
                           │ waited 100ms · memory 1 MiB
                           ⋮ 1h30m later
   54  09:31:03     +3d1h  ● purged
                           │ completed → purged · cli:bob@there"""
    )


def gaps(past: Past) -> list[str]:
    return [entry.what for entry in past.entries() if entry.mark == "⋮"]


def test_a_gap_names_what_the_job_waited_for():
    claim = Claimed(attempt=1, worker="w")
    assert gaps(Past().after(0.9, claim)) == []
    assert gaps(Past().after(90, claim)) == ["1m30s waiting to be claimed"]
    assert gaps(Past(delay=90).after(90, claim)) == ["1m30s until it was due"]
    assert gaps(Past(delay=90).after(100, claim)) == ["1m40s: 1m30s until it was due, then waiting to be claimed"]
    assert gaps(Past(delay=90).after(60, Cancelled())) == ["1m waiting, not due yet"]
    assert gaps(Past().after(60, Cancelled())) == ["1m waiting to be claimed"]
    held = Past().after(5, Held()).after(60, Unheld()).after(90, claim)
    assert gaps(held) == ["5s waiting to be claimed", "1m held", "1m30s waiting to be claimed"]
    blocked = Past(after=("a",), watching="a").after(5, Unblocked(because="a")).after(3, claim)
    assert gaps(blocked) == ["5s waiting for job a", "3s waiting to be claimed"]
    assert gaps(Past(held=True, delay=90).after(2, Forced()).after(3, claim)) == ["2s held", "3s waiting to be claimed"]
    assert gaps(Past(delay=90).after(2, Forced()).after(3, claim)) == [
        "2s waiting, not due yet",
        "3s waiting to be claimed",
    ]


def test_an_attempt_waits_from_its_due_time():
    claim = Claimed(attempt=1, worker="w")
    assert "│ waited 10s" in Past(delay=90).after(100, claim).page()
    assert "│ waited 3s" in Past(delay=90).after(2, Forced()).after(3, claim).page(), "it was due at once"


def test_a_running_attempt_shows_its_last_heartbeat():
    past = Past().after(0, Claimed(attempt=1, worker="w")).beats(2)
    assert past.page(now=3).splitlines()[2:] == [
        "12-16  08:00:00   +0.000s  ● attempt 1 is running",
        "                           │ pending → processing · worker:w",
        "                           │ waited 0s · 2 heartbeats over 10s",
        "       08:00:13  +13.000s  ○ now: processing for 13s, heartbeat 3s ago",
    ]
    assert "now" not in past.page(), "a past has no present"


def test_a_waiting_job_shows_what_it_waits_for():
    past = Past().after(0, Claimed(attempt=1, worker="w"))
    assert past.after(1, *failed(1, past.now + 3 * SECOND)).entries(now=9)[-1].what == "now: failed, exit 3, retry due"
    assert Past().entries(now=0)[-1].what == "now: pending, ready"
    assert [entry.mark for entry in Past().after(1, Cancelled()).entries(now=5)] == ["●", "⋮", "●"]


def test_a_cancel_request_is_shown_below_its_attempt():
    past = Past().after(0, Claimed(attempt=1, worker="w")).beats(1)
    past.after(1, CancelRequested(reason="too long"), by="cli:bob@there")
    assert past.entries(now=1)[-1].what.endswith(", being cancelled")
    past.after(0.5, Cancelled(attempt=1, run_seconds=6.5, signal=15))
    assert past.page().splitlines()[2:] == [
        "12-18  08:00:00  +0.000s  ● cancelled in attempt 1 after 6.5s",
        "                          │ pending → processing → cancelled · worker:w",
        "                          │ waited 0s · 1 heartbeat over 5s · signal 15 (TERM)",
        "   16  08:00:06  +6.000s  ├ asked to be cancelled — too long · cli:bob@there",
    ]


def test_a_released_claim():
    past = Past().after(0, Claimed(attempt=1, worker="w")).after(0, Released(attempt=1, reason="no slot"))
    past.after(0, Claimed(attempt=2, worker="x"), by="worker:x").after(0, CancelRequested(), by="cli:bob@there")
    past.after(0.1, Released(attempt=2), Cancelled(), by="worker:x")
    told = past.page()
    assert "● attempt 1 given back before it started — no slot\n" in told
    assert "│ pending → processing → pending · worker:w\n" in told
    assert "● attempt 2 given back before it started\n" in told
    assert "│ pending → processing → pending → cancelled · worker:x\n" in told
    assert told.count("●") == 3


def test_a_lost_attempt_names_its_recoverer():
    past = Past().after(0, Claimed(attempt=1, worker="w"))
    past.after(9, Failed(attempt=1, cause="lost"), Dead(), by="recovery:w")
    told = past.page()
    assert "● attempt 1 failed: worker lost\n" in told
    assert "worker:w · told by recovery:w\n" in told


def test_a_retry_claimed_at_once_is_separate():
    past = Past().after(0, Claimed(attempt=1, worker="w"))
    past.after(1, *failed(1, past.now + SECOND), Claimed(attempt=2, worker="w"))
    assert [entry.seqs for entry in past.entries()] == ["10", "12-16", "18"]


@given(logs)
def test_every_event_of_any_history_is_rendered(log: list[Recorded]):
    for stream in {record.stream for record in log if record.stream.startswith("job:")}:
        moments: list[Moment] = []
        for record in log:
            if record.stream == stream:
                moments.append(Moment(record, evolve(moments[-1].job if moments else None, record, record.event)))
        entries = build(moments, log[-1].at)
        told = [entry.seqs.partition("-") for entry in entries if entry.seqs]
        held = [seq for first, _, last in told for seq in range(int(first), int(last or first) + 1)]
        assert {moment.record.seq for moment in moments} <= set(held)
        job = moments[-1].job
        assert [entry.style for entry in entries if entry.mark == "●"][-1] == (job.state if job else "purged")
        for line in render(entries, 80):
            assert len(line) <= 80


@pytest.mark.parametrize("room", [60, 80, 120])
def test_timeline_lines_fit_and_move_no_cursor(room: int):
    past = Past(command="echo 日本語日本語 \x1b[31m \n" + "x" * 300, reason="r " * 200)
    past.after(0, Claimed(attempt=1, worker="w" * 20), by="worker:" + "w" * 20)
    lost = Failed(attempt=1, cause="lost", error="no\tway " * 40)
    past.after(1, lost, Dead(reason="\x1b[2J"), by="recovery:" + "w" * 90)
    for line in past.page(room).splitlines():
        assert output.display_width(line) <= room
        assert line.isprintable()


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """One job that failed twice and was purged, one that waits."""
    queuectl = Shell(tmp_path_factory.mktemp("used"))
    queuectl(
        "enqueue", "--id", "gone", "--max-retries", "1", "--backoff-base", "1", "--backoff-max", "0.01", "exit 3"
    ).ok()
    queuectl.drain()
    queuectl("enqueue", "--id", "waits", "--delay", "1h", "echo " + "x" * 200).ok()
    queuectl("dlq", "purge", "gone", "--reason", "seen").ok()
    return queuectl


def test_a_purged_job_keeps_its_history(used: Shell):
    told = used("inspect", "gone", "--events").ok().lines
    assert told[0] == "gone  purged"
    assert told[1].startswith("8 events from ")
    assert "● attempt 2 failed: exit 3" in "\n".join(told)
    assert told[-2].endswith("● purged — seen")
    then = used("inspect", "gone", "--version", "6", "--json").ok().json
    assert [(attempt["number"], attempt["exit_code"]) for attempt in then["attempts"]] == [(1, 3), (2, 3)]
    assert used("inspect", "gone", "--version", "5").ok().lines[-1].split()[-1] == "running"


def test_past_attempts_equal_those_of_the_table(queuectl: Shell):
    queuectl(
        "enqueue", "--id", "a", "--max-retries", "1", "--backoff-base", "1", "--backoff-max", "0.01", "exit 3"
    ).ok()
    queuectl.drain()
    now, then = (queuectl("inspect", "a", *words, "--json").ok().json for words in ([], ["--version", "7"]))
    assert now == then | {"callbacks": []}, "of the past these are not told"
    (queuectl.folder / "copy").mkdir()
    told = queuectl("inspect", "a", "--events").ok().out
    queuectl("backup", "copy/q.db").ok()
    copy = apsw.Connection(str(queuectl.folder / "copy" / "q.db"))
    for table in ("jobs", "attempts", "counts"):
        copy.execute(f"drop table {table}")
    copy.close()
    assert queuectl("inspect", "a", "--events", "--db", "copy/q.db").ok().lines[2:] == told.splitlines()[2:]


def test_a_pipe_gets_whole_lines_without_colour(used: Shell):
    told = used("inspect", "waits", "--events", COLUMNS="40").ok().out
    assert "x" * 200 in told
    assert "\x1b" not in told
    assert "○ now: pending, due in " in told.splitlines()[-1]


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_gets_colour_and_lines_that_fit(queuectl: Shell, terminal: Callable[..., str], columns: int):
    queuectl("enqueue", "--id", "a" * 100, "--delay", "1h", "echo " + "x" * 200).ok()
    for line in terminal("inspect", "a", "--events", columns=columns, NO_COLOR="1").splitlines():
        assert len(line) <= columns, line
    assert "\x1b[36m●\x1b[0m" in terminal("inspect", "a", "--events", columns=columns)


def test_at_and_version_end_the_history(used: Shell):
    for words in (["--version", "2"], ["--at", "seq:3"]):
        moments = used("inspect", "gone", "--events", *words, "--json").ok().ndjson
        assert [moment["type"] for moment in moments] == ["enqueued", "claimed"]
        told = used("inspect", "gone", "--events", *words).ok().lines
        assert told[0] == "gone  processing"
        assert "● attempt 1 is running" in "\n".join(told)
        assert "now" not in told[-1]


@pytest.mark.parametrize(
    "words,code,why",
    [
        (["nope"], 1, "no job 'nope'"), (["nope", "--events"], 1, "no job 'nope'"),
        (["nope", "--version", "1"], 1, "no job 'nope'"),
        (["waits", "--at", "2001-01-01"], 1, "did not exist yet"), (["waits", "--at", "seq:0"], 1, "did not exist yet"),
        (["waits", "--events", "--at", "-2h"], 1, "did not exist yet"),
        (["waits", "--version", "99"], 1, "the job has only 1 event"),
        (["gone", "--events", "--version", "99"], 1, "the job has only 8 events"),
        (["waits", "--version", "0"], 2, "--version: '0'"), (["waits", "--version", "-1"], 2, "--version: '-1'"),
        (["waits", "--version", "two"], 2, "--version: 'two'"), (["waits", "--at", "soon"], 2, "--at: 'soon'"),
        (["waits", "--at", "seq:-1"], 2, "--at: 'seq:-1'"),
        (["waits", "--events", "--at", "-1s", "--version", "1"], 2, "--at or --version, not both"),
        (["gone"], 1, "was purged"), (["gone", "--version", "8"], 1, "had been purged by then"),
        (["gon"], 1, "no job 'gon'"),
        ([], 2, "needs an ID"), (["waits", "gone"], 2, "'gone'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("json", [[], ["--json"]])
def test_an_impossible_moment_is_refused(
    used: Shell, inside: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, words: list[str], code: int, why: str,
    json: list[str],
):  # fmt: skip
    monkeypatch.setenv("QUEUECTL_DB", str(used.folder / "q.db"))
    assert why in inside("inspect", *words, *json).refused(code)

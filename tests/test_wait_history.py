"""What a job has waited for (R30): each span has the first reason, and together they are the time waited."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from freezegun import freeze_time

from projections.jobs import Job
from queuectl import Queue, Spec, clock, wait_history
from queuectl.admission import UNSTARTED, WAITING, first
from queuectl.admission_facts import collect
from queuectl.audit.archive import archive
from queuectl.clock import SECOND
from queuectl.errors import NotFound, QueueError, Refused
from queuectl.wait_history import WaitHistory, WaitSpan, gist
from tests.support.wait_story import Story


@pytest.fixture
def story(tmp_path: Path) -> Iterator[Story]:
    with freeze_time("2027-01-15T08:00:00Z") as time:
        story = Story(tmp_path, time)
        yield story
        story.queue.close()


# -- by example ------------------------------------------------------------------------------------------------------


def test_each_reason_has_its_time(story: Story) -> None:
    queue = story.queue
    queue.pause("a", reason="deploy")
    queue.enqueue("true", id="j", queue="a", held=True)
    story.after(10)
    queue.release("j")
    story.after(20)
    queue.resume("a")
    story.after(30).start()
    assert story.after(1).claim() == ["j"]
    history = queue.wait_history("j")
    assert story.told("j") == [("held", 10), ("paused", 20), ("no_worker", 30), ("ready", 1)]
    held, paused, *_, last = history.spans
    assert (history.state, history.waits, history.waited) == ("processing", False, last.until - held.since)
    assert (held.since, held.until, held.reason.by) == (queue.job("j").enqueued_at, paused.since, "cli:ann@here")
    assert (paused.reason.by, paused.reason.why, paused.reason.about) == ("cli:ann@here", "deploy", "a")
    assert [total.reason.kind for total in history.totals()] == ["no_worker", "paused", "held", "ready"]


def test_a_reason_that_ends_by_itself_ends_there(story: Story) -> None:
    queue = story.queue
    story.start()
    queue.enqueue("true", id="j", delay=40)
    queue.pause(seconds=30)
    story.after(100)
    assert story.told("j") == [("paused", 30), ("delayed", 10), ("ready", 60)]
    assert queue.wait_history("j").waits


def test_only_the_time_before_a_start_counts(story: Story) -> None:
    queue = story.queue
    story.start()
    queue.enqueue("true", id="j", backoff_base=4)
    story.after(1).claim()
    story.after(50)
    queue.suspend("j")
    story.after(50)
    queue.continue_("j")
    story.after(50).end(cause="exit")
    story.after(7).claim()
    story.end()
    story.after(1000)
    spans = queue.wait_history("j").spans
    assert story.told("j") == [("ready", 1), ("backoff", 4), ("ready", 3)]
    assert [span.attempt for span in spans] == [1, 2, 2]
    assert spans[1].reason.why == "exit 3"
    queue.purge("j")
    history = queue.wait_history("j")
    assert (history.state, history.spans) == ("purged", spans)


def test_a_vain_start_makes_it_wait_again(story: Story) -> None:
    story.start()
    story.queue.enqueue("true", id="j")
    story.after(1).claim()
    story.end(release=True, repeats=True)
    story.after(13).claim()
    assert story.told("j") == [("ready", 1), ("postponed", 10), ("ready", 3)]
    assert story.queue.wait_history("j").spans[-2].reason.why == "a test"


def test_a_death_ends_the_wait_at_once(story: Story) -> None:
    story.start()
    story.queue.enqueue("false", id="j", max_retries=0)
    story.after(2).claim()
    story.end(cause="exit")
    story.after(60)
    assert story.told("j") == [("ready", 2)]


def test_a_cancel_ends_the_wait(story: Story) -> None:
    story.queue.enqueue("true", id="j")
    story.after(9)
    story.queue.cancel("j")
    story.after(60)
    assert story.told("j") == [("no_worker", 9)]


def test_a_limit_keeps_until_a_job_ends(story: Story) -> None:
    queue = story.queue
    story.start(2)
    queue.enqueue("true", id="other")
    queue.enqueue("true", id="j")
    queue.limit("default", concurrency=1)
    story.claim()
    story.after(5).end()
    story.after(3)
    assert story.told("j") == [("concurrency", 5), ("ready", 3)]


def test_a_rate_keeps_until_a_start_is_refunded(story: Story) -> None:
    queue = story.queue
    story.start()
    queue.limit("default", rate="1/m")
    queue.enqueue("true", id="other")
    queue.enqueue("true", id="j")
    story.claim()
    story.after(5).end(release=True)
    story.after(3)
    assert story.told("j") == [("rate", 5), ("priority", 3)]


def test_a_resource_keeps_until_there_is_enough(story: Story) -> None:
    queue = story.queue
    story.start()
    queue.enqueue("true", id="j", needs={"gpu": 2}, held=True)
    queue.release("j")
    story.after(5)
    queue.set_resource("gpu", 2)
    story.after(3)
    assert story.told("j") == [("resource", 5), ("ready", 3)]
    assert gist(queue.wait_history("j").spans[1].reason) == "there is too little gpu"


def test_what_is_kept_is_free_after_a_cancel(story: Story) -> None:
    queue = story.queue
    story.start(4)
    queue.set_resource("gpu", 2)
    queue.enqueue("true", needs={"gpu": 1})
    story.claim()
    queue.enqueue("true", id="big", needs={"gpu": 2}, at=clock.now() - 3600 * SECOND)
    queue.enqueue("true", id="j", needs={"gpu": 1})
    story.after(5)
    queue.cancel("big")
    story.after(3)
    assert story.told("j") == [("reserved", 5), ("ready", 3)]


def test_an_event_at_the_end_of_a_pause(story: Story) -> None:
    queue = story.queue
    queue.pause("default", seconds=30)
    queue.enqueue("true", id="j")
    story.after(30)
    queue.set_config("max-retries", "1")
    story.after(3)
    assert story.told("j") == [("paused", 30), ("no_worker", 3)]


def test_what_is_blocked_waits_for_its_parents(story: Story) -> None:
    queue = story.queue
    story.start()
    queue.enqueue_many(["true"] * 2)
    queue.enqueue("true", id="j", after=("1", "2"))
    for _ in range(3):
        story.turn()
        story.after(5)
    assert story.told("j") == [("dependency", 10)]
    assert gist(queue.wait_history("j").spans[0].reason) == "it starts after 2"


def test_waits_behind_holders_are_one(story: Story) -> None:
    queue = story.queue
    story.start()
    queue.enqueue_many([Spec(command="true", id=id, needs={"lock": 1}) for id in ("a", "b")])
    queue.enqueue("true", id="j", needs={"lock": 1}, priority=-1)
    for _ in range(2):
        story.turn()
        story.after(5)
    span = queue.wait_history("j").spans[-1]
    assert story.told("j") == [("resource", 10)]
    assert (span.reason.about, span.reason.behind) == ("lock", ("a", "b"))
    assert gist(span.reason) == "the resource lock is held by a and b"


def test_events_of_others_cost_no_question(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = story.queue
    story.start()
    queue.enqueue("true", id="j", priority=-1)
    queue.enqueue_many(["true"] * 50)
    for _ in range(49):
        story.turn()
        story.after(1)
    asked: list[int] = []
    monkeypatch.setattr(wait_history, "collect", lambda *words: (asked.append(1), collect(*words))[1])
    assert story.told("j") == [("busy", 49)]
    assert len(asked) < 5


def test_archived_jobs_are_counted(story: Story, tmp_path: Path) -> None:
    queue = story.queue
    story.start()
    queue.enqueue("true", id="before")
    story.claim()
    story.end()
    story.after(1)
    queue.enqueue("true", id="other")
    queue.enqueue("true", id="j", priority=-1)
    story.claim()
    story.after(10).end()
    story.after(1)
    assert story.told("j") == [("busy", 10), ("ready", 1)]
    archive(queue, str(tmp_path / "a.gz"), clock.now())
    assert story.told("j") == [("ready", 11)]
    assert queue.wait_history("j").archived == 1
    with pytest.raises(NotFound, match="was archived in"):
        queue.wait_history("other")
    with pytest.raises(NotFound, match="no job 'never'"):
        queue.wait_history("never")


def test_an_archive_meanwhile_is_told(story: Story, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = story.queue
    story.start()
    queue.enqueue("true", id="other", priority=1)
    queue.enqueue("true", id="j")
    story.turn()
    story.after(1).turn()
    told: list[int] = []

    class Slow(wait_history.Accountant):
        def account(self, until: int) -> list[WaitSpan]:
            told.append(archive(queue, str(tmp_path / "a.gz"), clock.now()).jobs)
            return super().account(until)

    monkeypatch.setattr(wait_history, "Accountant", Slow)
    with pytest.raises(QueueError, match="archived while the log was read: ask again"):
        queue.wait_history("j")
    assert told == [1]


# -- any history -----------------------------------------------------------------------------------------------------


PEOPLE = (("hold", "pause", "limit", "supply"), ("limit",), ("supply",), ("pause", "hold"))
"""What people do in a story: everything, or so little that other reasons last."""


def step(story: Story, pick: Random, people: tuple[str, ...]) -> None:
    """Anything that may happen."""
    queue = story.queue
    name = pick.choice(("a", "a", "b"))
    waiting = [job.id for job in queue.jobs(state=WAITING)] or [""]
    match pick.choice(("enqueue", "enqueue", "turn", "turn", "turn", "worker", "cancel", *people)):
        case "enqueue":
            needs = pick.choice(({}, {}, {"gpu": 1}, {"gpu": 2}, {"lock": 1}))
            more: dict[str, Any] = {
                "priority": pick.choice((0, 0, 1)),
                "delay": pick.choice((None, None, 30.0)),
                "max_retries": 2,
            }
            more |= {"slots": pick.choice((1, 1, 1, 2)), "held": pick.random() < 0.1}
            if waiting[0] and pick.random() < 0.2:
                more["after"] = (pick.choice(waiting),)
            with suppress(Refused):  # more than exists
                queue.enqueue("true", queue=name, needs=needs, **more)
        case "turn" if story.workers:
            id = pick.choice([*story.workers])
            pick.choice((lambda: None, lambda: story.end(id), lambda: story.end(id, pick.choice((None, "exit")))))()
            taken = sum(claim.job.policy.slots for claim in story.held[id])
            story.claim(id, story.workers[id][1] - taken)
        case "hold" if waiting[0]:
            pick.choice((queue.hold, queue.release, queue.start))(pick.choice(waiting))
        case "pause":
            name = pick.choice(("a", "b", None))
            with suppress(Refused):
                pick.choice(
                    (lambda: queue.pause(name, seconds=pick.choice((None, 20.0))), lambda: queue.resume(name))
                )()
        case "limit":
            queue.limit(name, concurrency=pick.choice((1, None)), rate=pick.choice((None, "6/m", "2/h")))
        case "supply":
            pick.choice((lambda: queue.set_resource("gpu", indices="0-1"), lambda: queue.unset_resource("gpu")))()
        case "worker" if len(story.workers) < 2:
            story.start(pick.choice((1, 2)), pick.choice(((), ("a",))), **pick.choice(({}, {}, {"gpu": "4-5"})))
        case "worker" if pick.random() < 0.5:
            story.stop(pick.choice([*story.workers]))
        case "cancel" if waiting[0]:
            queue.cancel(pick.choice(waiting))
    story.after(pick.choice((0.001, 1, 7, 50, 700)))


def waits(queue: Queue, id: str) -> dict[int, int]:
    """The beginnings and ends (µs UTC) of a job's waits, by its own events."""
    found: dict[int, int] = {}
    since: int | None = None
    for moment in queue.history(id):
        waiting = moment.job is not None and moment.job.state in UNSTARTED
        if waiting and since is None:
            since = moment.record.at
        elif not waiting and since is not None:
            found[since], since = moment.record.at, None
    return found | ({since: clock.now()} if since is not None else {})


def reason_then(queue: Queue, id: str, seq: int) -> str | None:
    """The kind of the first reason, asked of the past; None: it did not wait."""
    with queue.engine.past(seq) as view:
        job: Job | None = view.job(id)
        if job is None or job.state not in UNSTARTED:
            return None
        now = view.head()[1]
        reason = first(job, collect(view, None, None, now), now)
        return reason.kind if reason is not None else "ready"


def kind_at(history: WaitHistory, at: int) -> str | None:
    """The kind of the span in which a moment is."""
    return next((span.reason.kind for span in history.spans if span.since <= at < span.until), None)


def test_spans_agree_with_what_the_past_says(tmp_path: Path) -> None:
    seen: Counter[str] = Counter()
    for number in range(12):
        pick = Random(number)
        (folder := tmp_path / str(number)).mkdir()
        with freeze_time("2027-01-15T08:00:00Z") as time:
            story = Story(folder, time)
            for _ in range(60):
                step(story, pick, PEOPLE[number % len(PEOPLE)])
            queue = story.queue
            log = list(queue.events())
            last = [a.seq for a, b in zip(log, [*log[1:], None], strict=True) if b is None or a.at != b.at]
            at = {record.seq: record.at for record in log}
            for id in [record.subject for record in log if record.type == "enqueued"]:
                history = queue.wait_history(id)
                spans = waits(queue, id)
                assert history.waited == sum(end - since for since, end in spans.items())
                assert history.waited == sum(total.time for total in history.totals())
                for before, span in zip([None, *history.spans], history.spans, strict=False):
                    seen[span.reason.kind] += 1
                    assert before is None or before.until <= span.since < span.until
                    assert before is None or before.until < span.since or before.reason.key != span.reason.key
                for seq in pick.sample(last, min(12, len(last))):
                    assert kind_at(history, at[seq]) == reason_then(queue, id, seq), (number, id, seq)
            queue.close()
    kinds = {
        "held",
        "paused",
        "dependency",
        "delayed",
        "backoff",
        "concurrency",
        "rate",
        "resource",
        "no_worker",
        "busy",
        "priority",
    }
    assert not kinds - seen.keys()

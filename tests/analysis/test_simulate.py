"""Another retry policy: what it would have changed of what is recorded, and what it says of what is not."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue, decisions
from queuectl.analysis.simulate import Bounds, RetryPolicy, Simulation, simulate
from tests.support import ends
from tests.support.stories import Story


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    with Queue(tmp_path / "q.db") as queue:
        yield queue


def job(story: Story, id: str, *causes: str | None, **more: Any) -> None:
    """A job whose attempts end so; `exit 3` has an exit code."""
    story.enqueue(id, **more)
    for cause in causes:
        name, _, code = (cause or "").partition(" ")
        story.attempt(id, name or None, code=int(code) if code else None)


def test_the_policy_that_the_jobs_had_changes_nothing(queue: Queue) -> None:
    story = Story()
    job(story, "a", "exit", "exit", None)
    job(story, "b", "exit", "exit", "exit", "exit")
    job(story, "c", None)
    found = simulate(story.told(queue), RetryPolicy(max_retries=3, backoff_base=2.0, backoff_max=60.0))
    assert found == Simulation(jobs=2, budgets=2, unchanged=2, retries=5, waiting=2 + 4 + 2 + 4 + 8)


def test_fewer_retries_lose_completions_and_save_attempts(queue: Queue) -> None:
    story = Story()
    job(story, "early", "exit", None)
    job(story, "late", "exit", "exit", "exit", None)
    job(story, "dead", "exit", "exit", "exit", "exit")
    job(story, "waiting", "exit", "exit")
    found = simulate(story.told(queue), RetryPolicy(max_retries=1))
    assert (found.unchanged, found.given_up_completed, found.given_up_dead, found.given_up_other) == (1, 1, 1, 1)
    assert found.retries == 1 + 3 + 3 + 2
    assert found.retries_saved == 2 + 2 + 1
    assert found.waiting_saved == (4 + 8) + (4 + 8) + 4
    assert found.rescued == Bounds(0, 0, 0)


def test_another_delay_is_waited_before_the_same_retries(queue: Queue) -> None:
    story = Story()
    job(story, "a", "exit", "exit", None)
    story.told(queue)
    assert simulate(queue, RetryPolicy(backoff_base=3.0)).waiting_changed == (3 - 2) + (9 - 4)
    assert simulate(queue, RetryPolicy(backoff_max=3.0)).waiting_changed == 3 - 4
    assert simulate(queue, RetryPolicy(backoff_base=1.0)).unchanged == 1


def test_jitter_is_taken_out(queue: Queue) -> None:
    story = Story()
    job(story, "a", "exit", None, jitter=0.5)
    found = simulate(story.told(queue), RetryPolicy(backoff_base=2.0))
    assert found.waiting == pytest.approx(3, abs=0.01)
    assert found.waiting + found.waiting_changed == 2


def test_more_retries_give_bounds_and_an_estimate(queue: Queue) -> None:
    story = Story()
    for number in range(8):  # of 10 second attempts of the command 2 succeed; of the queue's 20, 12
        job(story, f"dead{number}", "exit", "exit", max_retries=1, command="flaky")
    for number in range(2):
        job(story, f"rescued{number}", "exit", None, max_retries=1, command="flaky")
    for number in range(10):
        job(story, f"other{number}", "exit", None, max_retries=1, command="other")
    found = simulate(story.told(queue), RetryPolicy(max_retries=3))
    assert found.going_on == 8
    # There was no third attempt: the third and the fourth are taken to succeed as the second did, in 0.2 of all cases.
    assert found.rescued == Bounds(0, 2.88, 8)  # 8 * (0.2 + 0.8 * 0.2)
    assert found.retries_added == Bounds(8, 14.4, 16)  # 8 * (1 + 0.8)
    assert found.waiting_added == Bounds(32, 83.2, 96)  # 8 * (4 + 0.8 * 8)


def test_rare_commands_are_estimated_by_their_queue(queue: Queue) -> None:
    story = Story()
    job(story, "dead", "exit", "exit", max_retries=1, command="rare")
    for number in range(9):
        job(story, f"other{number}", "exit", None, max_retries=1)
    found = simulate(story.told(queue), RetryPolicy(max_retries=2))
    assert found.rescued == Bounds(0, 0.9, 1)


def test_attempts_of_the_same_number_weigh_most(queue: Queue) -> None:
    story = Story()
    for number in range(10):
        job(story, f"dead{number}", "exit", "exit", "exit", max_retries=2)
    for number in range(90):
        job(story, f"other{number}", "exit", None, max_retries=2)
    found = simulate(story.told(queue), RetryPolicy(max_retries=3))
    assert found.rescued == Bounds(0, 0, 10), "no third attempt has ever succeeded"


def test_without_similar_attempts_there_is_no_estimate(queue: Queue) -> None:
    story = Story()
    job(story, "dead", "exit", max_retries=0)
    found = simulate(story.told(queue), RetryPolicy(max_retries=2))
    assert (found.going_on, found.without_estimate, found.rescued) == (1, 1, Bounds(0, 0, 1))


def test_what_no_policy_decided_no_policy_changes(queue: Queue) -> None:
    story = Story()
    job(story, "lost", "lost", on_lost="dead")
    story.enqueue("bare", secrets=["TOKEN"])
    story.claim("bare")
    story.decide("bare", lambda job: ends.refuse_to_run(job, decisions.lease(job), ["TOKEN"]))
    found = simulate(story.told(queue), RetryPolicy(max_retries=9))
    assert (found.budgets, found.unchanged, found.going_on) == (2, 2, 0)


def test_each_retry_budget_is_judged_by_itself(queue: Queue) -> None:
    story = Story()
    job(story, "a", "exit", "exit", max_retries=1)
    story.decide("a", decisions.requeue, story.begin)
    story.attempt("a", "exit")
    story.attempt("a")
    story.decide("a", decisions.purge)
    found = simulate(story.told(queue), RetryPolicy(max_retries=0))
    assert (found.jobs, found.budgets) == (1, 2)
    assert (found.given_up_dead, found.given_up_completed) == (1, 1)


def test_jobs_are_selected_by_time_and_queue(queue: Queue) -> None:
    story = Story()
    job(story, "a", "exit", None)
    story.wait(3600)
    job(story, "b", "exit", None, queue="mail")
    story.told(queue)
    first, second = (record.at for record in queue.events(type="enqueued"))
    policy = RetryPolicy(max_retries=0)
    assert simulate(queue, policy).jobs == 2
    assert simulate(queue, policy, since=first).jobs == 2
    assert simulate(queue, policy, since=first + 1).jobs == 1
    assert simulate(queue, policy, since=second + 1) == Simulation()
    assert simulate(queue, policy, queue_name="mail").jobs == 1


def test_codes_that_are_not_retried_save_retries(queue: Queue) -> None:
    story = Story()
    job(story, "late", "exit 64", "exit 64", None)
    job(story, "dead", "exit 1", "exit 64", "exit 64", "exit 64")
    job(story, "other", "exit 1", "timeout 64", None)
    found = simulate(story.told(queue), RetryPolicy(no_retry_codes=(64,)))
    assert (found.given_up_completed, found.given_up_dead, found.unchanged) == (1, 1, 1)
    assert (found.retries, found.retries_saved, found.waiting_saved) == (2 + 3 + 2, 2 + 2, (2 + 4) + (4 + 8))


def test_codes_that_succeed_complete_jobs_earlier(queue: Queue) -> None:
    story = Story()
    job(story, "late", "exit 1", "exit 24", None)
    job(story, "dead", "exit 24", "exit 24", "exit 24", "exit 24")
    job(story, "open", "exit 24")
    job(story, "other", "exit 1", "timeout 24", None)
    found = simulate(story.told(queue), RetryPolicy(ok_codes=(0, 24)))
    assert (found.succeeded_completed, found.succeeded_dead, found.succeeded_other, found.unchanged) == (1, 1, 1, 1)
    assert (found.retries_saved, found.waiting_saved) == (1 + 3 + 1, 4 + (2 + 4 + 8) + 2)
    assert (found.given_up_completed, found.going_on) == (0, 0)


def test_without_its_final_codes_a_job_goes_on(queue: Queue) -> None:
    story = Story()
    job(story, "dead", "exit 64", no_retry_codes=(64,))
    job(story, "same", "exit 1", None, no_retry_codes=(64,))
    found = simulate(story.told(queue), RetryPolicy(no_retry_codes=()))
    assert (found.going_on, found.unchanged) == (1, 1)


def test_estimates_count_codes_that_succeed(queue: Queue) -> None:
    story = Story()
    job(story, "dead", "exit 1", "exit 1", max_retries=1)
    for number in range(9):
        job(story, f"other{number}", "exit 1", "exit 24", max_retries=1)
    found = simulate(story.told(queue), RetryPolicy(max_retries=2, ok_codes=(0, 24)))
    assert found.rescued == Bounds(0, 0.9, 1), "the third attempt is taken to succeed as often as the second"


def test_many_jobs_are_read_in_pages(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    story = Story()
    for number in range(7):
        job(story, f"j{number}", "exit", None)
    monkeypatch.setattr("queuectl.analysis.simulate._PAGE", 3)
    seen: list[tuple[int, int]] = []
    found = simulate(
        story.told(queue), RetryPolicy(max_retries=0), progress=lambda done, total: seen.append((done, total))
    )
    assert found.given_up_completed == 7
    assert len(seen) == 3
    assert seen[-1][0] == seen[-1][1]

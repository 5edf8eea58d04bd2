"""What may happen next: random sequences of commands against the tables of what is legal, written here by hand."""

import pytest
from hypothesis import given, settings

from projections import evolve
from projections.jobs import FINAL, Job
from queuectl import decisions
from queuectl.clock import SECOND, micros, text
from queuectl.decisions import Lease, Outcome, Stop
from queuectl.errors import Fenced, Refused
from queuectl.events import Cancelled, Completed, Dead, Enqueued, Failed, Interrupted, Released, Requeued, Retried
from tests.support import ends
from tests.support.histories import BEGIN, Command, World, commands

LEGAL: dict[tuple[str | None, str], set[str | None]] = {
    (None, "enqueued"): {"pending"},
    ("pending", "claimed"): {"processing"},
    ("failed", "claimed"): {"processing"},
    ("processing", "completed"): {"completed"},
    ("processing", "failed"): {"failed"},
    ("failed", "retried"): {"failed"},
    ("failed", "dead"): {"dead"},
    ("processing", "released"): {"pending", "failed"},
    ("processing", "interrupted"): {"pending", "failed"},
    ("processing", "cancel_requested"): {"processing"},
    ("processing", "suspended"): {"processing"},
    ("processing", "continued"): {"processing"},
    ("processing", "cancelled"): {"cancelled"},
    ("pending", "cancelled"): {"cancelled"},
    ("failed", "cancelled"): {"cancelled"},
    ("dead", "cancelled"): {"cancelled"},
    ("completed", "requeued"): {"pending"},
    ("dead", "requeued"): {"pending"},
    ("cancelled", "requeued"): {"pending"},
    **{(state, "edited"): {state} for state in ("pending", "failed", "processing", "completed", "dead", "cancelled")},
    ("completed", "purged"): {None},
    ("dead", "purged"): {None},
    ("cancelled", "purged"): {None},
}
"""(state, event) -> the states that may follow. Everything else is illegal."""

ACCEPTED = {
    "claim": {"pending", "failed"},
    "report": {"processing"},
    "release": {"processing"},
    "missing": {"processing"},
    "cancel": {"pending", "failed", "processing", "dead"},
    "suspend": {"processing"},
    "continue": {"processing"},
    "requeue": {"completed", "dead", "cancelled"},
    "edit": {"pending", "failed", "processing", "completed", "dead", "cancelled"},
    "purge": {"completed", "dead", "cancelled"},
}
"""The states in which each command is carried out; in every other it is refused."""

FENCED = {"report", "release", "missing"}


def state(job: Job | None) -> str | None:
    return job.state if job is not None else None


@settings(max_examples=200)
@given(commands())
def test_every_command_makes_only_legal_changes(sequence: list[Command]) -> None:
    world = World()
    for command in sequence:
        world.do(command)
    jobs: dict[str, Job | None] = {}
    for record in world.log:
        before = jobs.get(record.stream)
        after = evolve(before, record, record.event)
        jobs[record.stream] = after
        assert state(after) in LEGAL.get((state(before), record.type), set()), (state(before), record.type)
        assert after is None or after.version == record.version == (before.version if before else 0) + 1
        if before is not None and after is not None:
            assert after.attempt == before.attempt + (record.type == "claimed") - (record.type == "released")
        if after is not None:
            assert after.failures <= 1 + after.max_retries
            assert after.state != "dead" or after.failures >= 1
            assert (after.state == "processing") == (after.lease is not None) == (after.worker is not None)
            assert not after.cancel_requested or after.state == "processing"
            assert after.suspended_at is None or after.state == "processing"
            assert (after.suspended_by is None) == (after.suspended_at is None)
            assert not after.suspended_by_pause or after.suspended_at is not None
            assert (after.finished_at is not None) == (after.state in FINAL)
    # `failed` alone is half a decision: what becomes of the job stands right behind it.
    for record, following in zip(world.log, [*world.log[1:], None], strict=True):
        if record.type == "failed":
            assert following is not None
            assert following.stream == record.stream
            assert following.type in ("retried", "dead")
            assert following.at == record.at


@settings(max_examples=200)
@given(commands())
def test_commands_are_refused_outside_their_states(sequence: list[Command]) -> None:
    world = World()
    for command in sequence:
        step = world.do(command)
        if step is None or step.before is None:
            continue
        before, name = step.before, command.name
        held = Lease(step.id, before.attempt, before.lease or 0) if before.state == "processing" else None
        if name in FENCED:
            assert isinstance(step.refusal, Fenced) == (step.lease != held)
        elif step.refusal is not None:
            assert not isinstance(step.refusal, Fenced)
            undue = name == "claim" and before.run_at > world.now
            forgotten = name == "requeue" and before.state == "completed" and before.secrets and not command.again
            late = name == "suspend" and before.cancel_requested
            assert before.state not in ACCEPTED[name] or undue or forgotten or late
        else:
            assert before.state in ACCEPTED[name]
        if step.refusal is not None:
            assert step.events == []
            assert step.after == before
            assert step.id in str(step.refusal)
        if before.state in FINAL and step.after is not None and step.after.state != before.state:
            assert step.events[0].type in ("requeued", "cancelled")


@settings(max_examples=200)
@given(commands((*["claim", "report"] * 4, "release", "cancel")))
def test_no_job_fails_more_often_than_its_policy(sequence: list[Command]) -> None:
    world = World()
    for command in sequence:
        world.do(command)
    failed: dict[str, int] = {}
    for record in world.log:
        failed[record.stream] = failed.get(record.stream, 0) + (record.type == "failed")
    for stream, failures in failed.items():
        job = world.job(stream.removeprefix("job:"))
        assert job is not None
        assert failures == job.failures <= 1 + job.max_retries


# -- single decisions ------------------------------------------------------------------------------------------------


def policy(**more: object) -> Enqueued:
    fields: dict[str, object] = {
        "command": "x", "run_at": text(BEGIN), "cwd": "/", "max_retries": 1, "backoff_base": 2.0, "backoff_max": 60.0,
        **more,
    }  # fmt: skip
    return Enqueued(**fields)  # pyright: ignore[reportArgumentType]


def held_job(**more: object) -> tuple[World, Job, Lease]:
    """A job that a worker has claimed."""
    world = World()
    world.do(Command("enqueue", policy=policy(**more)))
    world.do(Command("claim"))
    job = world.job("1")
    assert job is not None
    return world, job, decisions.lease(job)


def test_the_last_failed_retry_makes_a_job_dead() -> None:
    world, job, lease = held_job()
    failed, retried = ends.report(job, lease, Outcome(cause="exit", exit_code=1), BEGIN, 0.5)
    assert failed == Failed(attempt=1, cause="exit", exit_code=1)
    assert retried == Retried(run_at=text(BEGIN + 2 * SECOND), delay=2.0)
    world.do(Command("report", outcome=Outcome(cause="exit", exit_code=1)))
    world.do(Command("claim"))
    step = world.do(Command("report", outcome=Outcome(cause="timeout")))
    assert step is not None
    assert step.events[1] == Dead(reason="failed 2 times; 1 retry used up")
    assert step.after is not None
    assert (step.after.state, step.after.failures, step.after.attempt, step.after.cause) == ("dead", 2, 2, "timeout")


def test_a_job_without_retries_fails_once() -> None:
    _, job, lease = held_job(max_retries=0)
    assert [event.type for event in ends.report(job, lease, Outcome(cause="spawn"), BEGIN, 0.5)] == [
        "failed",
        "dead",
    ]


def test_a_lost_attempt_follows_the_jobs_own_policy() -> None:
    lost = Outcome(cause="lost")
    _, job, lease = held_job(on_lost="dead", max_retries=5)
    assert ends.report(job, lease, lost, BEGIN, 0.5)[1].type == "dead"
    assert ends.report(job, lease, Outcome(cause="exit"), BEGIN, 0.5)[1].type == "retried"
    _, job, lease = held_job(on_lost="retry", max_retries=5)
    assert ends.report(job, lease, lost, BEGIN, 0.5)[1].type == "retried"


def test_a_success_outranks_a_cancel_a_failure_not() -> None:
    world, _, _ = held_job()
    assert world.do(Command("cancel"))
    job = world.job("1")
    assert job is not None
    lease = decisions.lease(job)
    ended = ends.report(job, lease, Outcome(cause="cancel", signal=15, run_seconds=2.0), BEGIN, 0.5)
    assert ended == [Cancelled(attempt=1, signal=15, run_seconds=2.0)]
    assert ends.report(job, lease, Outcome(exit_code=0), BEGIN, 0.5) == [Completed(attempt=1, exit_code=0)]
    assert ends.release(job, lease) == [Released(attempt=1), Cancelled()]
    assert ends.cancel(job) == []


def test_a_released_attempt_uses_no_retry() -> None:
    world, _, _ = held_job(max_retries=0)
    for _ in range(5):
        world.do(Command("release"))
        world.do(Command("claim"))
    job = world.job("1")
    assert job is not None
    assert (job.attempt, job.failures) == (1, 0)


def test_a_requeued_job_has_all_retries_again() -> None:
    world, _, _ = held_job(max_retries=0)
    world.do(Command("report", outcome=Outcome(cause="exit", exit_code=3)))
    step = world.do(Command("requeue"))
    assert step is not None
    assert step.events == [Requeued(run_at=text(world.now), reason="once more")]
    job = step.after
    assert job is not None
    assert (job.state, job.failures, job.attempt, job.exit_code, job.finished_at) == ("pending", 0, 1, None, None)


def test_a_report_is_fenced_by_attempt_and_version() -> None:
    _, job, lease = held_job()
    for wrong in (Lease(job.id, lease.attempt + 1, lease.version), Lease(job.id, lease.attempt, lease.version + 1)):
        with pytest.raises(Fenced, match="no longer held"):
            ends.report(job, wrong, Outcome(), BEGIN, 0.5)
        with pytest.raises(Fenced):
            ends.release(job, wrong)
        with pytest.raises(Fenced):
            ends.refuse_to_run(job, wrong, ["TOKEN"])


def test_no_job_is_claimed_before_it_is_due() -> None:
    world = World()
    world.do(Command("enqueue", policy=policy(run_at=text(BEGIN + SECOND))))
    job = world.job("1")
    assert job is not None
    with pytest.raises(Refused, match="not due"):
        decisions.claim(job, "w", BEGIN + SECOND - 1)
    assert decisions.claim(job, "w", BEGIN + SECOND)[0].type == "claimed"


def test_a_waiting_job_has_no_lease() -> None:
    world = World()
    world.do(Command("enqueue"))
    job = world.job("1")
    assert job is not None
    with pytest.raises(Fenced, match="nobody holds it"):
        decisions.lease(job)


def test_only_a_completed_job_needs_its_secrets_again() -> None:
    world, _, _ = held_job(secrets=["KEY", "TOKEN"], max_retries=0)
    world.do(Command("report", outcome=Outcome(cause="exit")))
    dead = world.job("1")
    assert dead is not None
    assert decisions.requeue(dead, BEGIN)[0] == Requeued(run_at=text(BEGIN))
    assert decisions.requeue(dead, BEGIN, ["NEW"])[0] == Requeued(run_at=text(BEGIN), secrets=["KEY", "NEW", "TOKEN"])
    world, _, _ = held_job(secrets=["KEY", "TOKEN"])
    world.do(Command("report"))
    done = world.job("1")
    assert done is not None
    with pytest.raises(Refused, match=r"--secret KEY=… --secret TOKEN=…"):
        decisions.requeue(done, BEGIN)
    with pytest.raises(Refused, match=r"--secret TOKEN=…"):
        decisions.requeue(done, BEGIN, ["KEY"])
    requeued = decisions.requeue(done, BEGIN, ["TOKEN", "KEY"])[0]
    assert isinstance(requeued, Requeued)
    assert requeued.secrets == ["KEY", "TOKEN"]
    assert micros(requeued.run_at) == BEGIN


def test_missing_secrets_make_a_job_dead() -> None:
    _, job, lease = held_job(secrets=["TOKEN"], max_retries=5)
    failed, dead = ends.refuse_to_run(job, lease, ["TOKEN"])
    assert isinstance(failed, Failed)
    assert (failed.cause, failed.error) == ("spawn", "the values of TOKEN are not in this database")
    assert isinstance(dead, Dead)


# -- exit codes and signals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cause", ["exit", "spawn"])
def test_some_exit_codes_are_not_retried(cause: str) -> None:
    _, job, lease = held_job(max_retries=5, no_retry_codes=(64, 127))
    outcome = Outcome(cause=cause, exit_code=127)
    assert ends.report(job, lease, outcome, BEGIN, 0.5) == [
        Failed(attempt=1, cause=cause, exit_code=127), Dead(reason="exit code 127 is not retried (no-retry-codes)"),
    ]  # fmt: skip
    assert ends.report(job, lease, Outcome(cause=cause, exit_code=1), BEGIN, 0.5)[1].type == "retried"


@pytest.mark.parametrize("cause", ["timeout", "output", "lost"])
def test_the_code_of_an_ended_command_means_nothing(cause: str) -> None:
    _, job, lease = held_job(max_retries=5, no_retry_codes=(64,), ok_codes=(0, 3))
    for code in (3, 64):
        ended = decisions.judged(Outcome(cause=cause, exit_code=code), job.policy.ok_codes)
        assert [event.type for event in ends.report(job, lease, ended, BEGIN, 0.5)] == ["failed", "retried"]


def test_further_exit_codes_are_success() -> None:
    _, job, lease = held_job(ok_codes=(0, 3))
    ended = decisions.judged(Outcome(cause="exit", exit_code=3), job.policy.ok_codes)
    assert ends.report(job, lease, ended, BEGIN, 0.5) == [Completed(attempt=1, exit_code=3)]
    assert decisions.judged(Outcome(cause="exit", exit_code=4), (0, 3)).cause == "exit"


def test_a_cancel_is_repeated_by_another_signal() -> None:
    world, job, _ = held_job(stop_signal="INT")
    assert job.stop_signal == "INT"
    for signal in (None, None, "INT", "HUP", "HUP", None, "KILL"):
        found = world.job("1")
        assert found is not None
        world.append("job:1", ends.cancel(found, signal=signal))
    asked = [record.data for record in world.log if record.type == "cancel_requested"]
    assert asked == ["{}", '{"signal":"HUP"}', '{"signal":"KILL"}']
    found = world.job("1")
    assert found is not None
    assert (found.stop_signal, found.cancel_signal) == ("KILL", "KILL")


def test_a_cancels_signal_is_forgotten_with_it() -> None:
    world, job, _ = held_job()
    world.append("job:1", ends.cancel(job, signal="KILL"))
    for command in ("release", "requeue", "claim", "cancel"):
        world.do(Command(command))
    found = world.job("1")
    assert found is not None
    assert (found.cancel_requested, found.stop_signal) == (True, "TERM")


# -- interruptions ---------------------------------------------------------------------------------------------------

STOP = Stop("cli:ann@here", "the machine goes down")


def interrupted(world: World, stop: Stop = STOP) -> list[str]:
    """Claim the job, interrupt it, and tell what was decided."""
    world.do(Command("claim"))
    step = world.do(Command("report", outcome=Outcome(cause="interrupted", signal=15, run_seconds=3.0, stop=stop)))
    assert step is not None
    return [event.type for event in step.events]


def test_an_interruption_uses_no_retry() -> None:
    world, job, lease = held_job(max_retries=0, on_lost="dead")
    outcome = Outcome(cause="interrupted", signal=15, run_seconds=3.0, stop=STOP)
    assert ends.report(job, lease, outcome, BEGIN, 0.5) == [
        Interrupted(attempt=1, signal=15, run_seconds=3.0, by=STOP.by, reason=STOP.reason)
    ]
    world.do(Command("report", outcome=outcome))
    job = world.job("1")
    assert job is not None
    assert (job.state, job.failures, job.attempt, job.interruptions, job.cause) == ("pending", 0, 1, 1, None)
    world.do(Command("claim"))
    job = world.job("1")
    assert job is not None
    assert job.attempt == 2


def test_an_interruption_after_a_cancel_cancels_the_job() -> None:
    world, _, _ = held_job()
    world.do(Command("cancel"))
    job = world.job("1")
    assert job is not None
    outcome = Outcome(cause="interrupted", signal=15, stop=STOP)
    assert ends.report(job, decisions.lease(job), outcome, BEGIN, 0.5) == [Cancelled(attempt=1, signal=15)]


def test_the_tenth_interruption_in_succession_is_a_failure() -> None:
    world = World()
    world.do(Command("enqueue", policy=policy(max_retries=1)))
    assert [interrupted(world) for _ in range(9)] == [["interrupted"]] * 9
    world.do(Command("claim"))
    world.do(Command("release"))  # which is neither here nor there
    assert interrupted(world) == ["failed", "retried"]
    job = world.job("1")
    assert job is not None
    assert (job.state, job.failures, job.interruptions, job.cause) == ("failed", 1, 0, "interrupted")
    assert job.error == "interrupted 10 times in a row, the last time by cli:ann@here"
    assert interrupted(world) == ["interrupted"]
    job = world.job("1")
    assert job is not None
    assert (job.state, job.cause) == ("failed", "interrupted")


def test_a_stop_fails_only_the_job_requesting_it() -> None:
    for asker, told in (("1", ["failed", "dead"]), ("2", ["interrupted"])):
        world = World()
        world.do(Command("enqueue", policy=policy(max_retries=0)))
        assert interrupted(world, Stop("cli:ann@here", job=asker)) == told

"""The policy in an `enqueued` event: the fields given, and the settings for all others."""

from queuectl import policy
from queuectl.clock import SECOND, text
from queuectl.events import Enqueued
from queuectl.job_fields import Spec
from queuectl.settings import Settings

NOW = 1_795_510_800_123_456

SETTINGS = Settings(
    max_retries=7, backoff_base=3.0, backoff_max=500.0, jitter=0.5, timeout=9.0, on_lost="dead", keep_env=()
)


def resolved(spec: Spec, stdin: str | None = None) -> Enqueued:
    return policy.resolve(spec, policy.template(SETTINGS, "/here"), NOW, stdin)


def test_omitted_fields_come_from_the_settings():
    assert resolved(Spec(command="true")) == Enqueued(
        command="true", run_at=text(NOW), cwd="/here", timeout=9.0, max_retries=7, backoff_base=3.0, backoff_max=500.0,
        jitter=0.5, on_lost="dead",
    )  # fmt: skip


def test_the_policy_has_everything_except_secret_values():
    said = Spec(
        argv=("echo", "hi"), id="a", queue="mail", priority=-3, at=NOW + 5, max_retries=0, backoff_base=1.0,
        backoff_max=60.0, jitter=0.0, timeout=None, env={"MODE": "m"}, secrets={"TOKEN": "t", "KEY": "k"}, cwd="/there",
        stdin="/file", on_lost="retry", keep_children=True, reason="because",
    )  # fmt: skip
    assert resolved(said, "copy") == Enqueued(
        argv=["echo", "hi"], queue="mail", priority=-3, run_at=text(NOW + 5), cwd="/there", env={"MODE": "m"},
        secrets=("KEY", "TOKEN"),
        stdin="copy", timeout=None, max_retries=0, backoff_base=1.0, backoff_max=60.0, jitter=0.0, on_lost="retry",
        keep_children=True, reason="because",
    )  # fmt: skip


def test_a_delay_counts_from_the_enqueueing_transaction():
    assert resolved(Spec(command="true", delay=1.5)).run_at == text(NOW + SECOND * 3 // 2)
    assert resolved(Spec(command="true", delay=0.0)).run_at == text(NOW)

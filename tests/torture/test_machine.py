"""Short: some hundred random schedules of users' and workers' commands, compared with the model."""

from tests.torture import machine


def test_random_commands_agree_with_the_model() -> None:
    figures = machine.run(4, full=False)

    # It is worth nothing unless all of this has happened.
    for what in (
        "reports and releases refused",
        "verdicts of recovery",
        "verdicts of recovery that came too late",
        "answered with Conflict",
        "answered with Refused",
        "cancel_requested",
        "dead",
        "purged",
        "released",
        "requeued",
        "queue_paused",
        "queue_resumed",
        "queue_limited",
        "held",
        "unheld",
        "forced",
        "suspended",
        "continued",
        "resource_set",
        "claims with resources",
        "drained",
        "archived",
        *(f"explained {kind}" for kind in ("held", "paused", "delayed", "backoff", "concurrency", "rate", "resource")),
        "heartbeat",
    ):
        assert figures.get(what), what

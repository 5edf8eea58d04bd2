"""The short form: some hundred schedules of everything that users and workers do, against the model."""

from tests.torture import machine


def test_whatever_happens_in_whatever_order_the_tables_and_the_log_are_what_the_model_says() -> None:
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
    ):
        assert figures.get(what), what

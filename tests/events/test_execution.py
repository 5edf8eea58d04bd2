"""How the end of an attempt is stored: flat, and with its keys in the order in which they always stood."""

from queuectl.events import Cancelled, Completed, Execution, Failed, Interrupted, encode

AT = "2026-11-24T09:00:00.123456Z"
ENDED = Execution(
    run_seconds=1.5, exit_code=3, signal=9, cpu_seconds=0.25, max_rss=4096, output_bytes=10, output_cut=4, kept=True
)
KNOWN = {name: getattr(ENDED, name) for name in Execution.__struct_fields__}
STORED = (
    b'"attempt":2,"started_at":"2026-11-24T09:00:00.123456Z","run_seconds":1.5,"exit_code":3,"signal":9,'
    b'"cpu_seconds":0.25,"max_rss":4096,"output_bytes":10,"output_cut":4,"kept":true'
)


def test_stored_outcomes_keep_their_keys_in_order() -> None:
    stored = {
        Completed(attempt=2, started_at=AT, **KNOWN): b"",
        Failed(attempt=2, started_at=AT, **KNOWN, cause="output", error="oh"): b',"cause":"output","error":"oh"',
        Interrupted(attempt=2, started_at=AT, **KNOWN, by="SIGTERM", reason="r"): b',"by":"SIGTERM","reason":"r"',
        Cancelled(attempt=2, started_at=AT, **KNOWN, reason="r"): b',"reason":"r"',
    }
    for event, more in stored.items():
        assert encode(event) == b"{" + STORED + more + b"}"


def test_what_is_not_known_is_not_stored() -> None:
    assert encode(Completed(attempt=1)) == b'{"attempt":1}'
    assert encode(Cancelled()) == b"{}"
    assert encode(Failed(attempt=1, exit_code=0, run_seconds=0.0, cause="timeout")) == (
        b'{"attempt":1,"run_seconds":0.0,"exit_code":0,"cause":"timeout"}'
    )

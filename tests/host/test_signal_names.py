"""Signals by name and by number."""

import signal

import pytest

from queuectl.host import signal_names


def test_each_signal_has_one_name() -> None:
    names = {int(number): signal_names.name(number) for number in signal.valid_signals()}
    assert {signal_names.number(name): name for name in names.values()} == names
    assert [names[number] for number in (2, 9, 34, 37)] == ["INT", "KILL", "RTMIN", "RTMIN+3"]
    assert {"INT", "TERM", "RTMIN"} < set(signal_names.NAMES)


@pytest.mark.parametrize(
    "text, number",
    [("INT", 2), ("sigint", 2), (" 2 ", 2), ("IOT", 6), ("RTMAX", 64), ("rtmax-1", 63), ("SIGRTMIN+3", 37)],
)  # fmt: skip
def test_a_signal_is_written_in_several_ways(text: str, number: int) -> None:
    assert signal_names.number(text) == number


@pytest.mark.parametrize("text", ["", "SIG", "TREM", "0", "-9", "32", "65", "999", "RTMIN+31", "RTMAX-40", "٢", "2.0"])
def test_what_is_no_signal_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="signal"):
        signal_names.number(text)

"""A progress bar is gone from the terminal when the answer comes."""

import sys

import pytest

from queuectl.cli.ui import output, progress


def test_an_answer_clears_an_unfinished_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar = progress.bar("Importing", delay=0)
    bar(5, 10)
    output.line("took in 5 events")
    out, err = capsys.readouterr()
    assert (out, err.count("Importing")) == ("took in 5 events\n", 1)
    assert err.endswith("\r\x1b[K")

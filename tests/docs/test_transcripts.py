"""Every transcript in README.md and docs/ is run and compared, and nothing that looks like one escapes that.

What changes from run to run (moments, durations, sizes, ids of workers) is compared by its shape. After a change of
what commands print, `python -m tests.support.transcripts` writes the transcripts anew.
"""

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.transcripts import PAGES, perform, shape, steps


def pages(*, with_transcripts: bool = False) -> list[object]:
    """The pages as parameters of a test, by their names."""
    return [
        pytest.param(page, id=str(page.relative_to(ROOT)))
        for page in PAGES
        if not with_transcripts or steps(page.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize("page", pages(with_transcripts=True))
def test_a_transcript_is_what_really_happens(page: Path, tmp_path: Path) -> None:
    told = steps(page.read_text(encoding="utf-8"))
    for step, answer in zip(told, perform(told, tmp_path), strict=True):
        assert (step.command, shape(answer)) == (step.command, shape(step.shown))


@pytest.mark.parametrize("page", pages())
def test_what_looks_like_a_transcript_is_one(page: Path) -> None:
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    unchecked = [line for kind, block in blocks if kind != "console" for line in block.splitlines()]
    assert not [line for line in unchecked if line.startswith("$ ")]


def test_the_pages_have_transcripts() -> None:
    assert len(pages(with_transcripts=True)) >= 8

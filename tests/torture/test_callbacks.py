"""Callbacks under kills, in the short form."""

import random
from pathlib import Path

import pytest

from tests.torture import callbacks


@pytest.mark.timeout(400)
def test_each_end_is_told_once_under_kills(tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    try:
        figures = callbacks.run(seed, full=False, folder=tmp_path)
    except BaseException as error:
        error.add_note(f"seed {seed}")
        raise
    for end in ("completed", "dead", "cancelled", "empty"):
        assert figures[f"callbacks of {end}"], figures

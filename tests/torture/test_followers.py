"""Followers of a log in PostgreSQL under kills; `python -m tests.torture --full followers` is longer."""

import random
from pathlib import Path

import pytest

from tests.torture import followers
from tests.torture.followers import Seen, seen


@pytest.mark.timeout(300)
def test_followers_skip_and_repeat_nothing(tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"python -m tests.torture followers --seed {seed}")  # shown with a failure
    figures = followers.run(seed, full=False, folder=tmp_path)
    assert figures["killed: a follower"]
    assert figures["killed: a session"]


@pytest.mark.parametrize(
    "seqs, wrong",
    [
        ([1, 2, 3], Seen(0, 0, 0)),
        ([1, 3], Seen(1, 0, 0)),
        ([1, 2], Seen(1, 0, 0)),
        ([1, 2, 2, 3], Seen(0, 1, 1)),
        ([2, 1, 3], Seen(0, 0, 1)),
    ],
)
def test_what_a_follower_missed_is_counted(seqs: list[int], wrong: Seen) -> None:
    assert seen(seqs, 3) == wrong

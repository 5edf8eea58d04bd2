"""Short: the week in half a minute."""

import random
from pathlib import Path

from tests.torture import week


def test_a_week_ends_with_nothing_to_say(tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"python -m tests.torture week --seed {seed}")  # shown with a failure
    figures = week.run(seed, full=False, folder=tmp_path)
    assert int(figures["acknowledged"]) > 300
    assert int(figures["fired"]) > 5
    assert int(figures["kills"]) > 3

"""The queries of `figures.sql` by name: what `queuectl stats` asks, as docs/reference/stats.md defines it."""

import os
import re


def _read() -> dict[str, str]:
    with open(os.path.join(os.path.dirname(__file__), "figures.sql"), encoding="utf-8") as file:
        parts = re.split(r"^-- (\w+)\n", file.read(), flags=re.MULTILINE)
    return {name: sql.strip() for name, sql in zip(parts[1::2], parts[2::2], strict=True)}


FIGURES = _read()
"""In the order in which they are asked. They read the log alone."""

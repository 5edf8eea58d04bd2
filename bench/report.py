"""What came out: a table for people, a JSON document for machines, and on what machine it was."""

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Iterable, Sequence
from typing import Any

from bench.measure import Figure
from bench.scratch import Scratch

HEADERS = ("figure", "ours", "floor", "ratio", "spread", "wanted", "")


def machine(scratch: Scratch) -> dict[str, str]:
    """What the numbers depend on: the interpreter, the libraries, the cores, the file system and its present mood."""
    return {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("apsw", "cyclopts", "msgspec")},
        "kernel": platform.release(),
        "cores": str(len(os.sched_getaffinity(0))),
        "file system": filesystem(scratch.root),
        "new file": amount(scratch.creation(), "us"),
    }


def filesystem(folder: str) -> str:
    """The type of the file system that holds a folder, as the kernel names it."""
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        for line in mounts:
            if line.split()[2] == wanted:
                return line.partition(" - ")[2].split()[0]
    return "unknown"


def document(figures: Iterable[Figure], facts: dict[str, str]) -> dict[str, Any]:
    """Everything measured, each pair of it."""
    return {
        "machine": facts,
        "figures": [
            {
                "figure": figure.name,
                "floor": figure.floor_name,
                "unit": figure.unit,
                "better": figure.better,
                "median": statistics.median(figure.ours),
                "floor_median": statistics.median(figure.floor),
                "ratio": figure.ratio,
                "spread": [min(figure.ratios), max(figure.ratios)],
                "wanted_ratio": figure.wanted_ratio,
                "wanted": figure.wanted,
                "reached": figure.reached,
                "pairs": [list(pair) for pair in zip(figure.ours, figure.floor, strict=True)],
            }
            for figure in figures
        ],
    }


def table(figures: Sequence[Figure], facts: dict[str, str]) -> str:
    """One line a figure: medians of ours and of the floor, the ratio's median, least and greatest, what was wanted."""
    rows = [HEADERS, *(row(figure) for figure in figures)]
    widths = [max(len(line[column]) for line in rows) for column in range(len(HEADERS))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in rows]
    lines.insert(1, "  ".join("-" * width for width in widths).rstrip())
    return "\n".join(
        [
            "  ".join(f"{name} {value}" for name, value in facts.items()),
            "",
            *lines,
            "",
            *(f"{figure.name}: floor is {figure.floor_name}" for figure in figures),
        ]
    )


def row(figure: Figure) -> tuple[str, ...]:
    """The cells of one figure."""
    sign = ">=" if figure.better == "higher" else "<="
    wanted = [f"{sign} {figure.wanted_ratio:.2f}"] if figure.wanted_ratio is not None else []
    wanted += [f"{sign} {amount(figure.wanted, figure.unit)}"] if figure.wanted is not None else []
    return (
        figure.name,
        amount(statistics.median(figure.ours), figure.unit),
        amount(statistics.median(figure.floor), figure.unit),
        f"{figure.ratio:.2f}",
        f"{min(figure.ratios):.2f} - {max(figure.ratios):.2f}",
        ", ".join(wanted),
        {True: "reached", False: "MISSED", None: ""}[figure.reached],
    )


def amount(value: float, unit: str) -> str:
    """A value with its unit, without digits that mean nothing."""
    return f"{value:,.0f} {unit}" if value >= 1000 else f"{value:,.1f} {unit}"

"""What came out: a table for people, a document for machines, a page for the records; and on what machine it was."""

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from bench.measure import Figure, Side, ratios
from bench.scratch import Scratch
from queuectl import __version__, clock

Results = Mapping[str, Sequence[Figure]]
"""The figures of each workload."""


class Run(msgspec.Struct, frozen=True):
    """What came out in one folder."""

    place: Mapping[str, str]
    results: Results


class Edition(msgspec.Struct, frozen=True):
    """What a report says of all its figures."""

    command: str
    """The one that writes it down."""
    durable: str
    """By what that which is acknowledged survives a power cut."""


SQLITE = Edition("python -m bench --write", "WAL, FULL")
POSTGRES = Edition("python -m bench --postgres --write", "fsync and synchronous_commit on")

FIGURES = ("figure", "ours", "floor", "ratio", "spread", "goal", "")
PEERS = ("figure", "peer", "theirs", "ours to theirs", "spread", "what it survives")
OURS = "Others at the same work, in the same rounds. What QueueCTL acknowledges survives a power cut ({}):"
VERDICTS = {True: "reached", False: "MISSED", None: ""}
PACKAGES = (
    "apsw", "cyclopts", "msgspec", "psycopg", "huey", "litequeue", "persist-queue", "dbos", "procrastinate", "pgqueuer",
)  # fmt: skip


def machine() -> dict[str, str]:
    """What the numbers of all runs depend on: the interpreter, the libraries, the cores."""
    installed = {found.name.lower(): found.version for found in importlib.metadata.distributions()}
    return {
        "queuectl": __version__,
        "python": platform.python_version(),
        **{name: installed[name] for name in PACKAGES if name in installed},
        "kernel": platform.release(),
        "processor": processor(),
        "cores": str(len(os.sched_getaffinity(0))),
    }


def place(scratch: Scratch) -> dict[str, str]:
    """What else those of one run depend on: the file system, and its present mood."""
    space = os.statvfs(scratch.root)
    return {
        "file system": filesystem(scratch.root),
        "size": amount(space.f_blocks * space.f_frsize / 1e9, "GB"),
        "in use": amount(100 * (1 - space.f_bfree / space.f_blocks), "%"),
        "new file": amount(scratch.creation(), "us"),
        "sync": amount(scratch.sync(), "ms"),
        "load": amount(os.getloadavg()[0]),
    }


def processor() -> str:
    """The model of the processor, as the kernel names it."""
    with open("/proc/cpuinfo", encoding="utf-8") as cpus:
        named = (line.partition(":")[2].strip() for line in cpus if line.startswith("model name"))
        return next(named, platform.machine())


def filesystem(folder: str) -> str:
    """The type and the device of the file system that holds a folder, as the kernel names them."""
    device = os.stat(folder).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8") as mounts:
        for line in mounts:
            if line.split()[2] == wanted:
                kind, source = line.partition(" - ")[2].split()[:2]
                return f"{kind} on {source}"
    return "unknown"


def document(runs: Sequence[Run], facts: Mapping[str, str]) -> dict[str, Any]:
    """Everything measured, each round of it."""
    return {"machine": facts, "runs": [{"place": run.place, "figures": entries(run.results)} for run in runs]}


def entries(results: Results) -> list[dict[str, Any]]:
    """The figures of a run, one after the other."""
    return [
        {
            "workload": workload,
            "figure": figure.name,
            "unit": figure.unit,
            "better": figure.better,
            "median": statistics.median(figure.ours),
            "rounds": figure.ours,
            "floor": against(figure.ours, figure.floor) if figure.floor is not None else None,
            "goal": figure.goal,
            "judge": figure.judge,
            "value": figure.value,
            "reached": figure.reached,
            "peers": [against(figure.ours, peer) for peer in figure.peers],
        }
        for workload, figures in results.items()
        for figure in figures
    ]


def against(ours: Sequence[float], side: Side) -> dict[str, Any]:
    """What another side did, and how ours stands to it."""
    shares = ratios(ours, side.values)
    return {
        "name": side.name,
        "durability": side.durability,
        "median": statistics.median(side.values),
        "rounds": side.values,
        "ratio": statistics.median(shares),
        "spread": [min(shares), max(shares)],
    }


def page(runs: Sequence[Run], facts: Mapping[str, str], edition: Edition = SQLITE) -> str:
    """The whole as Markdown, with the day, each run under a heading."""
    table = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    parts = "\n\n".join(f"## {listed(run.place)}\n\n```\n{text(run.results, edition)}\n```" for run in runs)
    return f"""\
# What `{edition.command}` measured on {clock.text(clock.now())[:10]}

A run of everything on each file system. Medians of the rounds; a ratio is the median of the rounds' ratios, its spread
the least and the greatest of them. Only ratios are goals, but for the few figures without a floor, which hold for this
machine:

| | |
|---|---|
{table}

{parts}
"""


def table(runs: Sequence[Run], facts: Mapping[str, str], edition: Edition = SQLITE) -> str:
    """The whole for a terminal."""
    return "\n\n".join([listed(facts), *(f"{listed(run.place)}\n\n{text(run.results, edition)}" for run in runs)])


def listed(facts: Mapping[str, str]) -> str:
    """Names and values in one line."""
    return ", ".join(f"{name} {value}" for name, value in facts.items())


def text(results: Results, edition: Edition) -> str:
    """The figures, what their floors are, and what others made of the same."""
    figures = [figure for several in results.values() for figure in several]
    floors = [f"{figure.name}: floor is {figure.floor.name}" for figure in figures if figure.floor is not None]
    peers = [row for figure in figures for row in peer_rows(figure)]
    parts = [columns(FIGURES, [row(figure) for figure in figures]), "\n".join(floors)]
    parts += [OURS.format(edition.durable), columns(PEERS, peers)] if peers else []
    return "\n\n".join(parts)


def columns(headers: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells in columns, under their headers."""
    lines = [headers, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def row(figure: Figure) -> tuple[str, ...]:
    """The cells of one figure."""
    unit, judged = figure.judged_unit, figure.judged
    sign = ">=" if figure.better == "higher" else "<="
    bound = " always" if figure.judge == "worst" else ""
    return (
        figure.name,
        amount(statistics.median(figure.ours), figure.unit),
        amount(statistics.median(figure.floor.values), figure.unit) if figure.floor is not None else "",
        amount(statistics.median(judged)) if figure.floor is not None else "",
        f"{amount(min(judged))} - {amount(max(judged), unit)}",
        f"{sign} {amount(figure.goal, unit)}{bound}" if figure.goal is not None else "",
        VERDICTS[figure.reached],
    )


def peer_rows(figure: Figure) -> list[tuple[str, ...]]:
    """The cells of those who did the same: one row each."""
    rows: list[tuple[str, ...]] = []
    for peer in figure.peers:
        shares = ratios(figure.ours, peer.values)
        rows.append(
            (
                figure.name,
                peer.name,
                amount(statistics.median(peer.values), figure.unit),
                amount(statistics.median(shares)),
                f"{amount(min(shares))} - {amount(max(shares))}",
                peer.durability,
            )
        )
    return rows


def amount(value: float, unit: str = "") -> str:
    """A value with its unit, without digits that mean nothing."""
    digits = 0 if value >= 1000 else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()

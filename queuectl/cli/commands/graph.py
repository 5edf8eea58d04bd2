"""`queuectl graph`: which jobs depend on which."""

from typing import TYPE_CHECKING, Annotated

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output

if TYPE_CHECKING:
    from projections.jobs import Job
    from queuectl.job_graph import JobGraph

_WORDS = {"after": "after", "after_any": "after the end of", "after_failure": "if not completed:"}
"""How a job depends on another, in words."""
_STYLES = {"after": "solid", "after_any": "dashed", "after_failure": "dotted"}
"""The line that Graphviz draws for it."""
_FILLS = {
    "pending": "lightcyan", "blocked": "white", "processing": "lightblue", "failed": "khaki",
    "completed": "palegreen", "dead": "lightpink", "cancelled": "lightgrey", "gone": "white",
}  # fmt: skip
"""The colour in which Graphviz fills a job, by its state."""


def graph(
    *ids: Annotated[str, p.Parameter(name="ID", help="These jobs; those that are blocked, where none is named.")],
    dot: Annotated[bool, p.Parameter(name="--dot", help="As a graph for Graphviz.")] = False,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Show which jobs depend on which: those named, all that they depend on, and all that depend on them.

    $ queuectl graph
    $ queuectl graph deploy --dot | dot -Tsvg -o deploy.svg

    Each stands below those that it depends on, indented under the last of them.
    """
    with opening.open_queue(db) as q:
        found = q.graph([q.resolve(id) for id in ids])
    if json:
        output.documents(
            {
                "id": id,
                "state": job.state if job is not None else None,
                "parents": [{"id": edge.parent, "kind": edge.kind} for edge in found.parents(id)],
            }
            for id, job in found.jobs.items()
        )
    elif dot:
        output.line(_dot(found))
    elif found.jobs:
        _print(found)
    else:
        output.message("no job is blocked")


def _print(found: "JobGraph") -> None:
    places = {id: place for place, id in enumerate(found.jobs)}
    depths: dict[str, int] = {}
    for id, job in found.jobs.items():
        edges = sorted(found.parents(id), key=lambda edge: places[edge.parent])
        depths[id] = depths[edges[-1].parent] + 1 if edges else 0
        state = job.state if job is not None else "gone"
        more = [f"{_WORDS[edge.kind]} {edge.parent}" for edge in edges[:-1]]
        if edges and edges[-1].kind != "after":
            more.append(f"{_WORDS[edges[-1].kind]} {edges[-1].parent}")
        words = f"  ({', '.join(more)})" if more else ""
        branch = "  " * (depths[id] - 1) + "└ " if depths[id] else ""
        output.line(
            f"{branch}{output.escape(id)}  {output.paint(state, state)}  "
            f"{output.escape(_command(job))}{output.paint(output.escape(words), 'dim')}"
        )


def _command(job: "Job | None") -> str:
    line = job.command if job is not None else ""
    return line if len(line) <= 60 else line[:59] + "…"


def _dot(found: "JobGraph") -> str:
    lines = ["digraph jobs {", "  node [shape=box, style=filled];"]
    for id, job in found.jobs.items():
        state = job.state if job is not None else "gone"
        label = _quoted(f"{id} ({state})\n{_command(job)}".rstrip("\n"))
        lines.append(f"  {_quoted(id)} [label={label}, fillcolor={_FILLS[state]}];")
    for edge in found.edges:
        lines.append(f"  {_quoted(edge.parent)} -> {_quoted(edge.child)} [style={_STYLES[edge.kind]}];")
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    """Text as an identifier of the DOT language: in double quotes, with those and backslashes escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{output.escape(escaped)}"' if "\x1b" in escaped else f'"{escaped}"'

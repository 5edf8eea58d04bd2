"""`queuectl graph`: which jobs depend on which."""

from typing import TYPE_CHECKING, Annotated

from queuectl.batch_summary import BatchSummary
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output
from queuectl.units import counted

if TYPE_CHECKING:
    from queuectl.job_graph import JobGraph, Node

_WORDS = {"after": "after", "after_any": "after the end of", "after_failure": "if not completed:", "member": "with"}
"""How a job depends on another, in words."""
_STYLES = {"after": "solid", "after_any": "dashed", "after_failure": "dotted", "member": "solid"}
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
                **({"state": None, **node.json()} if isinstance(node, BatchSummary) else {"state": _state(node)}),
                "parents": [{"id": edge.parent, "kind": edge.kind} for edge in found.parents(id)],
            }
            for id, node in found.nodes.items()
        )
    elif dot:
        output.line(_dot(found))
    elif found.nodes:
        _print(found)
    else:
        output.message("no job is blocked")


def _print(found: "JobGraph") -> None:
    places = {id: place for place, id in enumerate(found.nodes)}
    depths: dict[str, int] = {}
    for id, node in found.nodes.items():
        edges = sorted(found.parents(id), key=lambda edge: places[edge.parent])
        depths[id] = depths[edges[-1].parent] + 1 if edges else 0
        state = _state(node) or "gone"
        more = [f"{_WORDS[edge.kind]} {edge.parent}" for edge in edges[:-1]]
        if edges and edges[-1].kind != "after":
            more.append(f"{_WORDS[edges[-1].kind]} {edges[-1].parent}")
        words = f"  ({', '.join(more)})" if more else ""
        branch = "  " * (depths[id] - 1) + "└ " if depths[id] else ""
        output.line(
            f"{branch}{output.escape(id)}  {output.paint(state, state)}  "
            f"{output.escape(_command(node))}{output.paint(output.escape(words), 'dim')}"
        )


def _state(node: "Node") -> str | None:
    """The state of a job; of a batch that of its jobs, if all have ended: the worst one."""
    if not isinstance(node, BatchSummary):
        return node.state if node is not None else None
    if node.ended < node.total:
        return "processing" if node.ended or node.counts["processing"] else "pending"
    return next((state for state in ("dead", "cancelled") if node.counts[state]), "completed")


def _command(node: "Node") -> str:
    if isinstance(node, BatchSummary):
        return f"{node.ended:,} of {counted(node.total, 'job')} ended"
    line = node.command if node is not None else ""
    return line if len(line) <= 60 else line[:59] + "…"


def _dot(found: "JobGraph") -> str:
    lines = ["digraph jobs {", "  node [shape=box, style=filled];"]
    for id, node in found.nodes.items():
        state = _state(node) or "gone"
        label = _quoted(f"{id} ({state})\n{_command(node)}".rstrip("\n"))
        lines.append(f"  {_quoted(id)} [label={label}, fillcolor={_FILLS[state]}];")
    for edge in found.edges:
        lines.append(f"  {_quoted(edge.parent)} -> {_quoted(edge.child)} [style={_STYLES[edge.kind]}];")
    return "\n".join([*lines, "}"])


def _quoted(text: str) -> str:
    """Text as an identifier of the DOT language: in double quotes, with those and backslashes escaped."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{output.escape(escaped)}"' if "\x1b" in escaped else f'"{escaped}"'

"""docs/design.md tells the truth: the states and events of a job are those of the code, the folders those there are."""

import re

from tests.support.paths import ROOT
from tests.test_decisions import LEGAL

DOC = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
EDGE = re.compile(r"^    (\S+) --> (\S+): (.+)$", re.MULTILINE)


def test_the_diagram_of_states_shows_the_legal_changes() -> None:
    [diagram] = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", DOC, re.DOTALL)
    edges = [(before, event, after) for before, after, events in EDGE.findall(diagram) for event in events.split(", ")]
    legal = {
        (before or "[*]", event, after or "[*]")
        for (before, event), following in LEGAL.items()
        for after in following
        if after != before
    }
    assert len(edges) == len(set(edges))
    assert set(edges) == legal


def test_the_table_of_folders_has_every_folder() -> None:
    told = re.findall(r"^\| `([\w/]+/)` \|", DOC, re.MULTILINE)
    folders = {
        path.parent.relative_to(ROOT) for part in ("queuectl", "projections") for path in (ROOT / part).rglob("*.py")
    }
    inside = (
        "queuectl",
        "queuectl/cli/commands",
        "queuectl/cli/ui",
        "queuectl/doctor/checks",
    )  # told with their parent
    assert sorted(told) == sorted(f"{folder}/" for folder in folders if str(folder) not in inside)

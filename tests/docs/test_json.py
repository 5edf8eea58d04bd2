"""docs/reference/json.md names the keys that documents have."""

import re

import pytest

from tests.support.paths import ROOT
from tests.support.shell import Shell


def documented(document: str) -> set[str]:
    """The keys of a document, as its row of the table names them."""
    page = (ROOT / "docs/reference/json.md").read_text()
    [row] = [line for line in page.splitlines() if line.startswith(f"| {document} |")]
    return set(re.findall("`([a-z_]+)`", row.split("|")[3]))


@pytest.mark.parametrize(
    "document, words, parts",
    [
        ("queue", "queue list", set[str]()),
        ("resource", "resource list", {"job", "amount"}),
        ("batch", "batch list", set[str]()),
        ("schedule", "schedule list", set[str]()),
        ("moment", "schedule next nightly", set[str]()),
        ("reason", "explain", set[str]()),
        ("waits", "explain j --history", {"seconds", *"kind text about behind by why attempt since until".split()}),
    ],
)
def test_documents_have_the_documented_keys(queuectl: Shell, document: str, words: str, parts: set[str]) -> None:
    """`parts`: those of what it has within."""
    queuectl("enqueue", "--id", "j", "--batch", "b", "true").ok()
    queuectl("schedule", "add", "nightly", "@daily", "true").ok()
    queuectl("resource", "set", "gpu", "--indices", "0-1").ok()
    first, *_ = queuectl(*words.split(), "--json").ok().ndjson
    assert first.keys() | parts == documented(document)

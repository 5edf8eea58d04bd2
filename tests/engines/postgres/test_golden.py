"""The golden log in both engines: every command that reads gives byte-equal answers."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.audit.import_log import load, take
from tests.support import golden
from tests.support.shell import Answer

COMMANDS = [
    *golden.QUESTIONS.values(),
    *golden.EXPORTS.values(),
    ["export", "--format", "trace"],
    ["export", "--queue", "pictures", "--type", "dead"],
    ["export", "--what", "jobs", "--where", "state:failed,dead", "--columns", "id,state,tags"],
    ["replay", "--check"],
    ["simulate", "--max-retries", "5"],
    ["simulate", "--max-retries", "1", "--backoff-base", "3", "--queue", "reports", "--json"],
    ["stats", "--queue", "pictures", "--json"],
    ["list", "--limit", "50"],
    ["list", "--state", "completed", "--json"],
    ["list", "--at", "seq:3000", "--json"],
    ["list", "--at", "2026-11-25T04:27:40Z"],
    ["list", "state:dead", "--json"],
    ["status"],
    ["status", "--at", "2026-11-25T04:27:40Z", "--json"],
    ["explain"],
    ["explain", "typo"],
    ["events", "--json"],
    ["events", "--queue", "pictures"],
    ["events", "--job", "backup-mon", "--type", "failed"],
    ["dlq", "list"],
    ["worker", "list", "--all"],
    ["queue", "list", "--json"],
    ["batch", "list"],
    ["schedule", "list"],
    ["resource", "list"],
    ["config", "get"],
    ["graph", "typo"],
    ["doctor"],
]

SHAPES = [
    (r"\b[0-9smhd.]+( [0-9smhd.]+)? ago\b", "long ago"),
    (r'"disk_free":\d+', ""),
    (r"schema \d+", "schema"),
]


@pytest.mark.timeout(300)
def test_both_engines_give_byte_equal_answers(tmp_path: Path, postgres_url: str, inside: Callable[..., Answer]) -> None:
    with Queue(tmp_path / "golden.db") as here, Queue(postgres_url) as there:
        load(here, golden.events().splitlines(keepends=True))
        take(there, here)
        urls = (here.url, there.url)
    names = (urls[0], postgres_url)
    for words in COMMANDS:
        answers = [inside(*words, "--db", name) for name in names]
        assert answers[0].code in (0, 1), words
        told = [shape(words, answer, url) for answer, url in zip(answers, urls, strict=True)]
        assert told[1] == told[0], words


def shape(words: list[str], answer: Answer, url: str) -> tuple[int, str, str]:
    """The exit code, and what was printed, without what differs from one time or place to another.

    Of `doctor` only what it says of the log: how the database is stored, and its server, are another matter.
    """
    out, err = answer.out.replace(url, "<queue>"), answer.err.replace(url, "<queue>")
    if words == ["doctor"]:
        out = "".join(re.findall(r"(?m)^. (?:log|replay|projections|settings) .*\n", out))
    for pattern, replacement in SHAPES:
        out = re.sub(pattern, replacement, out)
    return answer.code, out, err

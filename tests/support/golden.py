"""The golden log: about 5,000 events of a real evening (`data/make_golden.py`), and what is answered about them.

`python -m tests.support.golden` asks all the questions anew and keeps the answers in `data/golden/`. Read the
difference before you keep it: an answer may only change where the program was meant to change it.
"""

import gzip
import hashlib
import re
import tempfile
from pathlib import Path

from tests.support import fork_server
from tests.support.paths import ROOT

LOG = ROOT / "tests" / "data" / "golden.ndjson.gz"
ANSWERS = ROOT / "tests" / "data" / "golden"

TIMELINES = ("backup-mon", "backup-slow", "backup-tue", "report-064", "report-098", "report-287", "typo")

QUESTIONS: dict[str, list[str]] = {
    "status": ["status", "--json", "--at", "seq:5021"],
    "status-then": ["status", "--json", "--at", "seq:2500"],
    "stats": ["stats"],
    "stats-json": ["stats", "--json"],
    "verify": ["audit", "verify"],
    "verify-json": ["audit", "verify", "--json"],
    "dead": ["list", "--state", "dead", "--json"],
    "job": ["inspect", "report-098", "--json"],
    "job-then": ["inspect", "report-098", "--json", "--at", "seq:4000"],
    **{f"timeline-{id}": ["inspect", id, "--events"] for id in TIMELINES},
    "waits": ["explain", "report-287", "--history"],
    "waits-json": ["explain", "report-064", "--history", "--json"],
    "events-json": ["inspect", "backup-mon", "--events", "--json"],
}
"""Whose answers are kept as they are."""

EXPORTS: dict[str, list[str]] = {
    f"{what} as {format}": ["export", "--what", what, "--format", format]
    for what in ("events", "jobs", "attempts")
    for format in ("ndjson", "csv")
} | {"OCEL": ["export", "--format", "ocel-json"]}
"""Whose answers are long: kept is what they are like, and a hash."""


def events() -> bytes:
    """The log as it was exported."""
    return gzip.decompress(LOG.read_bytes())


def ask(database: Path, *words: str, stdin: bytes = b"") -> bytes:
    """What the command answers, with how long ago things were taken out."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(database.parent), "LANG": "C.UTF-8", "TZ": "UTC", "COLUMNS": "100",
           "PYTHONPATH": str(ROOT)}  # fmt: skip
    done = fork_server.run([*words, "--db", str(database)], env, database.parent, stdin)
    done.check_returncode()
    answer = done.stdout.replace(str(database).encode(), b"golden.db")
    return re.sub(rb"\b[0-9smhd.]+( [0-9smhd.]+)? ago\b", b"long ago", answer)


def import_log(database: Path) -> None:
    """A queue with the golden log."""
    ask(database, "import", str(LOG))


def summary(answer: bytes) -> str:
    """How long an answer is, how it begins, and its hash."""
    lines = answer.splitlines()
    digest = hashlib.sha256(answer).hexdigest()
    return f"{len(lines)} lines, {len(answer)} bytes, sha256 {digest}\n  {lines[0].decode()[:110]}\n"


def answers(database: Path) -> dict[str, bytes]:
    """All answers, by the name under which they are kept."""
    kept = {f"{name}.txt": ask(database, *words) for name, words in QUESTIONS.items()}
    summaries = (f"{name}: {summary(ask(database, *words))}" for name, words in EXPORTS.items())
    return {**kept, "exports.txt": "".join(summaries).encode()}


def main() -> None:
    """Ask anew, and keep what is answered."""
    ANSWERS.mkdir(exist_ok=True)
    for old in ANSWERS.iterdir():
        old.unlink()
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder, "golden.db")
        import_log(database)
        for name, answer in answers(database).items():
            (ANSWERS / name).write_bytes(answer)


if __name__ == "__main__":
    main()

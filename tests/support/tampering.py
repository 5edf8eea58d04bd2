"""A log with seals, and changes to it by a program with the owner's rights that uses SQLite directly."""

from pathlib import Path

import apsw

from queuectl import Queue
from queuectl.audit.seal import Seal, seal
from queuectl.audit.verdict import Verdict
from queuectl.audit.verify import Anchor, AuditedQueue, verify


def twice_sealed(path: Path) -> None:
    """Make it: events 1-5, the first seal 6, 7-11, the second seal 12, and 13-14, which are not sealed."""
    with Queue(path) as queue:
        for _ in range(2):
            queue.enqueue_many(["true"] * 5)
            seal(queue)
        queue.enqueue_many(["true"] * 2)


def tamper(path: Path, *statements: str) -> None:
    """Change the file through SQLite, without its triggers; no Queue may have it open (R6)."""
    db = apsw.Connection(str(path))
    for (name,) in list(db.execute("select name from sqlite_master where type = 'trigger'")):
        db.execute(f"drop trigger {name}")
    for statement in statements:
        db.execute(statement)
    db.close()
    (path.parent / (path.name + ".d") / "high-water").unlink(missing_ok=True)


def verdict(path: Path, *anchors: Seal, archives: tuple[str, ...] = (), allow: bool = False) -> Verdict:
    with AuditedQueue(str(path)) as queue:
        noted = [Anchor(each.upto, each.hash) for each in anchors]
        return verify(queue, noted, archives, allow_missing_archives=allow)


def findings(path: Path, *anchors: Seal, archives: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """The kind of each finding, and what it says."""
    return [(each.kind, each.what) for each in verdict(path, *anchors, archives=archives).findings]

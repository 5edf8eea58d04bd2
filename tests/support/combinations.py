"""What retries, purges, archives and imports make of jobs with parents, keys and batches: tried, and kept in a page.

`python -m tests.support.combinations` tries all of them and writes the table of docs/reference/combinations.md anew.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

from queuectl.audit.archive import archive
from queuectl.audit.import_log import rebuild
from queuectl.clock import now
from queuectl.errors import Refused
from queuectl.queue import Queue
from tests.support.one_worker import FAILED, OneWorker
from tests.support.paths import IN_MEMORY, ROOT

PAGE = ROOT / "docs" / "reference" / "combinations.md"

PARENTS = ("none", "completed", "unfinished", "dead")
KEYS = ("free", "taken")
BATCHES = ("open", "halted")
ACTIONS = ("retry", "purge", "archive", "import, then retry")


def scene(folder: Path, parent: str, key: str, batch: str) -> OneWorker:
    """A dead job `j` with a key in a batch: what it depended on, who has its key now, and what became of its batch."""
    one = OneWorker(folder)
    if parent != "none":
        one.add("p")
        one.run()
    one.add(
        "j",
        after=("p",) if parent != "none" else (),
        unique="k",
        batch="b",
        halt="soon,fail=1" if batch == "halted" else None,
    )
    one.claim()
    one.end("j", outcome=FAILED)
    if batch == "open":
        one.add("other", batch="b", held=True)
    if parent in ("unfinished", "dead"):
        one.queue.retry("p")
    if parent == "dead":
        one.claim()
        one.end("p", outcome=FAILED)
    if key == "taken":
        one.add("k2", unique="k", held=True)
    return one


def outcome(folder: Path, action: str, parent: str, key: str, batch: str) -> str:
    """What the action makes of the job."""
    one = scene(folder, parent, key, batch)
    match action:
        case "retry":
            return again(one.queue)
        case "purge":
            one.queue.purge("j")
            return gone(one.queue)
        case "archive":
            archive(one.queue, str(folder / "old.gz"), now())
            return gone(one.queue)
        case _:
            rebuild(one.queue, path := str(folder / "new.db"))
            with Queue(path, actor="test") as queue:
                return again(queue)


def again(queue: Queue) -> str:
    """What a retry makes of the job and its batch."""
    try:
        queue.retry("j")
    except Refused as error:
        return "refused: " + ("its key is taken" if "unique key" in str(error) else "it would never start")
    finally:
        assert queue.check() == []
    return f"{queue.job('j').state}; batch {'halted' if queue.batch('b').state.is_halted else 'open'}"


def gone(queue: Queue) -> str:
    """Whether the job is still there, and what then depends on it and its batch."""
    assert queue.check() == []
    counts = queue.batch("b").counts
    if any(job.id == "j" for job in queue.jobs()):
        return "stays: others of its batch have not ended"
    followers = {"`--after j`": "j", "`--after batch:b`": "batch:b"}
    started = [words for words, id in followers.items() if starts(queue, id)]
    assert "`--after j`" not in started
    then = "starts" if started else "is refused"
    return f"gone; its batch has {counts['dead']} dead, `--after batch:b` {then}"


def starts(queue: Queue, parent: str) -> bool:
    """Whether a new job after this one would ever start."""
    with suppress(Refused):
        queue.enqueue("true", after=(parent,))
        return True
    return False


def rows() -> Iterator[tuple[str, ...]]:
    """The rows of the table: all that is combined, and what becomes of it by each action."""
    for parent, key, batch in product(PARENTS, KEYS, BATCHES):
        found: list[str] = []
        for action in ACTIONS:
            with TemporaryDirectory(dir=IN_MEMORY) as folder:
                found.append(outcome(Path(folder), action, parent, key, batch))
        yield parent, key, batch, *found


def page() -> str:
    """The text of the page, with its table anew."""
    head = ("parent", "key", "batch", *ACTIONS)
    lines = [head, ("---",) * len(head), *rows()]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    return re.sub(r"(?m)(^\|.*\n)+", lambda _: table, PAGE.read_text(encoding="utf-8"), count=1)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

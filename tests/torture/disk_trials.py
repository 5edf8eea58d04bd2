"""A scripted life on a failing disk: killed at every op, the power cut at every op, and every op refused.

What was acknowledged must be there afterwards, nothing half done, and the queue must go on.
"""

import errno
import random
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import apsw
import msgspec

from queuectl.errors import QueueError, Unusable
from tests.torture.disk import Calls, Disk, Op, Operations
from tests.torture.disk_life import STEPS, Dump, Life, contradiction, dump, gist, judge, lay_out
from tests.torture.verdict import Breach, Figures, Run

SMALL = 12
"""Pages of the WAL after which it is written back, so that this happens in the middle of the life, too."""


class Recording(msgspec.Struct):
    """A life without faults: the operations, and after each step how far that was and all that the database held."""

    operations: Operations
    told: list[int]
    dumps: list[Dump]
    solid: list[bool]
    """Whether the step leaves nothing unsynced, whatever the setting."""

    def step(self, point: int) -> int:
        """The last step that was acknowledged after `point` ops; -1 where none was."""
        return sum(told <= point for told in self.told) - 1


@contextmanager
def scratch() -> Iterator[Callable[[], Path]]:
    """A maker of names for folders, in memory where there is room; what became of them is gone at the end."""
    base = Path(tempfile.mkdtemp(prefix="queuectl-torture-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    count = 0

    def new() -> Path:
        nonlocal count
        shutil.rmtree(base / str(count), ignore_errors=True)
        count += 1
        return base / str(count)

    try:
        yield new
    finally:
        shutil.rmtree(base, ignore_errors=True)


@contextmanager
def eager(pages: int | None = SMALL) -> Iterator[None]:
    """Every connection opened within writes the WAL back after so many pages."""

    def hook(db: apsw.Connection) -> None:
        if pages is not None:
            db.pragma("wal_autocheckpoint", pages)

    apsw.connection_hooks.append(hook)
    try:
        yield
    finally:
        apsw.connection_hooks.remove(hook)


def record(folder: Path, *, normal: bool = False, pages: int | None = None) -> Recording:
    """Live, and record it; `normal`: with `synchronous` normal. Raises Breach where the script itself goes wrong."""
    found = Recording(Operations(), [], [], [])
    life = Life(lay_out(folder, {}))
    with eager(pages), Disk() as disk:
        found.operations = disk.operations
        for name, what, expected in STEPS:
            what(life)
            if normal and life.opened is not None:
                life.opened.engine.set_durability("normal")
            if life.opened is not None:
                found.dumps.append(dump(life.opened))
                if (wrong := contradiction(life.opened, expected)) is not None:
                    raise Breach([f"after {name!r}: {wrong}"], {})
            else:
                found.dumps.append(found.dumps[-1])
            found.told.append(len(disk.operations.ops))
            found.solid.append("log back" in name or not found.solid)
        life.close()
    return found


def kills(seed: int, full: bool) -> Figures:
    """SIGKILL before every op of SQLite's, and in the middle of every write."""
    dice = random.Random(seed)
    figures: Figures = {"points of a kill": 0, "found as before the step": 0, "found as after it": 0}
    faults: list[str] = []
    for pages in (None, SMALL):
        with scratch() as new:
            life = record(new(), pages=pages)
            points = range(len(life.operations.ops) + 1)
            for point in points if full else sorted(dice.sample(points, 100)):
                for torn in (None, dice):
                    if torn is not None and (point == points[-1] or life.operations.ops[point].kind != "write"):
                        continue
                    files = life.operations.killed(point, torn)
                    _weigh(new(), files, life, point, "a kill", faults, figures)
    return _through(faults, figures)


def power_cuts(seed: int, full: bool) -> Figures:
    """A power cut after every op, with any part of what was not synced: `synchronous` full loses nothing."""
    dice = random.Random(seed)
    figures: Figures = {"power cuts": 0, "found as before the step": 0, "found as after it": 0}
    faults: list[str] = []
    for pages in (None, SMALL):
        with scratch() as new:
            life = record(new(), pages=pages)
            points = range(len(life.operations.ops) + 1)
            for point in [*points] * 4 if full else sorted(dice.choices(points, k=150)):
                files = life.operations.cut(point, dice)
                _weigh(new(), files, life, point, "a power cut", faults, figures)
    return _through(faults, figures)


def power_cuts_normal(seed: int, full: bool) -> Figures:
    """The same with `synchronous` normal: it may be an older state, but it was one."""
    dice = random.Random(seed)
    figures: Figures = {"power cuts": 0, "found older": 0}
    faults: list[str] = []
    for pages in (None, SMALL):
        with scratch() as new:
            life = record(new(), normal=True, pages=pages)
            points = range(len(life.operations.ops) + 1)
            for point in [*points] * 4 if full else sorted(dice.choices(points, k=150)):
                files = life.operations.cut(point, dice)
                step = life.step(point)
                floor = max((number for number in range(step + 1) if life.solid[number]), default=0)
                allowed = life.dumps[floor : step + 2]
                wrong, which = _opened(new(), files, allowed, dice)
                figures["power cuts"] = int(figures["power cuts"]) + 1
                figures["found older"] = int(figures["found older"]) + (0 <= which < step - floor)
                faults += [f"a power cut after op {point}, step {step + 1}: {line}" for line in wrong]
    return _through(faults, figures)


def _weigh(
    folder: Path, files: dict[str, bytes], life: Recording, point: int, what: str, faults: list[str], figures: Figures
) -> None:
    step = life.step(point)
    allowed = life.dumps[max(step, 0) : step + 2]
    wrong, which = _opened(folder, files, allowed, random.Random(point))
    counted = next(iter(figures))
    figures[counted] = int(figures[counted]) + 1
    if which >= 0:
        outcome = "found as before the step" if which == 0 and step >= 0 else "found as after it"
        figures[outcome] = int(figures[outcome]) + 1
    under = STEPS[step + 1][0] if step + 1 < len(STEPS) else "the end"
    next_op = _named(life.operations.ops[point]) if point < len(life.operations.ops) else "nothing"
    faults += [f"{what} after op {point} ({under!r}, next is {next_op}): {line}" for line in wrong]


def _opened(folder: Path, files: dict[str, bytes], allowed: list[Dump], dice: random.Random) -> tuple[list[str], int]:
    path = lay_out(folder, files)
    if dice.random() < 0.5:
        # The WAL index is never synced: what is left of it is worth nothing.
        shm = Path(path + "-shm")
        shm.write_bytes(dice.randbytes(32768))
        shm.chmod(0o600)
    try:
        return judge(path, allowed)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return [f"{type(error).__name__}: {error}"], -1


class Trouble:
    """Refuses the ops that `chosen` takes, from number `point` on: one, or all until it is mended."""

    def __init__(self, number: int, point: int, *, lasting: bool, chosen: Sequence[str]) -> None:
        self._number = number
        self._lasting = lasting
        self.chosen = chosen
        self.left = point
        self.refused: list[Op] = []
        self.mended = False
        self.aside = False
        """While the judge looks."""

    def __call__(self, op: Op) -> int:
        if op.kind not in self.chosen or self.mended or self.aside:
            return 0
        self.left -= 1
        if self.left >= 0:
            return 0
        self.refused.append(op)
        self.mended = not self._lasting
        return self._number

    def syncs(self, op: Op) -> None:
        """The same for a VFS, which alone sees syncs."""
        if op.kind == "sync" and self(op):
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)


CHANGING = ("create", "write", "truncate", "delete")
READING = ("read", "open")
KINDS: dict[str, tuple[int, tuple[str, ...], bool]] = {
    "full until there is room": (errno.ENOSPC, ("create", "write"), True),
    "full once": (errno.ENOSPC, ("create", "write"), False),
    "no writing until mended": (errno.EIO, CHANGING, True),
    "one write fails": (errno.EIO, CHANGING, False),
    "read-only until mended": (errno.EROFS, CHANGING, True),
    "one sync fails": (errno.EIO, ("sync",), False),
    "no syncing until mended": (errno.EIO, ("sync",), True),
    "one read fails": (errno.EIO, READING, False),
    "no reading until mended": (errno.EIO, READING, True),
}
"""What happens to the disk: the error, the ops that get it, and whether it lasts until it is mended."""


def refusals(seed: int, full: bool) -> Figures:
    """Every op refused, once or until mended: the step ends in one line and exit code 4, has done nothing, and the same
    one succeeds afterwards, in the same process; or another process finds a state that there was."""
    dice = random.Random(seed)
    figures: Figures = {
        "refusals": 0,
        "told": 0,
        "not noticed": 0,
        "found after the end": 0,
        "done, though told not": 0,
    }
    faults: list[str] = []
    for pages in (None, SMALL):
        with scratch() as new:
            gists = [gist(rows) for rows in record(new(), pages=pages).dumps]
            for what, (number, chosen, lasting) in KINDS.items():
                if "sync" in chosen and pages is not None:
                    continue  # SQLite keeps to itself what went wrong after a commit; our exception would not
                size = _size(new(), chosen, pages)
                points = range(size) if full else sorted(dice.sample(range(size), min(size, 14)))
                for point in points:
                    trouble = Trouble(number, point, lasting=lasting, chosen=chosen)
                    try:
                        _endure(new(), trouble, gists, pages, dice.random() < 0.3, figures)
                    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                        op = _named(trouble.refused[0]) if trouble.refused else "nothing"
                        line = f"{what}, at {op} (point {point}, pages {pages}): {type(error).__name__}: {error}"
                        faults.append(f"{line}{''.join(traceback.format_tb(error.__traceback__)[-3:])}")
    return _through(faults, figures)


def _size(folder: Path, chosen: Sequence[str], pages: int | None) -> int:
    """How many such ops there are in a life."""
    start = 1 << 40
    count = Trouble(0, start, lasting=False, chosen=chosen)
    life = Life(lay_out(folder, {}))
    with eager(pages), _failing(count, chosen):
        for _, what, _ in STEPS:
            what(life)
        life.close()
    return start - count.left


def _failing(trouble: Trouble, chosen: Sequence[str]) -> Disk | Calls:
    return Disk(trouble.syncs) if "sync" in chosen else Calls(trouble)


def _endure(folder: Path, trouble: Trouble, gists: list[Any], pages: int | None, ends: bool, figures: Figures) -> None:
    life = Life(lay_out(folder, {}))
    figures["refusals"] = int(figures["refusals"]) + 1
    told = False
    with eager(pages), _failing(trouble, trouble.chosen):
        try:
            for number, (name, what, expected) in enumerate(STEPS):
                trouble.aside = False
                try:
                    what(life)
                except QueueError as error:
                    told = trouble.aside = True
                    if not isinstance(error, Unusable) or "\n" in str(error):
                        raise AssertionError(f"{name!r} says {error!r}") from error
                    trouble.mended = True
                    if ends:
                        _end(folder, gists[max(number - 1, 0) : number + 1], figures)
                        return
                    if life.opened is not None and number and (seen := gist(dump(life.opened))) != gists[number - 1]:
                        raise AssertionError(f"{name!r} failed and left {seen}") from error
                    what(life)
                except apsw.IOError:
                    if life.opened is not None or "sync" not in trouble.chosen:
                        raise  # else it closed, and SQLite would not have told of this
                trouble.aside = True
                if trouble.refused and not told:
                    trouble.mended = True
                if life.opened is not None:
                    if (wrong := contradiction(life.opened, expected)) is not None:
                        raise AssertionError(f"after {name!r}: {wrong}")
                    if (seen := gist(dump(life.opened))) != gists[number]:
                        raise AssertionError(f"after {name!r}: {seen}")
        finally:
            trouble.mended = True
            life.close()
    figures["told" if told else "not noticed"] = int(figures["told" if told else "not noticed"]) + 1
    wrong, _ = judge(life.path, gists[-1:], gist)
    if wrong:
        raise AssertionError("; ".join(wrong))


def _end(folder: Path, allowed: list[Any], figures: Figures) -> None:
    """The process that was told no ends there: what do others find?"""
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file() and file.suffix != ".db-shm"}
    path = lay_out(folder.with_name(folder.name + "-end"), files)
    try:
        wrong, which = judge(path, allowed, gist)
    finally:
        shutil.rmtree(Path(path).parent)
    if wrong:
        raise AssertionError("; ".join(wrong))
    figures["found after the end"] = int(figures["found after the end"]) + 1
    figures["done, though told not"] = int(figures["done, though told not"]) + (which == 1)


def _named(op: Op) -> str:
    return f"{op.kind} of {op.name} at {op.offset}"


def _through(faults: list[str], figures: Figures) -> Figures:
    if faults:
        raise Breach(faults, figures)
    return figures


RUNS: dict[str, Run] = {
    "disk-kills": kills,
    "power-cuts": power_cuts,
    "power-cuts-normal": power_cuts_normal,
    "disk-refusals": refusals,
}

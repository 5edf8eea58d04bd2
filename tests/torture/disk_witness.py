"""Killed beside a witness: another process has the database open, so that what the dead one left in the index of the
WAL (shared memory, never rebuilt while somebody is there) is what the witness has to get along with.

A victim is ended at a write, or at a lock it takes or lets go; also within the moment in which the index has one copy
of its header new and the other old. `python -m tests.torture.disk_witness` is the process that victims are forked from.
"""

import importlib
import os
import random
import subprocess
import sys
from typing import Any, Self

import apsw

from queuectl import Queue
from tests.support.paths import ROOT
from tests.torture.disk import WRITER, Calls, Op
from tests.torture.disk_life import STEPS, Life, contradiction, dump, gist, judge, lay_out
from tests.torture.disk_trials import record, scratch
from tests.torture.verdict import Breach, Figures, Run

HEADER = 48
"""Bytes of each of the two copies of the index's header."""

NOBODY = 1 << 40
"""A point that no life reaches."""


class Victims:
    """Where victims are forked: a process of its own, which never has a database open itself."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.torture.disk_witness"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate(timeout=10)

    def start(self, path: str, point: int) -> None:
        """One that has made the database there, and waits."""
        self._tell(f"{point} {path}")
        if (heard := self._hear()) != "made":
            raise AssertionError(heard)

    def end(self) -> tuple[int, int]:
        """Let it live to its end: the last step that it acknowledged, and how many points it passed (-1: killed)."""
        self._tell("go")
        step, points = 0, -1
        while (heard := self._hear()) != "ended":
            what, _, number = heard.partition(" ")
            if what == "step":
                step = int(number)
            elif what == "points":
                points = int(number)
            else:
                raise AssertionError(heard)
        return step, points

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _hear(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n") or "the victims' parent is gone"


def witnessed(seed: int, full: bool) -> Figures:
    """Kill at every step that is visible to others, beside a process that has the database open and reads on."""
    dice = random.Random(seed)
    figures: Figures = {"kills beside a witness": 0, "of these with a torn index": 0, "found as after the step": 0}
    faults: list[str] = []
    with scratch() as new, Victims() as victims:
        gists = [gist(rows) for rows in record(new()).dumps]
        path = lay_out(new(), {})
        victims.start(path, NOBODY)
        with Queue(path):
            _, size = victims.end()
        for point in range(size) if full else sorted(dice.sample(range(size), 80)):
            path = lay_out(new(), {})
            victims.start(path, point)
            try:
                _watch(path, victims, gists, figures)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                faults.append(f"killed at point {point} of {size}: {type(error).__name__}: {error}")
            figures["of these with a torn index"] += os.path.exists(path + "-torn")  # type: ignore[operator]
    if faults:
        raise Breach(faults, figures)
    return figures


def _watch(path: str, victims: Victims, gists: list[Any], figures: Figures) -> None:
    figures["kills beside a witness"] += 1  # type: ignore[operator]
    with Queue(path, actor="witness") as queue:
        db: apsw.Connection = queue.engine._db  # type: ignore[attr-defined]
        assert queue.status().total == 0
        step, points = victims.end()
        assert points < 0, "it lived"
        seen = gist(dump(queue))
        allowed = gists[step : step + 2]
        if seen not in allowed:
            raise AssertionError(f"after step {step} ({STEPS[step][0]!r}): {seen}")
        figures["found as after the step"] += seen != allowed[0]  # type: ignore[operator]
        if wrong := queue.check() or contradiction(queue, STEPS[step + (seen != allowed[0])][2]):
            raise AssertionError(wrong)
        if (said := db.pragma("integrity_check")) != "ok":
            raise AssertionError(said)
        queue.enqueue("true", id="witness")
        now = gist(dump(queue))
    wrong, _ = judge(path, [now], gist)
    if wrong:
        raise AssertionError("; ".join(wrong))


class Executioner:
    """Counts what others can see, and ends this process at number `point`."""

    def __init__(self, path: str, point: int) -> None:
        self._index = path + "-shm"
        self._left = point
        self._before = b""

    def __call__(self, op: Op) -> int:
        if op.kind not in ("write", "lock", "truncate", "delete", "create"):
            return 0
        lets_go = op.kind == "lock" and op.offset == WRITER and op.data == b"u"
        if op.kind == "lock" and op.offset == WRITER and not lets_go:
            self._before = self._header()
        if self._left == 0:
            if lets_go and self._before and self._before != self._header():
                self._tear()
            os._exit(9)
        self._left -= 1
        return 0

    @property
    def passed(self) -> int:
        """How many it let pass, of NOBODY."""
        return NOBODY - self._left

    def _header(self) -> bytes:
        if not os.path.exists(self._index):
            return b""
        # Never closed: that would drop this process's locks.
        return os.pread(os.open(self._index, os.O_RDONLY), HEADER, 0)

    def _tear(self) -> None:
        fd = os.open(self._index, os.O_WRONLY)
        os.pwrite(fd, self._before, 0)
        os.close(os.open(self._index[:-4] + "-torn", os.O_CREAT | os.O_WRONLY))


def _die(path: str, point: int) -> None:
    """The victim's life."""
    life = Life(path)
    life.open()
    print("made", flush=True)
    sys.stdin.readline()
    executioner = Executioner(path, point)
    with Calls(executioner):
        for number, (_, what, _) in enumerate(STEPS):
            what(life)
            print(f"step {number}", flush=True)
    print(f"points {executioner.passed}", flush=True)


def main() -> None:
    """Fork a victim for every line on standard input: the point where it ends, and the path of its database."""
    importlib.import_module("queuectl.engines.sqlite.engine")  # else every victim would
    while line := sys.stdin.readline():
        point, _, path = line.rstrip("\n").partition(" ")
        pid = os.fork()
        if pid == 0:
            try:
                _die(path, int(point))
            except BaseException as error:  # noqa: BLE001 - the parent is to hear of it
                print(f"{type(error).__name__}: {error}", flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
        print("ended", flush=True)


RUNS: dict[str, Run] = {"disk-witness": witnessed}

if __name__ == "__main__":
    main()

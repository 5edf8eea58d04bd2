"""The relay of an outbox is killed again and again while an application commits and rolls back.

Workers end themselves by SIGKILL at random moments around each step of a relay: before and after a read, the log, the
removal, and between the removal and its commit. Each committed row must become one job, and none of those that were
rolled back.
"""

import json
import random
import shutil
import sqlite3
import tempfile
import time
from collections import Counter
from pathlib import Path

from queuectl.clock import monotonic
from queuectl.events import Enqueued, encode
from queuectl.outbox import schema
from tests.support.lab import Lab
from tests.torture.kills import LAUNCH
from tests.torture.verdict import Breach, Figures

WORKER = """
import functools, os, random, signal, sqlite3, sys
from queuectl.outbox import delivery, table
from queuectl.workers.chores import outboxes
outboxes.POLL, outboxes.RETRY = 0.02, 0.1
def perhaps_die():
    if random.random() < 0.03:
        os.kill(os.getpid(), signal.SIGKILL)
def mortal(function):
    def call(*words):
        perhaps_die()
        result = function(*words)
        perhaps_die()
        return result
    return call
class Connection(sqlite3.Connection):
    def commit(self):
        if self.in_transaction:
            perhaps_die()
        super().commit()
def settle(table, moved, refused, settle=mortal(table.OutboxTable.settle)):
    first = sys.argv[-1] + ".first"
    if moved and not os.path.exists(first):
        open(first, "x").close()
        os.kill(os.getpid(), signal.SIGKILL)  # so that it happens once at least
    settle(table, moved, refused)
sqlite3.connect = functools.partial(sqlite3.connect, factory=Connection)
table.OutboxTable.read = mortal(table.OutboxTable.read)
table.OutboxTable.settle = settle
delivery.Delivery.step = mortal(delivery.Delivery.step)
"""
WITHOUT_IDS = """
from msgspec.structs import replace
spec_of = delivery.spec_of
delivery.spec_of = lambda row: replace(spec_of(row), id=None, if_absent=False)
"""
"""The control: a relay that removes rows after their jobs are there, and does not know them when they come again."""
WORK = """
from queuectl.workers.__main__ import main
sys.exit(main(sys.argv[2:]))
"""
APPLICATION = """
import sys
from tests.torture.outbox import trade
trade(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]))
"""


def trade(path: str, seed: int, count: int, seconds: float) -> None:
    """The application: so many transactions within about so many seconds, of which one in five is rolled back."""
    rng = random.Random(seed)
    shop = sqlite3.connect(path, timeout=60)
    for number in range(count):
        shop.execute("insert into orders values (?)", (number,))
        job = {"command": f": {number}", "max_retries": 1000, "backoff_base": 1, "backoff_max": 0.02}
        row: dict[str, str] = {"job": json.dumps(job)} | ({"id": f"order-{number}"} if rng.random() < 0.5 else {})
        marks = ", ".join("?" * len(row))
        shop.execute(f"insert into queuectl_outbox ({', '.join(row)}) values ({marks})", (*row.values(),))
        time.sleep(rng.uniform(0, seconds / count))
        if rng.random() < 0.2:
            shop.rollback()
        else:
            shop.commit()
        time.sleep(rng.uniform(0, seconds / count))
    shop.close()


def run(seed: int, full: bool, folder: Path | None = None, *, ids: bool = True) -> Figures:
    """Without `ids` it is the control, which breaks the promise."""
    count, seconds = (2000, 60.0) if full else (200, 4.0)
    where = folder if folder is not None else Path(tempfile.mkdtemp(prefix="queuectl-torture-"))
    path = where / "shop.db"
    shop = sqlite3.connect(path, timeout=60)
    shop.execute("pragma journal_mode = wal")
    shop.execute("create table orders (number integer primary key)")
    shop.execute(schema())
    shop.commit()
    lab = Lab(where)
    began = monotonic()
    try:
        options = encode({"count": 2, "slots": 2, "outboxes": [str(path)]}).decode()
        worker = WORKER + ("" if ids else WITHOUT_IDS) + WORK
        parent = lab.python(LAUNCH, worker, "", "0.05", lab.database, options)
        application = lab.python(APPLICATION, str(path), str(seed), str(count), str(seconds))
        code, said = lab.ended(application, 10 * seconds + 60)
        assert code == 0, said
        lab.until(lambda: _is_empty(shop), 120)
        lab.queue.wait(timeout=120)
        parent.terminate()
        faults, figures = _judge(lab, shop)
        figures |= {"transactions": count, "seconds": round(monotonic() - began, 1)}
    finally:
        lab.close()
        shop.close()
    if faults:
        raise Breach(faults, figures)
    if folder is None:
        shutil.rmtree(where)
    return figures


def _is_empty(shop: sqlite3.Connection) -> bool:
    return shop.execute("select count(*) from queuectl_outbox").fetchone() == (0,)


def _judge(lab: Lab, shop: sqlite3.Connection) -> tuple[list[str], Figures]:
    committed = {number for (number,) in shop.execute("select number from orders")}
    events = [record.event for record in lab.records("enqueued")]
    asked = [event.command or "" for event in events if isinstance(event, Enqueued)]
    jobs = Counter(int(command.removeprefix(": ")) for command in asked)
    faults = [f"the committed row {number} is no job" for number in sorted(committed - jobs.keys())]
    faults += [f"the row {number} was rolled back, and is a job" for number in sorted(jobs.keys() - committed)]
    faults += [f"the row {number} is {times} jobs" for number, times in jobs.items() if times > 1]
    faults += lab.queue.check()
    if unfinished := lab.queue.status().total - lab.queue.status().counts["completed"]:
        faults.append(f"{unfinished} jobs are not completed")
    return faults, {"committed": len(committed), "jobs": len(asked), "kills": len(lab.records("worker_lost"))}

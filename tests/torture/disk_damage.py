"""A damaged database: a page zeroed, overwritten or with one bit turned, in the file or in the WAL.

Whatever is asked of it then is answered, or refused in one line with exit code 4; nothing is started over.
"""

import random
from collections.abc import Callable
from pathlib import Path

from queuectl import Queue
from queuectl.errors import QueueError, Unusable
from tests.torture.disk_life import Life, lay_out
from tests.torture.disk_trials import record, scratch
from tests.torture.verdict import Breach, Figures, Run

PAGE = 4096


def _ask(queue: Queue) -> None:
    for job in list(queue.jobs()):
        queue.history(job.id)
        queue.attempts(job.id)


def _claim(queue: Queue) -> None:
    life = Life(queue.url)
    life.opened = queue
    life.claim(5)


ASKED: dict[str, Callable[[Queue], object]] = {
    "status": lambda queue: queue.status(),
    "list and inspect": _ask,
    "events": lambda queue: list(queue.events()),
    "config": lambda queue: queue.config(),
    "workers": lambda queue: queue.workers(all=True),
    "replay --check": lambda queue: queue.check(),
    "enqueue": lambda queue: queue.enqueue("true"),
    "claim": _claim,
    "replay": lambda queue: queue.replay(),
}


def damaged(seed: int, full: bool) -> Figures:
    """Damage every page in turn, and ask everything."""
    dice = random.Random(seed)
    figures: Figures = {"damaged pages": 0, "refused at once": 0, "answers": 0, "refusals": 0, "noticed": 0}
    faults: list[str] = []
    with scratch() as new:
        life = record(new())
        written_back = life.operations.killed(life.told[-3])
        with_log = life.operations.killed(life.told[6])
        for files, name in ((written_back, "q.db"), (with_log, "q.db-wal"), (with_log, "q.db")):
            pages = len(files[name]) // PAGE
            for page in range(pages):
                for how in ("zeros", "noise", "a bit") if full else (dice.choice(("zeros", "noise", "a bit")),):
                    hurt = dict(files)
                    hurt[name] = _hurt(files[name], page, how, dice)
                    _try(new(), hurt, f"{how} in page {page + 1} of {name}", faults, figures)
    if faults:
        raise Breach(faults, figures)
    return figures


def _hurt(data: bytes, page: int, how: str, dice: random.Random) -> bytes:
    start = page * PAGE
    old = data[start : start + PAGE]
    if how == "zeros":
        new = bytes(PAGE)
    elif how == "noise":
        new = dice.randbytes(PAGE)
    else:
        place = dice.randrange(PAGE)
        new = old[:place] + bytes([old[place] ^ 1 << dice.randrange(8)]) + old[place + 1 :]
    return data[:start] + new + data[start + PAGE :]


def _try(folder: Path, files: dict[str, bytes], what: str, faults: list[str], figures: Figures) -> None:
    path = lay_out(folder, files)
    figures["damaged pages"] += 1  # type: ignore[operator]
    noticed = False
    try:
        with Queue(path, actor="torture") as queue:
            for name, ask in ASKED.items():
                try:
                    ask(queue)
                    figures["answers"] += 1  # type: ignore[operator]
                except Unusable as error:
                    noticed = True
                    figures["refusals"] += 1  # type: ignore[operator]
                    if "\n" in str(error):
                        faults.append(f"{what}: {name}: {error}")
                except QueueError as error:
                    figures["refusals"] += 1  # type: ignore[operator]
                    faults.append(f"{what}: {name}: {type(error).__name__} (exit {error.exit_code}): {error}")
                except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
                    faults.append(f"{what}: {name}: {type(error).__name__}: {error}")
    except Unusable:
        noticed = True
        figures["refused at once"] += 1  # type: ignore[operator]
    except Exception as error:  # noqa: BLE001
        faults.append(f"{what}: opening: {type(error).__name__}: {error}")
    figures["noticed"] += noticed  # type: ignore[operator]
    if (Path(path).stat().st_size) < len(files["q.db"]):
        faults.append(f"{what}: the database is smaller now: it was started over")


RUNS: dict[str, Run] = {"disk-damage": damaged}

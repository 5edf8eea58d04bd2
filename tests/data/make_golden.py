"""How the golden log was made: `python tests/data/make_golden.py FOLDER`, once, in a folder that does not exist yet.

An evening of a small shop with pictures, reports and backups, lived through by real workers in about a minute: commands
that fail and are tried again, run into their timeout, are not found, are cancelled, die for good and are sent back; a
worker that is killed, settings that are changed, seals in between. What it leaves as `golden.ndjson.gz` is kept: tests
ask questions of it and compare the answers with those that are kept beside it.
"""

import gzip
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from random import Random

import msgspec

ROOT = Path(__file__).parents[2]

PICTURES = 1140
REPORTS = 290

CUSTOMERS = ("acme", "bluebird", "cedar", "delphi", "ember", "fjord", "grove", "harbour", "iris", "juniper")

TOOLS = {
    "thumbnail": """
        [ $(($1 % 13)) -ne 0 ] || [ "$QUEUECTL_ATTEMPT" -gt 1 ] || { echo "busy" >&2; exit 1; }
        sleep 0.0$(($1 % 30 + 10))
    """,
    "report": """
        luck=$(printf %s "$QUEUECTL_JOB_ID" | cksum | cut -c-2)
        good=$(((luck > 55) + (luck > 80) + (luck > 92) * 9))
        [ "$QUEUECTL_ATTEMPT" -gt $good ] || { echo "$1: no connection" >&2; exit 75; }
        sleep 0.$(($(printf %s "$1" | wc -c) * 4))
    """,
    "backup": "sleep $1",
}
"""What the shop's commands do. Pictures fail at first where somebody else has them; some reports never get through."""


class Shop:
    """A queue in an environment of its own, and the commands that are given to it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.pick = Random(7)
        self.env = {
            "PATH": f"{folder}/bin:/usr/bin:/bin",
            "HOME": str(folder),
            "USER": "ada",
            "QUEUECTL_DB": str(folder / "q.db"),
            "PYTHONPATH": str(ROOT),
            "TZ": "UTC",
        }
        (folder / "bin").mkdir()
        for name, script in TOOLS.items():
            tool = folder / "bin" / name
            tool.write_text(f"#!/bin/sh\n{script}\n")
            tool.chmod(0o755)
        self.workers: list[subprocess.Popen[bytes]] = []

    def call(self, *words: str, stdin: str | None = None) -> str:
        """What the command line answers; that jobs have died is part of life."""
        done = subprocess.run(
            [sys.executable, "-m", "queuectl", *words],
            env=self.env, cwd=self.folder, input=stdin, capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{words}: {done.stderr}")
        return done.stdout

    def add(self, specs: list[dict[str, object]]) -> list[str]:
        """Enqueue many."""
        return self.call(
            "enqueue", "--file", "-", stdin="\n".join(msgspec.json.encode(s).decode() for s in specs)
        ).split()

    def work(self, *words: str) -> subprocess.Popen[bytes]:
        """Start workers that go on by themselves."""
        process = subprocess.Popen(
            [sys.executable, "-m", "queuectl", "worker", "start", *words], env=self.env, cwd=self.folder
        )
        self.workers.append(process)
        return process

    def pictures(self, count: int) -> list[dict[str, object]]:
        """Short, most of them good at once."""
        return [
            {"command": f"thumbnail {self.pick.randrange(40)}", "queue": "pictures", "priority": 5 * (number % 50 == 0)}
            for number in range(count)
        ]

    def reports(self, count: int) -> list[dict[str, object]]:
        """Longer, from a server that is not always there; some never get through."""
        return [
            {
                "command": f"report {self.pick.choice(CUSTOMERS)}",
                "queue": "reports",
                "max_retries": 2,
                "id": f"report-{number:03}",
            }
            for number in range(count)
        ]


def live(shop: Shop) -> None:
    """The evening."""
    shop.call("config", "set", "backoff-base", "1", "--reason", "the server is back within seconds")
    shop.call("config", "set", "max-retries", "3")
    shop.add(shop.pictures(PICTURES // 2))
    first = shop.work("--slots", "4")
    doomed = shop.work("--slots", "2", "--queue", "reports")
    reports = shop.add(shop.reports(REPORTS))
    shop.add(
        [{"command": "backup 12", "queue": "backups", "id": f"backup-{day}", "priority": 9} for day in ("mon", "tue")]
    )
    first_of_all = {"max_retries": 1, "priority": 9}
    shop.add([
        {"command": "backup 30", "queue": "backups", "id": "backup-slow", "timeout": 1.5, **first_of_all},
        {"command": "kill -SEGV $$", "queue": "pictures", "id": "crash", **first_of_all},
        {"command": "report 10", "queue": "reports", "id": "tomorrow", "delay": 86400, "reason": "for the board"},
    ])  # fmt: skip
    shop.call("enqueue", "--id", "typo", "--queue", "pictures", "--priority", "9", "--", "thumbnayl", "cat.jpg")
    time.sleep(6)
    shop.call("audit", "seal")
    [worker] = [line for line in shop.call("worker", "list", "--json").splitlines() if '"queues":["reports"]' in line]
    os.kill(msgspec.json.decode(worker)["pid"], signal.SIGKILL)  # the machine was short of memory, say
    shop.add(shop.pictures(PICTURES - PICTURES // 2))
    time.sleep(4)
    shop.call("cancel", "tomorrow", "backup-tue", "--reason", "the disk for it is full")
    shop.call("config", "set", "max-retries", "5", "--reason", "long weekend")
    time.sleep(4)
    shop.call("audit", "seal")
    shop.call("wait", "backup-mon", "crash", "backup-slow", *reports)
    buried = [msgspec.json.decode(line)["id"] for line in shop.call("dlq", "list", "--json").splitlines()]
    shop.call(
        "dlq", "retry", *[id for id in buried if id.startswith("report")][:6], "--reason", "the server has come back"
    )
    shop.call("dlq", "purge", "typo", "--reason", "spelt wrong")
    shop.work("--slots", "4", "--drain").wait(180)
    shop.call("worker", "stop")
    for process in (first, doomed):
        process.wait(60)
    shop.call("audit", "seal")


def main() -> None:
    """Live it, and keep the log."""
    folder = Path(sys.argv[1])
    shop = Shop(folder)
    try:
        live(shop)
    finally:
        for process in shop.workers:
            if process.poll() is None:
                process.terminate()
                process.wait(60)
    log = shop.call("export", "--format", "ndjson").encode()
    target = Path(__file__).with_name("golden.ndjson.gz")
    target.write_bytes(gzip.compress(log, 9, mtime=0))
    print(f"{len(log.splitlines())} events, {target.stat().st_size} bytes; the queue is in {folder}")
    shutil.rmtree(folder / "bin")


if __name__ == "__main__":
    main()

"""How far a job is: what its command says in a file, and where that is told."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl import progress
from queuectl.clock import now
from queuectl.errors import Invalid
from queuectl.progress import JobProgress
from queuectl.units import Then
from tests.support.lab import Fifo, Lab, kill_all
from tests.support.shell import Answer, Shell

PROGRESS = f"{sys.executable} -m queuectl progress"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "progress")


def said(path: str, content: bytes) -> tuple[float, str | None] | None:
    """What is read of a file with this content."""
    Path(path).write_bytes(content)
    found = progress.read(path)
    return (found.percent, found.text) if found is not None else None


# -- the file --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content, found",
    [
        (b"40\n", (40.0, None)),
        (b"40 epoch 4\n", (40.0, "epoch 4")),
        (b" 33.5 %  a  b \n", (33.5, "a  b")),
        (b"100%", (100.0, None)),
        (b"10\n20\r\n30\rhalf", None),
        (b"10 a\r20 b", (20.0, "b")),
        (b"10 a\n20 b\n\n", (20.0, "b")),
        (b"x" * 5000 + b"\n70 end\n", (70.0, "end")),
        (b"5 \x1b[2Jgone\0\xff", (5.0, "\\x1b[2Jgone\\x00\\xff")),
        ("7 größer".encode(), (7.0, "größer")),
        (b"8 " + b"y" * 900, (8.0, "y" * 200)),
        (b"", None),
        (b"\n \n", None),
        (b"140 %\n", None),
        (b"-1", None),
        (b"nan", None),
        (b"1e1", None),
        (b"epoch 4", None),
        (b"40epoch", None),
        (b"9" * 5000, None),
        (b"12 " * 2000, None),
        (b"50 " + b"z" * 5000, None),
        (b"\xfe\x00\x80 40", None),
    ],
)
def test_the_last_line_counts_if_it_is_one(path: str, content: bytes, found: tuple[float, str | None] | None):
    assert said(path, content) == found


def test_what_is_no_file_is_passed_over(path: str, tmp_path: Path):
    assert progress.read(path) is None
    (tmp_path / "elsewhere").write_text("40\n")
    os.symlink(tmp_path / "elsewhere", path)
    assert progress.read(path) is None
    os.unlink(path)
    os.mkdir(path)
    assert progress.read(path) is None
    os.rmdir(path)
    fifo = Fifo(Path(path))
    assert progress.read(path) is None  # and does not wait for a writer
    fifo.close()


def test_what_is_written_is_read(path: str):
    began = now()
    progress.write(path, 100 / 3, "a\tb")
    assert progress.read(path) == JobProgress(33.333333333, "a\\tb", os.stat(path).st_mtime_ns // 1000)
    assert abs(os.stat(path).st_mtime_ns // 1000 - began) < 5_000_000
    progress.write(path, 7)
    assert Path(path).read_text() == "7\n"
    assert os.stat(path).st_mode & 0o777 == 0o600
    for percent, text in ((100.5, None), (-1.0, None), (float("nan"), None), (1.0, "x" * 201)):
        with pytest.raises(Invalid):
            progress.write(path, percent, text)
    assert Path(path).read_text() == "7\n"


@pytest.mark.parametrize(
    "words, told",
    [
        (["101"], "progress: '101' is not a number from 0 to 100"),
        (["-5"], "progress: '-5' is not a number from 0 to 100"),
        (["half"], "progress: 'half' is not a number from 0 to 100"),
        ([], "progress needs a PERCENT"),
        (["1", "x" * 201], "progress: the text is 201 characters long; at most 200"),
    ],
)
def test_what_is_no_progress(
    inside: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, path: str, words: list[str], told: str
):
    monkeypatch.setenv("QUEUECTL_PROGRESS", path)
    assert inside("progress", *words).refused(2).startswith(told)
    assert not os.path.exists(path)


def test_progress_is_of_a_job_only(inside: Callable[..., Answer]):
    assert inside("progress", "5").refused(2).startswith("progress: this is not inside a job")


# -- while it runs ---------------------------------------------------------------------------------------------------


def test_what_runs_is_shown_with_its_progress(lab: Lab, fifo: Fifo, queuectl: Shell):
    id = lab.queue.enqueue(f"sleep 0.3; echo 2 epoch 4 > $QUEUECTL_PROGRESS; echo x > {fifo}; sleep 60", timeout=None)
    lab.start()
    fifo.line()
    [job] = queuectl("list", "--json").ok().ndjson
    assert (job["progress"], job["progress_text"]) == (2.0, "epoch 4")
    assert job["eta_at"] > job["claimed_at"]
    assert "2 % epoch 4, ETA ~" in queuectl("list").ok().out
    columns = queuectl("list", "--columns", "progress,progress_text", "--json").ok().ndjson
    assert columns == [{"progress": 2.0, "progress_text": "epoch 4"}]
    shown = queuectl("inspect", id).ok().out
    assert " 2 % epoch 4, ETA ~" in shown
    assert "(an estimate by progress)" in shown
    assert queuectl("inspect", id, "--json").ok().json["progress"] == 2.0


def test_a_heartbeat_and_the_end_tell_it(lab: Lab, fifo: Fifo, queuectl: Shell):
    script = f"{PROGRESS} 25.5% first; read x < {fifo}; echo 99 > $QUEUECTL_PROGRESS; exit 3"
    id = lab.queue.enqueue(script, timeout=None, max_retries=0)
    worker = lab.worker(drain=True, constants={"chores.heartbeat.INTERVAL": 0.1})
    told = '{"job":"1","attempt":1,"progress":25.5,"progress_text":"first"}'
    [beat, *_] = lab.until(lambda: [each for each in lab.records("heartbeat") if told in each.data])
    worker.send_signal(signal.SIGSTOP)  # its next heartbeat would find no file
    os.unlink(next(file for file in Path(lab.queue.home.output).iterdir() if file.name.endswith(".progress")))
    [job] = queuectl("list", "--json").ok().ndjson
    assert (job["progress"], job["progress_text"]) == (25.5, "first"), "the heartbeat knows what the file lost"
    worker.send_signal(signal.SIGCONT)
    Path(str(fifo)).write_text("go\n")
    lab.until(lambda: lab.queue.job(id).state == "dead")
    [attempt] = lab.queue.attempts(id)
    assert (attempt.progress, attempt.progress_text, attempt.exit_code) == (99.0, None, 3)
    assert "  99 %\n" in queuectl("inspect", id).ok().out
    assert lab.queue.forecasts()(lab.queue.job(id)).percent is None, "it runs no more"
    assert "· 99 %" in queuectl("inspect", id, "--events").ok().out
    then = queuectl("inspect", id, "--json", "--at", f"seq:{beat.seq}").ok().json
    assert (then["progress"], then["progress_text"]) == (25.5, "first")
    [listed] = queuectl("list", "--json", "--at", f"seq:{beat.seq}").ok().ndjson
    assert listed["progress"] == 25.5
    assert "still running 1 (1, 25.5 % first)" in queuectl("events", "--type", "heartbeat").ok().out
    assert lab.queue.check() == []


def test_a_lost_attempt_tells_how_far_it_came(lab: Lab, fifo: Fifo):
    id = lab.queue.enqueue(f"echo 60 > $QUEUECTL_PROGRESS; echo x > {fifo}; sleep 60", max_retries=0, timeout=None)
    lab.start()
    fifo.line()
    kill_all(lab)
    lab.start(drain=True)
    lab.until(lambda: lab.queue.job(id).state == "dead")
    assert [(each.cause, each.progress) for each in lab.queue.attempts(id)] == [("lost", 60.0)]


@pytest.mark.parametrize(
    "what",
    [
        "head -c 100000 /dev/urandom > $QUEUECTL_PROGRESS",
        "mkfifo $QUEUECTL_PROGRESS",
        "ln -s /dev/zero $QUEUECTL_PROGRESS",
        "mkdir -p $QUEUECTL_PROGRESS/within",
        "echo 140 > $QUEUECTL_PROGRESS",
    ],
)
def test_nothing_put_there_harms_the_worker(lab: Lab, queuectl: Shell, what: str):
    id = lab.queue.enqueue(f"{what}; sleep 0.3; true", timeout=None)
    lab.ended(lab.worker(drain=True, constants={"chores.heartbeat.INTERVAL": 0.1}))
    assert [(each.outcome, each.progress) for each in lab.queue.attempts(id)] == [("completed", None)]
    assert "heartbeat" in lab.log()
    queuectl("archive", "--older-than", "0s", "--output", "old.gz").ok()


def test_the_file_goes_with_the_output(lab: Lab, queuectl: Shell):
    lab.queue.enqueue("echo 5 > $QUEUECTL_PROGRESS", id="a.5.b")
    lab.queue.enqueue("true", id="b")
    lab.drain()
    assert len(os.listdir(lab.queue.home.output)) == 3, "none is made where nothing is said"
    assert "leftovers    none" in queuectl("doctor").out
    lab.queue.purge("a.5.b")
    assert "2 outputs of jobs that were purged" in queuectl("doctor").out
    queuectl("archive", "--older-than", "0s", "--output", "old.gz").ok()
    assert os.listdir(lab.queue.home.output) == []


def test_the_past_before_a_heartbeat_knows_nothing(lab: Lab, fifo: Fifo):
    id = lab.queue.enqueue(f"echo 40 > $QUEUECTL_PROGRESS; echo x > {fifo}; sleep 60", timeout=None)
    lab.start()
    fifo.line()
    seq = lab.records("claimed")[0].seq
    assert lab.queue.forecasts()(lab.queue.job(id)).percent == 40
    assert lab.queue.forecasts(Then(seq=seq))(lab.queue.job(id)).percent is None

"""What is asked on one host is done on the other: pause, hold, cancel, suspend, stop; and what is told from there."""

import signal
import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.support.watching import Terminal
from tests.support.worker_hosts import WorkerHost, WorkerHosts

TICKING = "echo $$ > pid; exec 9<> silence; while :; do read -t 0.02 -u 9; echo x >> ticks; done"
"""Goes on until it is ended; each tick is a line."""


@pytest.fixture
def worker(hosts: WorkerHosts, a: WorkerHost, b: WorkerHost) -> "subprocess.Popen[bytes]":
    """Host `b` has a worker; people are on host `a`."""
    (hosts.folder / "job.sh").write_text(TICKING)
    subprocess.run(["mkfifo", hosts.folder / "silence"], check=True)
    parent = b.worker("--slots", "2")
    hosts.up(1)
    return parent


def ticks(hosts: WorkerHosts) -> int:
    path = hosts.folder / "ticks"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def running(hosts: WorkerHosts, a: WorkerHost, *words: str) -> str:
    """Enqueue a job on host `a`, and wait until it runs on `b`."""
    id = a("enqueue", "--timeout", "none", *words, "--", "bash", "job.sh").ok().out.strip()
    hosts.until(lambda: ticks(hosts) > 2)
    return id


def run(a: WorkerHost, *words: str) -> int:
    """The exit code of `run`, which reads nothing."""
    return a.background("run", *words).wait(50)


def states(hosts: WorkerHosts) -> str:
    """The states of the processes of the job."""
    pid = (hosts.folder / "pid").read_text().strip()
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@pytest.mark.usefixtures("worker")
def test_pause_and_hold_reach_other_hosts(hosts: WorkerHosts, a: WorkerHost) -> None:
    a("pause", "mail").ok()
    mail = a("enqueue", "--queue", "mail", "true").ok().out.strip()
    held = a("enqueue", "--hold", "true").ok().out.strip()
    assert run(a, "true") == 0
    assert [hosts.queue.job(id).state for id in (mail, held)] == ["pending", "pending"]
    a("resume", "mail").ok()
    a("wait", mail).ok()
    a("release", held).ok()
    a("wait", held).ok()
    assert [hosts.ran(id) for id in (mail, held)] == ["b", "b"]


@pytest.mark.usefixtures("worker")
def test_a_job_is_cancelled_from_another_host(hosts: WorkerHosts, a: WorkerHost) -> None:
    id = running(hosts, a)
    a("cancel", id, "--reason", "too loud").ok()
    [job] = hosts.queue.wait(id, timeout=50)
    assert job.state == "cancelled"
    assert not Path("/proc", (hosts.folder / "pid").read_text().strip()).exists()


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("stop, go", [(["suspend"], ["continue"]), (["pause", "--suspend"], ["resume"])])
def test_a_job_is_suspended_from_another_host(
    hosts: WorkerHosts, a: WorkerHost, stop: list[str], go: list[str]
) -> None:
    id = running(hosts, a)
    which = [id] if stop == ["suspend"] else []
    a(*stop, *which).ok()
    hosts.until(lambda: states(hosts) == "T")
    before = ticks(hosts)
    a("worker", "list").ok()
    assert ticks(hosts) == before
    a(*go, *which).ok()
    hosts.until(lambda: ticks(hosts) > before + 2)
    a("cancel", id).ok()
    hosts.queue.wait(id, timeout=50)


def test_a_worker_is_stopped_from_another_host(
    hosts: WorkerHosts, a: WorkerHost, worker: "subprocess.Popen[bytes]"
) -> None:
    id = running(hosts, a)
    stopping = a.background("worker", "stop", hosts.worker_of(b := hosts.host("b")), "--reason", "upgrade")
    hosts.until(lambda: list(hosts.queue.events(type="stop_requested")))
    assert b("worker", "list", "--json").ok().ndjson[0]["state"] == "stopping"
    assert stopping.poll() is None, "it finishes what it runs first"
    a("cancel", id).ok()
    assert worker.wait(50) == 0, "and is not restarted"
    assert stopping.wait(50) == 0
    assert a("worker", "stop").ok().out == ""


def test_a_worker_is_killed_from_another_host(
    hosts: WorkerHosts, a: WorkerHost, worker: "subprocess.Popen[bytes]"
) -> None:
    id = running(hosts, a)
    a("worker", "stop", "--now").ok()
    assert worker.wait(50) == 0
    assert hosts.queue.job(id).state == "pending"
    assert [record.type for record in hosts.queue.events(job=id)] == ["enqueued", "claimed", "interrupted"]


@pytest.mark.usefixtures("worker")
def test_what_a_job_tells_is_known_elsewhere(hosts: WorkerHosts, a: WorkerHost) -> None:
    say = "queuectl note 'half way'; queuectl progress 40 'epoch 4'; while test ! -e go; do sleep 0.05; done"
    id = a("enqueue", say.replace("queuectl", " ".join(map(str, a.command())))).ok().out.strip()
    told = hosts.until(lambda: (told := a("inspect", id, "--json").ok().json)["progress"] and told)
    assert (told["progress"], told["progress_text"]) == (40.0, "epoch 4")
    assert "half way" in a("inspect", id).ok().out
    (hosts.folder / "go").touch()
    a("wait", id).ok()


@pytest.mark.usefixtures("worker")
def test_run_and_wait_tell_how_it_ended(hosts: WorkerHosts, a: WorkerHost) -> None:
    assert run(a, "--max-retries", "0", "exit 7") == 7
    id = a("enqueue", "--max-retries", "0", "sleep 0.3; kill -9 $$").ok().out.strip()
    assert a("wait", id).code == 137
    assert a("wait", "--timeout", "0.1", running(hosts, a)).code == 124
    interrupted = a.background("run", "--timeout", "none", "touch began; sleep 100")
    hosts.until((hosts.folder / "began").exists)
    interrupted.send_signal(signal.SIGINT)
    assert interrupted.wait(50) == 130
    assert hosts.queue.job("4").state == "cancelled"


@pytest.mark.usefixtures("worker")
def test_what_happens_elsewhere_is_followed(hosts: WorkerHosts, a: WorkerHost) -> None:
    watching = Terminal(a, "status", "--watch", columns=80, rows=24)
    following = a.background("events", "--follow", "--json")
    try:
        watching.frame("1 worker up")
        id = a("enqueue", "true").ok().out.strip()
        watching.frame(r"completed +1")
    finally:
        watching.close()
    assert following.stdout is not None
    seen = (msgspec.json.decode(line) for line in following.stdout)
    assert next(each for each in seen if each["type"] == "completed")["stream"] == f"job:{id}"
    following.send_signal(signal.SIGINT)

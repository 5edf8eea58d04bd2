"""Output files that others remove: nothing is called unstarted before it was looked for (R11), and it is told (R18)."""

import shlex
import signal
from pathlib import Path

import pytest

from queuectl import decisions, doctor
from queuectl.doctor import InspectedQueue
from queuectl.errors import OutputGone
from queuectl.workers.recovery import attempt_table, rescuer
from queuectl.workers.turn import tag
from tests.support.lab import Fifo, Lab, gone, kill_all
from tests.workers.recovery.test_rescuer import abandoned, pretend


@pytest.mark.parametrize("hidden", ["", "exec env -i sh -c "])
def test_attempt_with_removed_output_counts_as_started(lab: Lab, fifo: Fifo, hidden: str) -> None:
    body = f"echo $$ > {fifo}; while :; do sleep 0.05; done"
    id = lab.queue.enqueue(hidden + shlex.quote(body) if hidden else body, timeout=None, max_retries=0)
    lab.start()
    pid = int(fifo.line())
    [worker] = lab.up()
    lab.until(lambda: attempt_table.read(f"{lab.queue.home.workers}/{worker.id}"))  # it may not have noted it yet
    for path in Path(lab.queue.home.output).iterdir():
        path.unlink()
    kill_all(lab)

    report = rescuer.recover(lab.queue)

    assert gone(pid)
    assert [(found.outcome, found.then) for found in report.jobs] == [("failed", "dead")]
    assert lab.queue.job(id).cause == "lost"


def test_a_start_cut_short_has_used_the_attempt(lab: Lab) -> None:
    """A worker that died with the output file made may have started the command (R13)."""
    id = lab.queue.enqueue("true", max_retries=0)
    abandoned(lab, pretend(lab, id))
    Path(lab.queue.home.output_of(lab.queue.home.identity(), id, 2)).touch()

    report = rescuer.recover(lab.queue)

    assert [(found.outcome, found.then) for found in report.jobs] == [("failed", "dead")]
    assert lab.queue.job(id).cause == "lost"


def test_leftovers_of_released_claim_end_before_next_start(lab: Lab, fifo: Fifo) -> None:
    """Whoever gave it back may have been mistaken: each earlier claim is looked at, whatever its number."""
    id = lab.queue.enqueue(f"echo $$ > {fifo}", timeout=None)
    worker = pretend(lab, id)
    abandoned(lab, worker)
    rescuer.recover(lab.queue)
    mark = tag(lab.queue.home.identity(), id, 2)
    left = lab.python("import signal; signal.pause()", env={"QUEUECTL_TAG": mark, "QUEUECTL_DB": lab.database})

    lab.start()

    fifo.line()
    assert left.wait(5) == -signal.SIGTERM
    lab.queue.wait(id, timeout=10)
    assert [(a.number, a.outcome) for a in lab.queue.attempts(id)] == [(1, "released"), (1, "completed")]


def test_stopped_worker_releases_jobs_after_a_reboot(lab: Lab) -> None:
    id = lab.queue.enqueue("true", max_retries=0, on_lost="dead")
    worker = pretend(lab, id, boot_id="another boot")
    abandoned(lab, worker)
    path = f"{lab.queue.home.workers}/{worker}"
    assert attempt_table.read_stop(path) is None
    attempt_table.write_stop(path, decisions.Stop("SIGTERM"))

    report = rescuer.recover(lab.queue)

    assert [(found.outcome, found.then) for found in report.jobs] == [("interrupted", "pending")]


def test_doctor_reports_a_removed_output(lab: Lab) -> None:
    id = lab.queue.enqueue("echo hello")
    lab.queue.enqueue("true")  # which has written nothing
    lab.drain()
    with InspectedQueue(lab.database) as inspected:
        [fine] = doctor.CHECKS["outputs"](inspected, lambda what: lambda done, total: None)
        assert (fine.severity, fine.what) == ("ok", "1, all there")

        for path in Path(lab.queue.home.output).iterdir():
            path.unlink()

        [told] = doctor.CHECKS["outputs"](inspected, lambda what: lambda done, total: None)
        assert told.severity == "warning"
        assert told.what.endswith(f"of {id} (attempt 1)")
    with pytest.raises(OutputGone, match="wrote 6 B"):
        lab.queue.output(id)

"""The checks of settings, permissions, the WAL, the gate, the disk, output files and leftover files."""

import os
import shlex
import stat
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import TYPE_CHECKING

from queuectl import clock
from queuectl.admission import low_disk
from queuectl.doctor.finding import Finding, fine, problem, process, some, warning
from queuectl.home import job_of
from queuectl.host import processes
from queuectl.host.flock import locked
from queuectl.settings import SETTINGS
from queuectl.units import counted, size_text

if TYPE_CHECKING:
    from projections.replay import ProgressBars
    from queuectl.doctor import InspectedQueue

WAL_LIMIT = 64 << 20
"""Bytes waiting in the WAL above which it is reported: writers write it back from 4 MB on."""

DRAFT = 3600.0
"""Seconds after which a draft counts as abandoned."""

FIRST = 1000
"""Maximum number of paths in the facts of a finding."""


def settings(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check that every setting has a valid value."""
    wrong = [found.error for found in queue.config().values() if found.error is not None]
    for error in wrong:
        yield problem(str(error), "correct it there; until then, commands that need it are refused")
    if not wrong:
        yield fine(f"all {len(SETTINGS)} can be read")


def permissions(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check that the queue's files belong to one user and are closed to all others."""
    top = [path for path in (*queue.engine.files, queue.home.folder) if os.path.lexists(path)]
    owner = os.lstat(top[0]).st_uid
    foreign: list[str] = []
    exposed: list[str] = []
    closed: list[str] = []
    bar = bars("Looking at the rights of files")
    count = 0
    for path, found in _files(top):
        count += 1
        bar(count, 0)
        mode = stat.S_IMODE(found.st_mode)
        needed = 0o700 if stat.S_ISDIR(found.st_mode) else 0o600
        if found.st_uid != owner:
            foreign.append(path)
        if mode & 0o077:
            exposed.append(path)
        if mode & needed != needed:
            closed.append(path)
    top_words = " ".join(map(shlex.quote, top))
    if foreign:
        what = f"not the database owner's: {_named(queue, foreign)}"
        yield problem(what, f"chown -R {owner} {top_words}", paths=foreign[:FIRST])
    if exposed:
        what, do = f"open to other users: {_named(queue, exposed)}", f"chmod -R go= {top_words}"
        # Files in the folder are out of reach while the folder itself is closed.
        yield (problem if set(exposed) & set(top) else warning)(what, do, paths=exposed[:FIRST])
    if closed:
        what = f"closed to their owner: {_named(queue, closed)}"
        yield problem(what, f"chmod -R u+rwX {top_words}", paths=closed[:FIRST])
    if not (foreign or exposed or closed):
        yield fine(f"{counted(count, 'file')} and folders, all for their owner only", files=count)


def _files(paths: Iterable[str]) -> Iterator[tuple[str, os.stat_result]]:
    """These files and the contents of folders, without symbolic links and files that are removed meanwhile."""
    for path in paths:
        try:
            found = os.lstat(path)
            if not stat.S_ISLNK(found.st_mode):
                yield path, found
            if stat.S_ISDIR(found.st_mode):
                with os.scandir(path) as entries:
                    yield from _files(entry.path for entry in entries)
        except FileNotFoundError:
            continue


def _named(queue: "InspectedQueue", paths: list[str]) -> str:
    """The paths, relative to the folder of the queue's home."""
    start = os.path.dirname(queue.home.folder)
    return some([os.path.relpath(path, start) for path in sorted(paths)])


def wal(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check that the WAL, where there is one, is written back, and name the readers that prevent it."""
    storage = queue.engine.storage()
    if storage.wal is None:
        return
    with queue.engine.snapshot() as view:
        waiting = view.wal_backlog()
    path, size = storage.wal, storage.wal_size
    facts = {"bytes": size, "waiting": waiting}
    if waiting <= WAL_LIMIT:
        left = f"{size_text(waiting)} of it to be written back" if waiting else "all written back"
        yield fine(f"{size_text(size)}, {left}" if size else "empty", **facts)
        return
    what = f"{os.path.basename(path)} has grown to {size_text(size)}, and {size_text(waiting)} of it"
    if reading := [process(pid) for pid in storage.readers]:
        pids = " ".join(str(each.pid) for each in reading)
        stopped = " ".join(str(each.pid) for each in reading if each.state == "T")
        what += f" can't be written back while {some(list(map(str, reading)))} read{'s' if len(reading) == 1 else ''}"
        do = f"let that finish, or end it: kill {'-9 ' if stopped else ''}{pids}"
        do += f" (what is stopped goes on after kill -CONT {stopped})" if stopped else ""
    else:
        reading = [process(pid) for pid in storage.users]
        what += " is not written back yet"
        what += f"; it is open in {some(list(map(str, reading)))}" if reading else ""
        do = "ask again in a minute: nobody is seen reading, so one of the next commits will do it"
    yield warning(what, do, **facts, processes=reading)


def gate(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check that no stopped process holds the gate (R5); a busy one will release it."""
    if not queue.engine.files:
        return  # the lock of a server is that server's to tell
    pid = queue.engine.storage().writer
    if pid and processes.state(pid) == "T":
        yield problem(
            f"nobody can write: the gate is held by {process(pid)}",
            f"let it go on: kill -CONT {pid}; or end it: kill -9 {pid}",
            pid=pid,
        )
    else:
        yield fine("nobody is kept from writing")


def disk(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check that there is enough free disk space for jobs to start."""
    found = queue.disk()
    facts = {"free": found.free, "floor": found.floor}
    if found.low:
        yield problem(
            low_disk(found).text,
            "make room, or lower the floor: queuectl config set disk-floor SIZE",
            **facts,
        )
    else:
        yield fine(str(found), **facts)


def outputs(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check that the output files of this queue's own attempts exist; imported attempts have none."""
    home = queue.home
    if not os.path.exists(home.id):
        yield fine("none yet")
        return
    identity = home.identity()
    with queue.engine.snapshot() as view:
        ours = {worker.id for worker in view.workers(live=False) if worker.identity == identity}
    bar = bars("Looking for outputs that are gone")
    count, gone = 0, 0
    named: list[str] = []
    for attempt in queue.all_attempts():
        if attempt.output_bytes and attempt.worker in ours:
            count += 1
            bar(count, 0)
            if not os.path.lexists(home.output_of(identity, attempt.job, attempt.lease)):
                gone += 1
                if len(named) < FIRST:
                    named.append(f"{attempt.job} (attempt {attempt.number})")
    if gone:
        what = f"{counted(gone, 'output file')} removed from {home.output}: of {some(named)}"
        yield warning(what, "nothing can be done; keep others from cleaning up in there", count=gone, outputs=named)
    else:
        yield fine(f"{count:,}, all there")


def leftovers(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Report files that are no longer needed: lock files, drafts, doorbells, and outputs without a job."""
    findings = chain(_locks(queue), _drafts(queue), _bells(queue), _outputs(queue, bars))
    yield next(findings, fine("none"))
    yield from findings


def _locks(queue: "InspectedQueue") -> Iterator[Finding]:
    """Report unlocked lock files of workers that have ended in the log, which recovery removes."""
    folder = queue.home.workers
    free = [name for name in os.listdir(folder) if not locked(f"{folder}/{name}")]
    with queue.engine.snapshot() as view:
        live = {worker.id for worker in view.workers()}
    stale = [f"{folder}/{name}" for name in free if name not in live]
    if stale:
        what = f"{counted(len(stale), 'lock file')} of workers that are gone"
        yield warning(what, "run `queuectl recover`, which takes them away", paths=stale[:FIRST])


def _drafts(queue: "InspectedQueue") -> Iterator[Finding]:
    """Report files whose writer died before it renamed them."""
    before = clock.now() / clock.SECOND - DRAFT
    folders = (queue.home.folder, queue.home.stdin)
    drafts = [f"{folder}/{name}" for folder in folders for name in os.listdir(folder) if name[0] == "."]
    stale = [(path, found) for path, found in _files(drafts) if found.st_mtime < before]
    if stale:
        yield _waste(f"{counted(len(stale), 'draft')} that nobody finished", stale)


def _bells(queue: "InspectedQueue") -> Iterator[Finding]:
    """Report doorbells of dead listeners, which the next event removes."""
    if silent := queue.engine.storage().silent_listeners:
        yield fine(f"{counted(silent, 'doorbell')} of listeners that are gone: the next event takes them away")


def _outputs(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Report outputs of jobs that were purged, archived or never in this log, which no command can show."""
    bar = bars("Looking for outputs without a job")
    gone: list[str] = []
    unknown: list[str] = []
    count = 0
    with os.scandir(queue.home.output) as entries:
        while page := list(islice(entries, FIRST)):  # read before the log: a job exists before its output does
            with queue.engine.snapshot() as view:
                for entry in page:
                    job = job_of(entry.name)
                    if view.job(job) is None:
                        history = view.stream(f"job:{job}")
                        if not history or history[-1].type in ("purged", "archived"):
                            (gone if history else unknown).append(entry.path)
            count += len(page)
            bar(count, 0)
    if gone:
        what = f"{counted(len(gone), 'output')} of jobs that were purged or archived"
        yield _waste(what, list(_files(gone)))
    if unknown:
        yield _waste(f"{counted(len(unknown), 'output')} of jobs that are not in the log", list(_files(unknown)))


def _waste(what: str, found: list[tuple[str, os.stat_result]]) -> Finding:
    """A warning about files that may be removed, with the size on disk."""
    size = sum(stat.st_blocks * 512 for _, stat in found)
    paths = sorted(path for path, _ in found)
    names = some([os.path.basename(path) for path in paths])
    return warning(
        f"{what}, {size_text(size)} on disk: {names}",
        f"they can be removed from {os.path.dirname(paths[0])} (--json names them)",
        count=len(paths),
        bytes=size,
        paths=paths[:FIRST],
    )

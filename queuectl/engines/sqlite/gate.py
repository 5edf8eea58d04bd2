"""The gate: one writer at a time, each in its turn (R5). Without it greedy writers starve each other.

It is an `flock` on a file, which the kernel gives back when its holder dies. The holder writes into the file which
process it is: a *worker* that is stopped (SIGSTOP) inside the gate would block all others for ever, so it is killed by
those that wait, after 15 s, and its jobs are recovered like any dead worker's. Any other holder is only named
(`gate_holder.py`).

The kernel wakes those who wait in the order of arrival, but one who comes out and goes in again is back before they
run: of 8 processes one got 853 turns, another 12. So one that has been going in and out for a while lets others in.
"""

import fcntl
import os
import time
from _thread import allocate_lock, get_ident, start_new_thread
from collections.abc import Callable
from weakref import WeakSet, ref

from queuectl.clock import monotonic
from queuectl.engines.sqlite.gate_holder import NO_WORKER, Holder, HolderWatch, namespace
from queuectl.errors import Busy, Unusable, shown
from queuectl.host.procfs import look

STUCK = 15.0
"""Seconds a worker may be stopped inside the gate before one who waits kills it."""

TURN = 0.002
"""Seconds that a process may go in and out while others wait; then it lets one of them in."""

YIELD = 0.005
"""Seconds that it leaves them for that, at most: they may have died, or be stopped."""

MEANWHILE = 0.05
"""Seconds between two calls of what is to be done while one waits."""

WANTED = 512
"""Where in the file a byte tells that a process waits; the text of the holder stands at 0."""


class Gate:
    """The right to write to one database, for one process. Its threads may share it, and a forked child may use it.

    `path` is the gate's file (made when first needed), `stuck` the seconds after which a worker stopped inside is
    killed.
    """

    def __init__(self, path: str, *, stuck: float = STUCK) -> None:
        self.path = path
        self.stuck = stuck
        self._worker: str | None = None
        self._left = 0.0  # when we came out last
        self._turn = 0.0  # since when we go in and out
        self.renew()
        _gates.add(self)

    @property
    def worker(self) -> str | None:
        """The id of the worker that this process is, set by a worker itself; None in every other process."""
        return self._worker

    @worker.setter
    def worker(self, worker: str | None) -> None:
        self._worker = worker
        self._text = b""

    def hold(self, patience: float | None, meanwhile: Callable[[], None] | None = None) -> "Hold":
        """A context manager: inside its `with` block no other process or thread is inside the gate. Not reentrant.

        `patience` is how many seconds to wait for it, None for ever (workers); `meanwhile` is called now and then while
        it waits. Raises Unusable, naming the holder, when they have passed; also where the file can't be written, and
        where this very thread is inside already.
        """
        return Hold(self, patience, meanwhile)

    def close(self) -> None:
        """Close the file, which also leaves the gate. It opens again when used again."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            _close(fd)

    def __del__(self) -> None:
        self.close()

    def renew(self) -> None:
        """Forget what belongs to a process (descriptor, pid, threads): done for every gate in a forked child."""
        self._fd = -1
        self._text = b""
        self._passages: dict[int, ref[Hold]] = {}  # the one going on: claimed, whatever interrupts us, in one step
        self._out = allocate_lock()  # wakes a thread that waits for another one to come out
        self._out.acquire()
        self._waiting = 0

    def enter(self, patience: float | None, hold: "Hold") -> None:
        """What a `Hold` does at the beginning of its block."""
        passage = ref(hold, self._leave)
        if self._passages.setdefault(0, passage) is not passage:
            self._wait_for_thread(passage, patience)
        try:
            if self._fd < 0 or not self._text:
                self._prepare()
            now = monotonic()
            if now - self._left > YIELD:
                self._turn = now
            elif now - self._turn > TURN:
                self._let_others()
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._wait(patience, hold.meanwhile)
            _inside[self.path] = get_ident()
            if os.pread(self._fd, len(self._text), 0) != self._text:  # a write costs three times as much
                os.pwrite(self._fd, self._text, 0)
        except OSError as error:
            self._leave(passage)
            raise Unusable(f"{shown(self.path)}: {error.strerror}: mend that, nobody can write meanwhile") from error
        except BaseException:
            self._leave(passage)
            raise

    def leave(self, hold: "Hold") -> None:
        """What a `Hold` does at the end of its block."""
        passage = self._passages.get(0)
        if passage is not None and passage() is hold:  # else a forked child, and the passage its parent's
            self._leave(passage)

    def _leave(self, passage: "ref[Hold]") -> None:
        """Let the next one in. A signal handler may raise before or after any call, here as elsewhere: when the `Hold`
        dies with its passage open, `ref` does this (once more). A `__del__` would always run, and swallow a Ctrl-C.
        """
        if self._passages.get(0) is not passage:
            return
        _inside.pop(self.path, None)
        if self._fd >= 0:
            fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._left = monotonic()
        self._passages.clear()
        if self._waiting and self._out.locked():
            self._out.release()

    def _prepare(self) -> None:
        """Open the file where it isn't, and find out who we are: at first use, in a forked child, after a vain wait."""
        if self._fd < 0:
            self._fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            _descriptors.add(self._fd)
            os.fchmod(self._fd, 0o600)  # whatever the umask took away
        pid = os.getpid()
        process = look(pid)
        self._text = Holder(pid, process.started if process else 0, namespace(), self._worker or NO_WORKER).text()

    def _let_others(self) -> None:
        """Step back until one who waits, if any, is inside."""
        if os.pread(self._fd, 1, WANTED) == b"1":
            end = monotonic() + YIELD
            while os.pread(self._fd, len(self._text), 0) == self._text:
                if monotonic() > end:
                    os.pwrite(self._fd, b"0", WANTED)
                    break
                time.sleep(0.00005)
        self._turn = monotonic()

    def _wait(self, patience: float | None, meanwhile: Callable[[], None] | None) -> None:
        self._refuse_nesting()
        os.pwrite(self._fd, b"1", WANTED)
        wait, watch = _Wait(self._fd, self.path), HolderWatch(self._fd, self.stuck)
        try:
            wait.until(patience, watch, meanwhile)
        except BaseException:
            self._fd = -1  # it is the waiting thread's now
            raise
        self._turn = monotonic()

    def _wait_for_thread(self, passage: "ref[Hold]", patience: float | None) -> None:
        self._refuse_nesting()
        end = None if patience is None else monotonic() + patience
        self._waiting += 1
        try:
            while self._passages.setdefault(0, passage) is not passage:
                if end is not None and monotonic() >= end:
                    raise Busy(f"{shown(self.path)}: another thread has been writing for {patience:g} s: try again")
                self._out.acquire(timeout=_step(0.02, end))  # a ring may get lost, so look now and then
        finally:
            self._waiting -= 1

    def _refuse_nesting(self) -> None:
        if _inside.get(self.path) == get_ident():
            raise Unusable(f"{shown(self.path)}: this thread is writing already: let it end that transaction first")


class Hold:
    """One passage through the gate, made by `Gate.hold`."""

    __slots__ = ("__weakref__", "_gate", "_patience", "meanwhile")

    def __init__(self, gate: Gate, patience: float | None, meanwhile: Callable[[], None] | None = None) -> None:
        self._gate = gate
        self._patience = patience
        self.meanwhile = meanwhile

    def __enter__(self) -> None:
        self._gate.enter(self._patience, self)

    def __exit__(self, *_: object) -> None:
        self._gate.leave(self)


class _Wait:
    """A wait for our turn: a thread of its own sleeps in the kernel's queue (fair, no polling), we watch the holder.

    Given up, the descriptor is left to that thread, which closes it as soon as it gets the lock.
    """

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.path = path
        self.error: OSError | None = None
        self.decided = allocate_lock()  # taken first by the thread: we have the lock; by us: we have given up
        self.done = allocate_lock()
        self.done.acquire()

    def until(self, patience: float | None, watch: HolderWatch, meanwhile: Callable[[], None] | None) -> None:
        """Return with the lock, or raise Unusable after `patience` seconds; then the descriptor is lost."""
        began = monotonic()
        end = None if patience is None else began + patience
        step = watch.step if meanwhile is None else min(watch.step, MEANWHILE)
        look = began + watch.step
        try:
            self._start()
            while not self.done.acquire(timeout=_step(step, end)):
                if meanwhile is not None:
                    meanwhile()
                if monotonic() >= look:
                    watch.look()
                    look += watch.step
                if end is not None and monotonic() >= end:
                    raise Busy(f"locked for {patience:g} s ({shown(self.path)}) {watch.describe()}")
                os.pwrite(self.fd, b"1", WANTED)
            if self.error:
                raise self.error
        except BaseException:
            if not self.decided.acquire(False):  # it has arrived meanwhile
                _close(self.fd)
            raise

    def _start(self) -> None:
        try:
            start_new_thread(self._sleep, ())
        except RuntimeError as error:  # too many threads: none will close it
            self.decided.acquire()
            raise Unusable(f"{shown(self.path)}: can't wait for it: {error}") from error

    def _sleep(self) -> None:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX)
        except OSError as error:
            self.error = error
        if self.decided.acquire(False):
            self.done.release()
        else:
            _close(self.fd)


def _step(step: float, end: float | None) -> float:
    return step if end is None else max(0.0, min(step, end - monotonic()))


def _close(fd: int) -> None:
    _descriptors.discard(fd)
    os.close(fd)


_gates: WeakSet[Gate] = WeakSet()
_descriptors: set[int] = set()  # those of this process on gates, also of waits that were given up
_inside: dict[str, int] = {}  # gate -> the thread of this process that is inside


def _after_fork() -> None:
    """In the child: every gate starts anew. Copies kept open would keep the lock of a parent that died."""
    for gate in _gates:
        gate.renew()
    for fd in _descriptors:
        os.close(fd)
    _descriptors.clear()
    _inside.clear()


os.register_at_fork(after_in_child=_after_fork)

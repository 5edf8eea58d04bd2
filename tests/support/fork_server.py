"""`python -m queuectl` without the start of an interpreter: a fork of one process that has the command line imported.

What follows the fork is all that the command does, its exit included, with arguments, environment, folder, umask and
descriptors of its own. What Python reads of its environment when it starts is not read again: `run` sees to that.
"""

import atexit
import functools
import gc
import os
import pickle
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

PATIENCE = 50.0
"""Seconds after which a command is killed."""

_ENV = {"LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
_READ_AT_START = ("LC_", "LANG", "PYTHON", "LD_")
"""What the interpreter that is forked was started with, and how the names begin of what can't be changed after that."""


def can_run(env: Mapping[str, str]) -> bool:
    """Whether an interpreter that is started with this environment is like the one that is forked."""
    return {name: value for name, value in env.items() if name.startswith(_READ_AT_START)} == _ENV


def run(
    words: Sequence[str | bytes], env: Mapping[str, str], cwd: Path, stdin: bytes = b""
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command to its end."""
    if not can_run(env):
        command = [sys.executable, "-m", "queuectl", *words]
        return subprocess.run(
            command, env=env, cwd=cwd, input=stdin, capture_output=True, timeout=PATIENCE, check=False
        )
    pipes = _Pipes(stdin)
    try:
        child = Child(words, env, cwd, pipes.theirs)
        out, err = pipes.talk(child)
        return subprocess.CompletedProcess(["queuectl", *words], child.wait(), out, err)
    finally:
        pipes.close()


class Child:
    """A command that runs, with three descriptors as its stdin, stdout and stderr. One at a time."""

    def __init__(
        self, words: Sequence[str | bytes], env: Mapping[str, str], cwd: Path, fds: tuple[int, int, int]
    ) -> None:
        umask = os.umask(0)
        os.umask(umask)
        self._server = _server()
        request = pickle.dumps(([os.fsencode(word) for word in words], dict(env), os.fsencode(cwd), umask))
        socket.send_fds(self._server, [request], fds)
        self.pid = int(self._server.recv(100))

    def wait(self) -> int:
        """Wait for its end; its exit code, negative for a signal."""
        return int(self._server.recv(100))

    def kill(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait()


class _Pipes:
    """What a command reads and says."""

    def __init__(self, stdin: bytes) -> None:
        self._rest = stdin
        (theirs_in, self._in), (self._out, theirs_out), (self._err, theirs_err) = os.pipe(), os.pipe(), os.pipe()
        self.theirs = (theirs_in, theirs_out, theirs_err)
        self._open = {*self.theirs, self._in, self._out, self._err}
        os.set_blocking(self._in, False)

    def talk(self, child: Child) -> tuple[bytes, bytes]:
        """Write what there is for stdin, and return what was said on stdout and stderr until both were closed."""
        for fd in self.theirs:
            self._close(fd)
        said = {self._out: bytearray(), self._err: bytearray()}
        deadline = time.monotonic() + PATIENCE
        with selectors.DefaultSelector() as selector:
            selector.register(self._in, selectors.EVENT_WRITE)
            for fd in said:
                selector.register(fd, selectors.EVENT_READ)
            while selector.get_map():
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    child.kill()
                    raise TimeoutError(f"no end after {PATIENCE} s; it said {said}")
                for key, _ in ready:
                    if key.fd == self._in:
                        more = self._write()
                    else:
                        said[key.fd] += (more := os.read(key.fd, 1 << 16))
                    if not more:
                        selector.unregister(key.fd)
                        self._close(key.fd)
        return bytes(said[self._out]), bytes(said[self._err])

    def _write(self) -> bytes:
        try:
            self._rest = self._rest[os.write(self._in, self._rest) :]
        except BrokenPipeError:
            self._rest = b""
        return self._rest

    def _close(self, fd: int) -> None:
        self._open.remove(fd)
        os.close(fd)

    def close(self) -> None:
        for fd in tuple(self._open):
            self._close(fd)


@functools.cache
def _server() -> socket.socket:
    """Whom to ask: a process that ends with this one."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())],
            cwd=ROOT, env=_ENV, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
        )  # fmt: skip
    atexit.register(process.wait)
    atexit.register(ours.close)
    return ours


# -- the process that is forked --------------------------------------------------------------------------------------


def _serve(fd: int) -> None:
    """Fork for each command that is asked for; returns in the child, which is to run it."""
    with socket.socket(fileno=fd) as asked:
        while True:
            request, fds, _, _ = socket.recv_fds(asked, 1 << 20, 3)
            if not request:
                os._exit(0)
            child = os.fork()
            if not child:
                break
            for each in fds:
                os.close(each)
            asked.send(b"%d" % child)
            asked.send(b"%d" % os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    _become(fds, *pickle.loads(request))


def _become(fds: Sequence[int], words: list[bytes], env: dict[str, str], cwd: bytes, umask: int) -> None:
    """Take on what the caller has given."""
    for number, each in enumerate(fds):
        os.dup2(each, number)
    os.closerange(3, max(fds) + 1)
    os.umask(umask)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    sys.argv = ["queuectl", *map(os.fsdecode, words)]
    sys.path[0] = os.getcwd()
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        before: Any = getattr(sys, name)
        stream = open(number, mode, encoding=before.encoding, errors=before.errors, closefd=False)  # noqa: SIM115
        setattr(sys, name, stream)
    sys.stderr.reconfigure(line_buffering=True)  # type: ignore[union-attr]


if __name__ == "__main__":
    from queuectl.cli.app import load_all

    load_all()  # and nothing that would start threads: they do not live on in a fork
    gc.freeze()
    _serve(int(sys.argv[1]))
    runpy.run_module("queuectl", run_name="__main__", alter_sys=True)

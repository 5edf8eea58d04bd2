"""A machine of its own that systemd has booted: namespaces of this one, on a copy of its files that is thrown away.

It takes root, and a kernel and a container that allow it; elsewhere `booted` skips and says what is missing. Nothing
that happens in it reaches the files of this machine: they are the lower layer of an overlay, which becomes the root
before systemd starts.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

import pytest

from tests.support.paths import ROOT

SYSTEMD = "/usr/lib/systemd/systemd"
SHELL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_MASKED = """
systemd-binfmt systemd-firstboot systemd-journal-flush systemd-machine-id-commit systemd-modules-load systemd-pstore
systemd-random-seed systemd-remount-fs systemd-sysctl systemd-sysusers systemd-timesyncd systemd-tmpfiles-clean
systemd-tmpfiles-setup systemd-tmpfiles-setup-dev systemd-udev-trigger systemd-udevd systemd-update-utmp kmod modprobe@
""".split()
"""Services that have no business in it, or could reach beyond it."""

_BOOT = r"""
set -eu
layers=$1; shift
mount --make-rprivate /
mkdir -p "$layers/upper" "$layers/work" "$layers/root"
root=$layers/root
mount -t overlay overlay -o "lowerdir=/,upperdir=$layers/upper,workdir=$layers/work" "$root"
cd "$root"
mount -t proc proc proc
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs dev
for node in null zero full random urandom tty; do touch dev/$node; mount --bind /dev/$node dev/$node; done
mkdir dev/pts dev/shm
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs tmpfs dev/shm
mount -t tmpfs tmpfs run
mount -t tmpfs tmpfs tmp
if ! [ -e etc/systemd/of-the-test ]; then
    rm -rf etc/systemd/system etc/systemd/user
    mkdir -p etc/systemd/system/user@.service.d
    for unit in MASKED; do ln -s /dev/null etc/systemd/system/$unit.service; done
    printf '[Service]\nTimeoutStopSec=3\n' > etc/systemd/system/user@.service.d/short.conf
    for folder; do chmod o+x "./$folder"; done
    touch etc/systemd/of-the-test
fi
mkdir -p old
pivot_root . old
umount -l /old
[ "$(stat -f -c %T /)" = overlayfs ]
exec env -i container=other PATH=$PATH SYSTEMD --system --unit=multi-user.target --show-status=no --log-target=null
""".replace("MASKED", " ".join(_MASKED)).replace("SYSTEMD", SYSTEMD)


class SystemdMachine:
    """Booted when it is made, gone when its context is left."""

    def __init__(self) -> None:
        self._layers = tempfile.mkdtemp(prefix="queuectl-machine-", dir="/dev/shm")
        self._group = f"{_cgroups()}/{os.path.basename(self._layers)}"
        self._holder: subprocess.Popen[bytes] | None = None
        self._init = 0

        try:
            self.boot()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def boot(self) -> None:
        """Start it, and wait until it is up."""
        os.makedirs(self._group, exist_ok=True)
        line = 'echo $$ > "$0/cgroup.procs"; exec unshare --mount --pid --fork --cgroup --uts --ipc --kill-child "$@"'
        folders = sorted(
            {str(each) for path in (os.path.realpath(sys.executable), ROOT) for each in Path(path).parents}
        )
        self._holder = subprocess.Popen(
            ["/bin/sh", "-c", line, self._group, "/bin/sh", "-c", _BOOT, "boot", self._layers, *folders, str(ROOT)],
            env={"PATH": SHELL_PATH}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        )  # fmt: skip
        until(lambda: self._started() and self._is_up(), 90)

    def _started(self) -> bool:
        assert self._holder is not None
        if self._holder.poll() is not None:
            assert self._holder.stderr is not None
            raise OSError(self._holder.stderr.read().decode(errors="replace").strip())
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        self._init = int(children[0]) if children else 0
        return bool(children) and os.path.basename(os.readlink(f"/proc/{self._init}/exe")) == "systemd"

    def _is_up(self) -> bool:
        return self.run("root", "systemctl", "is-system-running").stdout.strip() in ("running", "degraded")

    def run(self, user: str, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run a command in it, as in a login of this user."""
        home = "/root" if user == "root" else f"/home/{user}"
        entered = ["nsenter", f"--target={self._init}", "--mount", "--pid", "--cgroup", "--uts", "--ipc", "--"]
        login = ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups"] if user != "root" else []
        environ = {
            "HOME": home, "PATH": SHELL_PATH, "LANG": "C.UTF-8", "TZ": "UTC", "QUEUECTL_KEEP_ENV": "none", **env,
        }  # fmt: skip
        return subprocess.run(
            [*entered, *login, "/bin/sh", "-c", 'cd "$HOME" && exec "$@"', "sh", *words],
            env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    def queuectl(self, user: str, *words: str, **env: str) -> "subprocess.CompletedProcess[str]":
        """Run this `queuectl` in it."""
        return self.run(user, sys.executable, "-m", "queuectl", *words, **env)

    def copy(self, source: Path, target: str) -> None:
        """Copy a file into it, whose /tmp is its own."""
        done = subprocess.run(
            ["nsenter", f"--target={self._init}", "--mount", "--", "/bin/sh", "-c", 'cat > "$0"', target],
            input=source.read_bytes(), capture_output=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    def add_user(self, name: str) -> None:
        """A user with a home folder, who does not linger."""
        done = self.run("root", "useradd", "--create-home", name)
        assert done.returncode == 0, done.stderr

    def reboot(self, *, orderly: bool) -> None:
        """Shut it down, or cut its power, and boot again from what is on its disk."""
        assert self._holder is not None
        if orderly:
            self.run("root", "systemctl", "poweroff")
        else:
            os.kill(self._init, signal.SIGKILL)
        self._holder.wait(30)
        self._leave()
        self.boot()

    def _leave(self) -> None:
        if self._holder is not None:
            self._holder.kill()  # --kill-child: and with it the first process, and so all of them
            self._holder.communicate()
            self._holder = None

    def close(self) -> None:
        """End all that runs in it, and remove its files."""
        self._leave()
        until(lambda: _remove_group(self._group), 10)
        shutil.rmtree(self._layers)


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for it. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.05)


def _cgroups() -> str:
    """Where control groups of version 2 are mounted."""
    for line in Path("/proc/mounts").read_text().splitlines():
        _, place, kind, *_ = line.split(" ")
        if kind == "cgroup2":
            return place
    raise OSError("no control groups of version 2 are mounted")


def _remove_group(group: str) -> bool:
    try:
        for folder, _, _ in os.walk(group, topdown=False):
            os.rmdir(folder)
    except OSError:
        return False
    return True


@contextmanager
def booted() -> Generator[SystemdMachine]:
    """A machine; the test is skipped, with the reason, where there can be none."""
    needed = (SYSTEMD, "/usr/bin/dbus-daemon", "/usr/bin/loginctl", "/usr/bin/nsenter", "/usr/bin/unshare")
    missing = [name for name in needed if not os.path.exists(name)]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"{missing[0]} is not installed" if missing else "only root can boot a machine with systemd")
    try:
        machine = SystemdMachine()
    except (OSError, TimeoutError) as error:
        pytest.skip(f"no machine with systemd can be booted here: {error}")
    with machine:
        yield machine

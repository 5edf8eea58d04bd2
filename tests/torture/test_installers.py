"""The built wheel, as people install it: by pipx, by uv, and as a Debian package on a machine that systemd has booted.

The installers come from the package index, into an environment of their own.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.systemd_machine import booted, until

pytestmark = pytest.mark.timeout(900)


def run(*words: str | Path, **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a command that has to succeed."""
    done = subprocess.run(
        words, env=os.environ | env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with pipx and uv."""
    folder = tmp_path_factory.mktemp("tools")
    run(sys.executable, "-m", "venv", folder)
    run(folder / "bin" / "pip", "install", "--quiet", "pipx", "uv")
    return folder / "bin"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, as a release has it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, ROOT)
    [wheel] = folder.glob("*.whl")
    return wheel


@pytest.fixture(params=["pipx", "uv"])
def program(request: pytest.FixtureRequest, tools: Path, wheel: Path, tmp_path: Path) -> Iterator[Path]:
    """`queuectl` as one of them has installed it, and removes it again."""
    programs = tmp_path / "bin"
    if request.param == "pipx":
        env = {
            "PIPX_HOME": str(tmp_path / "pipx"),
            "PIPX_BIN_DIR": str(programs),
            "PIPX_MAN_DIR": str(tmp_path / "man"),
        }
        install, uninstall = [tools / "pipx", "install"], [tools / "pipx", "uninstall"]
    else:
        env = {"UV_TOOL_DIR": str(tmp_path / "uv"), "UV_TOOL_BIN_DIR": str(programs)}
        links = ["--find-links", os.environ["PIP_FIND_LINKS"]] if os.environ.get("PIP_FIND_LINKS") else []
        install = [tools / "uv", "tool", "install", "--python", sys.executable, *links]
        uninstall = [tools / "uv", "tool", "uninstall"]
    run(*install, str(wheel), **env)
    yield programs / "queuectl"
    run(*uninstall, "queuectl-eventlog", **env)
    assert not (programs / "queuectl").exists()


def asked(program: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    environ = {"PATH": f"{program.parent}:/usr/bin:/bin", "HOME": str(program.parent.parent), "LANG": "C.UTF-8"}
    return subprocess.run(
        [program, *words], cwd=program.parent.parent, env=environ, stdin=subprocess.DEVNULL, capture_output=True,
        text=True, timeout=120, check=False,
    )  # fmt: skip


def test_the_wheel_works_as_a_tool(program: Path, wheel: Path):
    version = wheel.name.split("-")[1]
    assert asked(program, "--version").stdout.startswith(f"queuectl {version} ")
    tested = asked(program, "selftest")
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert asked(program, "run", "echo hello").stdout == "hello\n"

    unit = asked(program, "service", "install", "--print").stdout
    assert f"\nExecStart={program} --db " in unit, "what the installer renews, not what it renews it with"

    for words, extra in ((("--db", "postgresql://h/d", "status"), "postgres"),):
        missing = asked(program, *words)
        assert missing.returncode == 4
        assert missing.stderr.count("\n") == 1
        assert f"pip install 'queuectl-eventlog[{extra}]'" in missing.stderr
    exported = asked(program, "export", "--format", "parquet", "-o", "jobs.parquet")
    assert exported.returncode in (1, 2)
    assert exported.stderr.count("\n") == 1
    assert "pip install 'queuectl-eventlog[parquet]'" in exported.stderr


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The Debian package of this wheel."""
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb, of Debian, is not installed")
    folder = tmp_path_factory.mktemp("deb")
    env = {"TMPDIR": str(folder), "DPKG_DEB_COMPRESSOR_LEVEL": "1"}
    answer = run(ROOT / "examples" / "debian" / "build", f"{wheel}[postgres]", folder, **env)
    [package] = folder.glob("*.deb")
    assert answer.stdout == f"{package}\n"
    return package


def test_a_package_names_no_folder_of_its_making(package: Path, tmp_path: Path):
    run("dpkg-deb", "--extract", package, tmp_path)
    assert os.readlink(tmp_path / "usr/bin/queuectl") == "/opt/queuectl/bin/queuectl"
    completions = ("bash-completion/completions/queuectl", "zsh/vendor-completions/_queuectl",
                   "fish/vendor_completions.d/queuectl.fish")  # fmt: skip
    for name in (*completions, "man/man1/queuectl.1.gz", "doc/queuectl/copyright"):
        assert (tmp_path / "usr/share" / name).stat().st_size > 100, name
    assert not list(tmp_path.rglob("pip")), "it is only needed to build"
    fields = run("dpkg-deb", "--field", package).stdout
    assert re.search(r"^Depends: python3\.\d+$", fields, re.MULTILINE)
    found = subprocess.run(["grep", "-rl", str(package.parent), tmp_path], capture_output=True, text=True, check=False)
    assert found.stdout == ""


def test_a_package_is_installed_used_and_removed(package: Path):
    with booted() as machine:
        machine.copy(package, "/root/queuectl.deb")
        installed = machine.run("root", "dpkg", "--install", "queuectl.deb")
        assert installed.returncode == 0, installed.stderr
        machine.add_user("ann")
        machine.run("root", "loginctl", "enable-linger", "ann")
        runtime = f"/run/user/{machine.run('root', 'id', '-u', 'ann').stdout.strip()}"

        def ann(*words: str) -> "subprocess.CompletedProcess[str]":
            return machine.run("ann", *words, XDG_RUNTIME_DIR=runtime)

        until(lambda: ann("systemctl", "--user", "is-system-running").stdout.strip() == "running", 30)
        for words in (("selftest",), ("service", "install"), ("run", "true"), ("service", "uninstall")):
            done = ann("queuectl", *words)
            assert done.returncode == 0, done.stdout + done.stderr
        assert "no server answers" in ann("queuectl", "--db", "postgresql://ann@127.0.0.1:1/x", "status").stderr
        assert machine.run("root", "dpkg", "--remove", "queuectl").returncode == 0
        assert machine.run("root", "ls", "/opt/queuectl").returncode != 0

# SPDX-License-Identifier: MIT
"""The wheel in an environment of its own: what it can do with neither compiler nor libvirt."""

from __future__ import annotations

import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from .runs import TOP, lab_machine, over_ssh

if TYPE_CHECKING:
    from pathlib import Path

RUN_SECONDS = 1200.0
LAB_BYTES = 3 << 30
NEEDED = ("cat", "setpriv", "sh", "ssh")
"""All that it may run of the machine's own programs: the serial and power commands use the first
two."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 600)]


class Installed:
    """An environment that has the wheel, and what that depends on, and nothing else.

    Attributes:
        folder: where it is run: it has no tests of its own.
    """

    def __init__(self, top: Path) -> None:
        self.folder = top / "empty"
        self._programs = top / "bin"
        self._home = top / "home"
        for folder in (self.folder, self._programs, self._home):
            folder.mkdir()
        for name in NEEDED:
            (self._programs / name).symlink_to(f"/usr/bin/{name}")
        build = [
            sys.executable,
            "-m",
            "hatchling",
            "build",
            "-t",
            "wheel",
            "-d",
            str(top / "wheel"),
        ]
        subprocess.run(build, cwd=TOP, check=True, capture_output=True)
        (wheel,) = (top / "wheel").iterdir()
        subprocess.run([sys.executable, "-m", "venv", str(top / "venv")], check=True)
        self._bin = top / "venv/bin"
        pip = [str(self._bin / "pip"), "install", "--quiet", str(wheel)]
        subprocess.run(pip, check=True, capture_output=True)

    def run(self, *argv: str, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment's."""
        return subprocess.run(
            [str(self._bin / argv[0]), *argv[1:]],
            cwd=self.folder,
            env={"PATH": f"{self._bin}:{self._programs}", "HOME": str(self._home)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds,
            check=False,
        )


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(tmp_path_factory.mktemp("wheel"))


def test_it_has_neither_libvirt_nor_a_compiler(installed: Installed) -> None:
    assert installed.run("python", "-c", "import libvirt").returncode == 1
    found = installed.run("python", "-c", "import shutil; print(shutil.which('gcc'))")
    assert found.stdout.strip() == "None"


def test_help_and_collection_need_no_host(installed: Installed) -> None:
    told = installed.run("pytest", "--help")
    assert (told.returncode, "--xen-host" in told.stdout) == (0, True)
    told = installed.run("pytest", "--collect-only", "-q", "--pyargs", "pytest_xenscrub.suite")
    assert told.returncode == 0, told.stdout
    assert "test_destroyed_guest_leaves_nothing" in told.stdout


def test_libvirt_that_is_asked_for_and_missing_is_one_message(installed: Installed) -> None:
    told = installed.run("pytest", "--xen-host=lab7", "--xen-toolstack=libvirt", "-m", "quick")
    assert told.returncode == 75, told.stdout
    assert "pytest-xenscrub[libvirt]" in told.stdout, told.stdout


def test_quick_suite_runs_on_a_lab_machine(installed: Installed) -> None:
    with lab_machine(LAB_BYTES) as machine:
        done = installed.run("pytest", "-m", "quick", *over_ssh(machine), seconds=RUN_SECONDS)
    print(done.stdout)
    assert done.returncode == 0, done.stdout
    assert re.search(r"^judged \d+ of \d+ scenarios", done.stdout, re.M)
    assert "destroyed_guest_leaves_nothing" in done.stdout

# SPDX-License-Identifier: MIT
"""The suite proper on a machine that is reached over ssh alone, and boots through its GRUB."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import MissingToolError
from pytest_xenscrub.host.emulated.lab import ALIAS, LabMachine
from pytest_xenscrub.hypervisor.grub import running

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).parents[2]
RUN_SECONDS = 800

pytestmark = [pytest.mark.slow, pytest.mark.timeout(RUN_SECONDS + 300)]


@pytest.fixture
def machine() -> Iterator[LabMachine]:
    """A lab machine, played by QEMU."""
    deadline = Deadline.after(280, "starting the lab machine")
    try:
        lab = LabMachine.start(progress=print, deadline=deadline)
    except MissingToolError as error:
        pytest.skip(str(error))
    yield lab
    lab.close()


def test_suite_runs_on_a_lab_machine_with_its_own_xen_and_with_ours(machine: LabMachine) -> None:
    """Both Xens are tested, and afterwards the machine runs its own again."""
    host = machine.connect()
    before = running(host, Deadline.after(60, "which Xen runs"))
    command = [
        sys.executable, "-m", "pytest", "tests/scrub", "-v", "-p", "no:cacheprovider",
        "-k", "destroyed_guest_leaves_nothing or conserved",
        f"--xen-host={ALIAS}", f"--xen-ssh-config={machine.ssh_config}",
        "--xen-variant=as-is", "--xen-variant=sync",
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=TOP, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout, done.stdout
    assert "booting Xen sync once" in done.stdout, done.stdout
    after = running(host, Deadline.after(120, "which Xen runs"))
    assert after.build_id == before.build_id
    left = host.run(["sh", "-c", "ls -d /boot/pytest-xenscrub* /run/xenscrub-*-* 2>/dev/null; :"],
                    deadline=Deadline.after(60, "what is left"))  # fmt: skip
    assert left.stdout == ""
    host.close()

# SPDX-License-Identifier: MIT
"""`xenscrub shell` on a real Xen."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(700)]

MAIN = "import sys; from pytest_xenscrub.command.main import main; sys.exit(main())"
XENSCRUB = (sys.executable, "-c", MAIN)


def test_a_command_in_the_dom0_of_an_emulated_host() -> None:
    command = [*XENSCRUB, "shell", "--xen-host-memory=3G", "--", "sh", "-c", "xl list; exit 7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 7, done.stdout + done.stderr
    assert "Domain-0" in done.stdout
    left = subprocess.run(
        ["pgrep", "-P", "1", "-f", "qemu-system.*xenscrub"], capture_output=True, check=False
    )
    assert left.returncode == 1, "QEMU outlives the command"

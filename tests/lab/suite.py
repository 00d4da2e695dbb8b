# SPDX-License-Identifier: MIT
"""Runs the suite proper as a user does, in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]
RUN_SECONDS = 540


def run_suite(*arguments: str | Path) -> tuple[int, str]:
    """The suite proper on the emulated host: exit code and output."""
    command = [sys.executable, "-m", "pytest", "tests/scrub", "--xen-host=emulated"]
    command += ["--xen-host-memory=3G", "-p", "no:cacheprovider", *map(str, arguments)]
    done = subprocess.run(
        command, cwd=TOP, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    return done.returncode, done.stdout + done.stderr

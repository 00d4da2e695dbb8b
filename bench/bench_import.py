# SPDX-License-Identifier: MIT
"""What the plugin adds to a pytest that does not use it."""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

from _bench import ROUNDS, Limit, report

if TYPE_CHECKING:
    from pathlib import Path


def cpu_seconds(folder: Path, *arguments: str) -> float:
    """What pytest in an empty folder takes of a CPU: other programs' load is not in it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pytest", "-q", "--collect-only", *arguments]
    subprocess.run(command, cwd=folder, capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_import(tmp_path: Path) -> None:
    bare, ours = [], []
    for _ in range(ROUNDS):
        bare.append(cpu_seconds(tmp_path, "-p", "no:xenscrub"))
        ours.append(cpu_seconds(tmp_path))
    added = statistics.median(ours) - statistics.median(bare)
    report("import of the plugin, over bare pytest", added * 1000, " ms", Limit(0, 50.0))

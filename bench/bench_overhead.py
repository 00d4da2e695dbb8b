# SPDX-License-Identifier: MIT
"""What of the quick suite's wall time is the harness's own; `waits` defines that."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from _bench import Limit, emulated_memory, report

if TYPE_CHECKING:
    import pytest


def test_overhead(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    memory = emulated_memory(request.config)
    result = tmp_path / "waits"
    here = Path(__file__).parent
    command = [
        sys.executable, "-m", "pytest", "-p", "waits", "-p", "no:cacheprovider", "-q",
        "tests/scrub", "-m", "quick", "--xen-host=emulated", f"--xen-host-memory={memory}",
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(here), "XENSCRUB_WAITS": str(result)}
    done = subprocess.run(
        command, cwd=here.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4000:]
    wall, waited = (float(word) for word in result.read_text().split())
    report("quick suite, wall time", wall, " s")
    report(
        "  of that neither in Xen nor in guests", (1 - waited / wall) * 100, " %", Limit(0, 15.0)
    )

# SPDX-License-Identifier: MIT
"""The processes of a run, to be hit by tests."""

from __future__ import annotations

import contextlib
from pathlib import Path


def below(pid: int) -> list[int]:
    """All processes below one."""
    children = [
        int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if _parent(path) == pid
    ]
    return children + [each for child in children for each in below(child)]


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(") ")[2].split()[1])
    except OSError:
        return 0


def command_of(pid: int) -> str:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    return ""

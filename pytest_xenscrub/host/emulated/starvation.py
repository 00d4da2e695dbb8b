# SPDX-License-Identifier: MIT
"""How long this machine, busy with other work, lets an emulated CPU wait for one of its own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def starved_seconds(process: int, threads: Iterable[int]) -> float:
    """How long these threads were ready to run and did not, s: the one that waited longest.

    Args:
        process: their process.
        threads: their numbers; one that is gone, or that the kernel keeps no account of, counts 0.
    """
    waited = [0]
    for thread in threads:
        try:
            # Documentation/scheduler/sched-stats.rst: ns on a CPU, ns in a run queue, times run.
            _, queued, _ = Path(f"/proc/{process}/task/{thread}/schedstat").read_text().split()
        except (OSError, ValueError):
            continue
        waited.append(int(queued))
    return max(waited) / 1e9

# SPDX-License-Identifier: MIT
"""Measures how long emulated CPUs wait for CPUs of this machine, busy with other work."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


_STEAL = 7


def starved_seconds(process: int, threads: Iterable[int]) -> float:
    """How long these threads were ready but did not run, s: the longest of their waits.

    Args:
        process: the threads' process.
        threads: the threads' numbers; counts 0 for one that is gone or not accounted by the kernel.
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


def stolen_seconds(stat: Path = Path("/proc/stat")) -> float:
    """Steal time of this machine's CPU that has most of it, s; 0 if it is not counted.

    For so long a hypervisor below this machine kept that CPU from running. The kernel counts
    threads as running meanwhile, so `starved_seconds` does not have it.

    Args:
        stat: a file as in Documentation/filesystems/proc.rst: user, nice, system, idle, iowait,
            irq, softirq, steal, in clock ticks.
    """
    stolen = [0]
    try:
        lines = stat.read_text().splitlines()
    except OSError:
        return 0.0
    for line in lines:
        name, *ticks = line.split()
        if name.startswith("cpu") and name != "cpu" and len(ticks) > _STEAL:
            stolen.append(int(ticks[_STEAL]))
    return max(stolen) / os.sysconf("SC_CLK_TCK")

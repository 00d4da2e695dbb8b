# SPDX-License-Identifier: MIT
"""How long this machine, busy with other work, lets an emulated CPU wait for one of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


_STEAL = 7


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


def stolen_seconds(stat: Path = Path("/proc/stat")) -> float:
    """Steal time of the CPU of this machine that has most, s; 0 if it is not counted.

    So long a hypervisor below kept it from running; a thread counts as running meanwhile.

    Args:
        stat: as Documentation/filesystems/proc.rst has it: user, nice, system, idle, iowait, irq,
            softirq, steal, in clock ticks.
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

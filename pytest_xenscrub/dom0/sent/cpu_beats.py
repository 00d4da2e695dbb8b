# SPDX-License-Identifier: MIT
"""A heartbeat on each of dom0's CPUs, so that a stall of a single CPU is noticed too.

Part of the agent. Plain Python 3.6, as the agent is.
"""

import os
import threading
import time
from typing import Dict

# Time between two beats of a CPU, s. With more CPUs than `MOST_CPUS`, each beats less often, so
# that all of them together cost dom0 no more.
BEAT_SECONDS = 0.25
MOST_CPUS = 8


class CpuBeats:
    """A thread on each CPU that sleeps again and again, and notes how late it woke."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._late = 0.0
        self._due: Dict[int, float] = {}

    def start(self) -> None:
        """Start a thread on each CPU that this process may use."""
        cpus = sorted(os.sched_getaffinity(0))
        period = BEAT_SECONDS * max(1, len(cpus) // MOST_CPUS)
        for cpu in cpus:
            threading.Thread(target=self._run, args=(cpu, period), daemon=True).start()

    def _run(self, cpu: int, period: float) -> None:
        try:
            os.sched_setaffinity(0, {cpu})
        except OSError:
            return  # the CPU has just gone offline
        while self.sleep(cpu, period):
            pass

    def sleep(self, cpu: int, period: float) -> bool:
        """Sleep once on this CPU; gives whether to go on."""
        due = time.monotonic() + period
        with self._lock:
            self._due[cpu] = due
        time.sleep(period)
        with self._lock:
            self._late = max(self._late, time.monotonic() - due)
            del self._due[cpu]
        return True

    def latest(self) -> float:
        """The longest delay of a CPU since the last call, s; one that still lasts counts too."""
        with self._lock:
            late, self._late = self._late, 0.0
            now = time.monotonic()
            return max([late, *(now - due for due in self._due.values())])

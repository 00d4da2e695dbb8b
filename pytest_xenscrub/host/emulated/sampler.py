# SPDX-License-Identifier: MIT
"""Samples an emulated machine's CPUs from outside; runs nothing in the machine.

QEMU knows what an emulated CPU executes only while the CPU is stopped, so each sample stops the
machine and its clock. `make bench` measures that this costs little of the machine's own time.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.emulated.cpus import states
from pytest_xenscrub.host.sampling import Sample, Samples

if TYPE_CHECKING:
    from pytest_xenscrub.host.emulated.machine import Machine
    from pytest_xenscrub.host.symbols import Symbols

PER_SECOND = 125
"""Samples in a second of the machine's own time. A higher rate would slow the machine down: after
each sample the CPUs' threads must wake up, and one waits for the other meanwhile."""
_SECONDS = 5.0
"""Limit for QEMU's answer, which takes a millisecond, or never comes."""


class CpuSampler:
    """Samples a machine's CPUs; implements `Sampling`. Only one may run for a machine.

    Args:
        machine: the machine.
        symbols: names of its Xen's functions.
    """

    def __init__(self, machine: Machine, symbols: Symbols) -> None:
        self._machine = machine
        self._symbols = symbols
        self._samples: list[Sample] = []
        self._stopped = 0.0
        self._began = time.monotonic()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="xenscrub-sampler", daemon=True)
        self._thread.start()

    @property
    def running(self) -> bool:
        """Whether the sampler still runs."""
        return not self._ended.is_set()

    def stop(self) -> Samples:
        """Stop, and return the samples."""
        self._ended.set()
        self._thread.join()
        return Samples(tuple(self._samples), self._now(), self._stopped, self._symbols)

    def _now(self) -> float:
        """How long the machine has run since the first sample, s."""
        return time.monotonic() - self._began - self._stopped

    def _run(self) -> None:
        due = 0.0
        try:
            while not self._ended.wait(max(0.0, due - self._now())):
                due = max(due, self._now()) + 1 / PER_SECOND
                self._look()
        except InfrastructureError:
            return  # QEMU has ended: the next use of the machine raises the error

    def _look(self) -> None:
        at, began = self._now(), time.monotonic()
        with self._machine.standing.still(seconds=_SECONDS):
            registers = self._machine.qmp(
                "human-monitor-command", {"command-line": "info registers -a"}, seconds=_SECONDS
            )
        self._stopped += time.monotonic() - began
        self._samples.append(Sample(at, states(registers)))

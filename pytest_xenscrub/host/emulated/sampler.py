# SPDX-License-Identifier: MIT
"""Looks at an emulated machine's CPUs again and again, from outside: nothing runs in the machine.

QEMU knows where an emulated CPU is only while it stands still, so each look stops the machine, its
clock included. What that costs in the machine's own time is little; the bench measures it.
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
"""Looks in a second of the machine's own time: after each, the CPUs' threads must wake
again, and one waits for the other meanwhile."""
_SECONDS = 5.0
"""What QEMU may take to answer: it does in a millisecond, or never."""


class CpuSampler:
    """Samples that are being taken; implements `Sampling`. One at a time for a machine.

    Args:
        machine: to be looked at.
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
        """End it: what was seen."""
        self._ended.set()
        self._thread.join()
        return Samples(tuple(self._samples), self._now(), self._stopped, self._symbols)

    def _now(self) -> float:
        """How long the machine has run since it was first looked at, s."""
        return time.monotonic() - self._began - self._stopped

    def _run(self) -> None:
        due = 0.0
        try:
            while not self._ended.wait(max(0.0, due - self._now())):
                due = max(due, self._now()) + 1 / PER_SECOND
                self._look()
        except InfrastructureError:
            return  # QEMU is gone: whoever uses the machine is told of it

    def _look(self) -> None:
        at, began = self._now(), time.monotonic()
        with self._machine.standing.still(seconds=_SECONDS):
            registers = self._machine.qmp(
                "human-monitor-command", {"command-line": "info registers -a"}, seconds=_SECONDS
            )
        self._stopped += time.monotonic() - began
        self._samples.append(Sample(at, states(registers)))

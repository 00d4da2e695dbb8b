# SPDX-License-Identifier: MIT
"""The view of the emulated host through QEMU: its RAM, its CPUs, and how long it was starved."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.emulated.cpus import describe, states
from pytest_xenscrub.host.emulated.sampler import CpuSampler
from pytest_xenscrub.host.symbols import Symbols

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.emulated.machine import Machine
    from pytest_xenscrub.host.memory import HostMemory


class EmulatedOutside:
    """The view of an emulated host from outside, also after power cycles; implements `Outside`.

    Args:
        machine: the machine that runs now; None without one.
        elf: its Xen with symbols; None for the image's own Xen.
        listed: asks dom0 for the symbols that Xen has in memory.
    """

    def __init__(
        self,
        machine: Callable[[], Machine | None],
        elf: Path | None,
        listed: Callable[[], Symbols],
    ) -> None:
        self._machine = machine
        self._elf = elf
        self._listed = listed
        self._symbols: Symbols | None = None
        self._sampler: CpuSampler | None = None

    @property
    def _running(self) -> Machine:
        machine = self._machine()
        if machine is None:
            raise InfrastructureError("the emulated host has been closed")
        return machine

    @property
    def memory(self) -> HostMemory:
        """The host's RAM, to be read while the host runs."""
        return self._running.memory()

    def settle(self, deadline: Deadline) -> None:
        """Wait until all RAM is populated, because the first access to a missing page is slow."""
        ram = self._running.ram
        if ram is not None and not ram.wait_populated(deadline.remaining):
            raise deadline.error()

    def starved_seconds(self) -> float:
        """How long the machine's CPUs have waited for CPUs of this machine so far, s."""
        machine = self._machine()
        return 0.0 if machine is None else machine.starved_seconds()

    def stood_seconds(self) -> float:
        """How long the machine was stopped so far, s."""
        machine = self._machine()
        return 0.0 if machine is None else machine.standing.stood_seconds()

    def why_ended(self) -> InfrastructureError | None:
        """Why the tool ended the host; None if it did not."""
        machine = self._machine()
        return None if machine is None else machine.ended

    def where_cpus_are(self) -> str:
        """What each CPU executes, a line each; works even if the machine hangs."""
        try:
            registers = self._running.qmp(
                "human-monitor-command", {"command-line": "info registers -a"}, seconds=5
            )
        except InfrastructureError as error:
            return str(error)
        return describe(states(registers), self._symbols or self._built_symbols())

    def start_sampling(self) -> CpuSampler | None:
        """Start to sample the CPUs; None if a sampler runs already."""
        if self._sampler is not None and self._sampler.running:
            return None
        if self._symbols is None:
            self._symbols = self._built_symbols() or self._listed()
        self._sampler = CpuSampler(self._running, self._symbols)
        return self._sampler

    def _built_symbols(self) -> Symbols:
        """The symbols of the Xen that was built; none for the image's own."""
        return Symbols() if self._elf is None else Symbols.from_elf(self._elf)

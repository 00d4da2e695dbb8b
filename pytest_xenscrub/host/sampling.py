# SPDX-License-Identifier: MIT
"""Samples of a host's CPUs, taken from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pytest_xenscrub.host.symbols import Symbols

_XEN_FIRST = 0xFFFF82D000000000
_XEN_END = 0xFFFF82E000000000
"""The address range of Xen's own code (xen/include/asm-x86/config.h)."""


@dataclass(frozen=True)
class CpuState:
    """The state of one CPU.

    Attributes:
        cpu: the CPU's number.
        address: address of the next instruction; None if QEMU did not tell.
        ring: privilege level: 0 for Xen, 3 for everything above it (PV); None if QEMU did not tell.
        halted: whether the CPU waited for an interrupt.
    """

    cpu: int
    address: int | None
    ring: int | None
    halted: bool

    @property
    def in_xen(self) -> bool:
        """Whether the CPU executed Xen's own code."""
        return self.address is not None and _XEN_FIRST <= self.address < _XEN_END


@dataclass(frozen=True)
class Sample:
    """All CPUs at one moment.

    Attributes:
        at: s since sampling began, without the time in which the machine was stopped.
        cpus: the state of each CPU.
    """

    at: float
    cpus: tuple[CpuState, ...]


@dataclass(frozen=True)
class Samples:
    """All samples of a period.

    Attributes:
        samples: the samples, in order of time.
        seconds: how long the machine ran in that period, s.
        stopped_seconds: how long it was stopped besides, for the samples, s.
        symbols: names of its Xen's functions.
    """

    samples: tuple[Sample, ...]
    seconds: float
    stopped_seconds: float
    symbols: Symbols


class Sampling(Protocol):
    """A sampler that runs."""

    def stop(self) -> Samples:
        """Stop, and return the samples, also of a machine that is gone by now. Never raises."""

# SPDX-License-Identifier: MIT
"""Where a host's CPUs were, looked at again and again from outside."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pytest_xenscrub.host.symbols import Symbols

_XEN_FIRST = 0xFFFF82D000000000
_XEN_END = 0xFFFF82E000000000
"""Where Xen's own code lies (xen/include/asm-x86/config.h)."""


@dataclass(frozen=True)
class CpuState:
    """What one CPU was doing.

    Attributes:
        cpu: its number.
        address: of the instruction that it was about to execute; None where nobody said.
        ring: its privilege: 0 for Xen, 3 for what runs on it (PV); None where nobody said.
        halted: whether it waited for an interrupt.
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
        at: s since sampling began, by a clock that stands still with the machine, as its own does.
        cpus: what each was doing.
    """

    at: float
    cpus: tuple[CpuState, ...]


@dataclass(frozen=True)
class Samples:
    """What was seen.

    Attributes:
        samples: in the order of time.
        seconds: how long the machine ran while it was looked at, s.
        stopped_seconds: how long it stood still beside that, to be looked at, s.
        symbols: names of its Xen's functions.
    """

    samples: tuple[Sample, ...]
    seconds: float
    stopped_seconds: float
    symbols: Symbols


class Sampling(Protocol):
    """Samples that are being taken."""

    def stop(self) -> Samples:
        """End it: what was seen. Never raises: a machine that is gone has been seen until then."""

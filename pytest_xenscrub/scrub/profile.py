# SPDX-License-Identifier: MIT
"""Where a destroy spends its time: samples of all CPUs, before the destroy returned and after it.

The address that a CPU executes tells whose code it is, because the address ranges are fixed: the
guests' kernel has the first MiBs of the kernel half of the address space, dom0's Linux begins
behind them, and only dom0 has user space.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_xenscrub.host.sampling import CpuState, Samples
    from pytest_xenscrub.host.symbols import Symbols

DESTROY, AFTER = "destroy", "after"
"""The two parts of a profile: until the toolstack returned, and after that."""
XEN, DOM0_KERNEL, DOM0_USER, GUESTS, IDLE = (
    "Xen", "dom0 kernel", "dom0 user space", "guests", "idle",
)  # fmt: skip
NO_SYMBOL = "(no symbol)"
_USER_END = 1 << 47
_GUEST_FIRST = 0xFFFFFFFF80000000
_GUEST_END = 0xFFFFFFFF81000000


@dataclasses.dataclass(frozen=True)
class Part:
    """Samples of one part of a destroy.

    Attributes:
        seconds: duration of the part, s. A short part without samples says nothing about the CPUs.
        samples: number of times that all CPUs were sampled.
        stacks: number of samples by stack, named as flame-graph tools expect: `Xen;function`, `dom0
            kernel`, `idle`.
    """

    seconds: float
    samples: int
    stacks: dict[str, int]

    def cpu_seconds(self, stack: str) -> float:
        """CPU time that all CPUs together spent in a stack, s."""
        return self.stacks.get(stack, 0) / self.samples * self.seconds if self.samples else 0.0


@dataclasses.dataclass(frozen=True)
class Profile:
    """What the CPUs executed while a guest ended.

    Attributes:
        symbols: origin of the names of Xen's functions; empty without names.
        stopped_seconds: how long sampling stopped the machine and its clock, s.
        destroy: the part until the toolstack returned.
        after: the part from then until the tool stopped watching the guest's memory.
    """

    symbols: str
    stopped_seconds: float
    destroy: Part
    after: Part

    def as_dict(self) -> dict[str, object]:
        """The profile as a dictionary, for JSON."""
        return dataclasses.asdict(self)


def profile_from(flat: dict[str, object]) -> Profile:
    """The profile that `as_dict` turned into `flat`."""
    parts = {name: Part(**flat[name]) for name in (DESTROY, AFTER)}  # type: ignore[arg-type]
    return Profile(**{**flat, **parts})  # type: ignore[arg-type]


def profile_of(samples: Samples, destroy_seconds: float | None) -> Profile:
    """Sum up samples into a profile.

    Args:
        samples: samples from just before the end of the guest was asked for.
        destroy_seconds: time until the toolstack returned, s; None if the guest ended without a
            toolstack, and then all samples belong to `after`.
    """
    returned = min(destroy_seconds or 0.0, samples.seconds)
    stacks: dict[str, Counter[str]] = {DESTROY: Counter(), AFTER: Counter()}
    looks: Counter[str] = Counter()
    for sample in samples.samples:
        part = DESTROY if sample.at < returned else AFTER
        looks[part] += 1
        stacks[part].update(_place(cpu, samples.symbols) for cpu in sample.cpus)
    return Profile(
        symbols=samples.symbols.origin,
        stopped_seconds=samples.stopped_seconds,
        destroy=Part(returned, looks[DESTROY], dict(stacks[DESTROY])),
        after=Part(samples.seconds - returned, looks[AFTER], dict(stacks[AFTER])),
    )


def _place(cpu: CpuState, symbols: Symbols) -> str:
    if cpu.halted or cpu.address is None:
        return IDLE
    if cpu.in_xen:
        return f"{XEN};{symbols.name(cpu.address) or NO_SYMBOL}"
    if cpu.address < _USER_END:
        return DOM0_USER
    return GUESTS if _GUEST_FIRST <= cpu.address < _GUEST_END else DOM0_KERNEL

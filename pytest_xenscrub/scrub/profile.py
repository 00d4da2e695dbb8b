# SPDX-License-Identifier: MIT
"""Where a destroy spends its time: what sampled CPUs were doing, before it returned and after.

Who an address belongs to is known by where it lies, as all guests are ours: their kernel has the
first MiBs of what is a kernel's half of the address space, dom0's Linux begins behind that, and
user space is dom0's alone.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pytest_xenscrub.host.sampling import CpuState, Samples
    from pytest_xenscrub.host.symbols import Symbols

DESTROY, AFTER = "destroy", "after"
"""The two parts of a profile: until the toolstack returned, and from then on."""
XEN, DOM0_KERNEL, DOM0_USER, GUESTS, IDLE = (
    "Xen", "dom0 kernel", "dom0 user space", "guests", "idle",
)  # fmt: skip
NO_SYMBOL = "(no symbol)"
_USER_END = 1 << 47
_GUEST_FIRST = 0xFFFFFFFF80000000
_GUEST_END = 0xFFFFFFFF81000000


@dataclasses.dataclass(frozen=True)
class Part:
    """What was seen of one part of a destroy.

    Attributes:
        seconds: how long it lasted, s; that there was no look at all says nothing then.
        samples: how often all CPUs were looked at.
        stacks: how often each was seen on a CPU, as flame-graph tools have it: `Xen;function`,
            `dom0 kernel`, `idle`.
    """

    seconds: float
    samples: int
    stacks: dict[str, int]

    def cpu_seconds(self, stack: str) -> float:
        """What the CPUs together spent there, s."""
        return self.stacks.get(stack, 0) / self.samples * self.seconds if self.samples else 0.0


@dataclasses.dataclass(frozen=True)
class Profile:
    """Where the CPUs were while a guest ended.

    Attributes:
        symbols: where the names of Xen's functions come from; empty where there are none.
        stopped_seconds: how long the machine, and its clock, stood still to be looked at, s.
        destroy: until the toolstack returned.
        after: from then on, until nobody watched the guest's memory any more.
    """

    symbols: str
    stopped_seconds: float
    destroy: Part
    after: Part

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return dataclasses.asdict(self)


def profile_from(flat: dict[str, object]) -> Profile:
    """The profile of which `as_dict` made `flat`."""
    parts = {name: Part(**flat[name]) for name in (DESTROY, AFTER)}  # type: ignore[arg-type]
    return Profile(**{**flat, **parts})  # type: ignore[arg-type]


def profile_of(samples: Samples, destroy_seconds: float | None) -> Profile:
    """What samples mean.

    Args:
        samples: taken from right before the end was asked for.
        destroy_seconds: how long it took to return, s; None where no toolstack was asked, and
            then all of it is `after`.
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

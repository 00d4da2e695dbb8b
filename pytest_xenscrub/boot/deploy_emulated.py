# SPDX-License-Identifier: MIT
"""Boots the chosen Xen on the emulated host."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_xenscrub.boot.deploy import with_tools
from pytest_xenscrub.deadline import HANG_SECONDS, Deadline
from pytest_xenscrub.host.boot_log import LINES, blamed
from pytest_xenscrub.hypervisor.interface import tools_of_suite
from pytest_xenscrub.limits import usable_cpus

if TYPE_CHECKING:
    from pytest_xenscrub.boot.deploy import ToolsFor
    from pytest_xenscrub.errors import XenScrubError
    from pytest_xenscrub.host.emulated import EmulatedHost
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.hypervisor.choice import ChosenXen
    from pytest_xenscrub.limits import Memory
    from pytest_xenscrub.telling import Say


IMAGE_SECONDS = 570.0
EMULATED_CPUS = 2
"""CPUs of a host without --xen-host-cpus."""
EMULATED_BOOT_SECONDS = 900.0
"""Limit for booting the emulated host and saving it, s. A cold boot takes 10 s, on a busy machine
160 s. A Xen that hangs is found long before."""


@dataclass(frozen=True)
class EmulatedChoice:
    """The emulated host that is wanted.

    Attributes:
        suite: Debian release of dom0.
        memory_bytes: the host's memory; None for a share of what is available.
        nodes: number of NUMA nodes.
        hang_seconds: time without progress that counts as a hang of a booting Xen, s.
        accel: "kvm", "tcg" or "auto".
        device_model: whether dom0 must be able to start HVM guests.
        ram_limit: memory of this machine that the host's RAM may take; None for half of what is
            available.
        memory: memory that was available to all workers before their hosts started; None for what
            is available now.
        cpus: number of CPUs; None for two, or for this machine's if it has fewer.
    """

    suite: str
    memory_bytes: int | None
    nodes: int = 1
    hang_seconds: float = HANG_SECONDS
    accel: str = "auto"
    device_model: bool = False
    ram_limit: int | None = None
    cpus: int | None = None
    memory: Memory | None = None


class EmulatedDeployment:
    """Boots the chosen Xen on the emulated host; a saved machine for each Xen makes that fast."""

    def __init__(
        self,
        xen: ChosenXen,
        choice: EmulatedChoice,
        *,
        tools_for: ToolsFor,
        say: Say,
    ) -> None:
        self._xen = xen
        self._choice = choice
        self._tools_for = tools_for
        self._say = say
        self._host: EmulatedHost | None = None

    def start(self) -> Host:
        """Boot the host, or resume a saved machine."""
        from pytest_xenscrub.host.emulated import (  # noqa: PLC0415 - only when it is used
            EmulatedHost,
            MachineSpec,
            choose_ram,
            prepare_image,
        )

        choice = self._choice
        ram = choose_ram(
            choice.memory_bytes, choice.ram_limit, say=self._say, share_with=_workers(),
            memory=choice.memory,
        )  # fmt: skip
        artefact = self._xen.artefact
        suite = self._choice.suite
        tools = self._tools_for(self._xen, tools_of_suite(suite), suite)
        spec = MachineSpec(
            suite=suite,
            memory_bytes=ram.memory_bytes,
            cpus=self._cpus(),
            nodes=self._choice.nodes,
            hypervisor=None if artefact is None else artefact.elf,
            xen_cmdline=self._xen.cmdline,
            symbols=None if artefact is None else artefact.symbols,
            device_model=self._choice.device_model,
            ram_limit=ram.limit,
        )
        prepare_image(spec, self._say, Deadline.after(IMAGE_SECONDS, "building the host's image"))
        deadline = Deadline.after(EMULATED_BOOT_SECONDS, f"emulated: booting Xen {self._xen.name}")
        host = EmulatedHost.start(
            spec,
            say=self._say,
            deadline=deadline,
            hang_seconds=self._choice.hang_seconds,
            accel=self._choice.accel,
        )
        self._say(f"{host.name}: {host.started} start in {host.boot_seconds:.1f} s")
        self._host = host
        return with_tools(host, tools)

    def _cpus(self) -> int:
        """Number of CPUs of the host; tells the user if this machine has fewer."""
        here, wanted = usable_cpus(), self._choice.cpus
        if wanted is None:
            return min(EMULATED_CPUS, here)
        if wanted > here:
            self._say(
                f"emulated: {wanted} CPUs on {here} of this machine's: they run in turns, and count"
                " as starved while they wait"
            )
        return wanted

    def blamed(self, error: XenScrubError) -> XenScrubError:
        """The error to report: once dom0 has answered, the Xen may be to blame for silence."""
        if self._host is None:
            return error
        starved = self._host.starved_since_boot
        return blamed(error, self._host.serial_tail(LINES), starved=starved)

    @property
    def defers(self) -> bool | None:
        """Whether the Xen defers scrubbing; the host's own is Debian's, which does so."""
        return True if self._xen.artefact is None else self._xen.variant.defers

    def stop(self, *, broken: bool) -> None:
        """Power the host off."""
        if self._host is not None:
            self._host.close()


def _workers() -> int:
    """Number of processes that share this machine: pytest-xdist's workers, each with a host."""
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))

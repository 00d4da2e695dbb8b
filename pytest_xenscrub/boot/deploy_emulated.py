# SPDX-License-Identifier: MIT
"""The emulated host: it boots the chosen Xen itself."""

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
    from pytest_xenscrub.telling import Say


IMAGE_SECONDS = 570.0
EMULATED_CPUS = 2
EMULATED_BOOT_SECONDS = 900.0
"""To boot the emulated host and save it, s: a cold boot takes ten, and on a machine that is busy
with other work 160. A Xen that hangs is told from that long before."""


@dataclass(frozen=True)
class EmulatedChoice:
    """What emulated host is wanted.

    Attributes:
        suite: Debian release of its dom0.
        memory_bytes: its memory; None for a share of what is available.
        nodes: its NUMA nodes.
        hang_seconds: for how long nothing may move before a Xen that boots hangs, s.
        accel: "kvm", "tcg" or "auto".
        device_model: whether its dom0 is to start HVM guests.
        ram_limit: what of this machine its RAM may take; None for half of what is available.
    """

    suite: str
    memory_bytes: int | None
    nodes: int = 1
    hang_seconds: float = HANG_SECONDS
    accel: str = "auto"
    device_model: bool = False
    ram_limit: int | None = None


class EmulatedDeployment:
    """The emulated host boots the chosen Xen itself; a saved machine for each makes that fast."""

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
        """Boot it, or go on from a saved machine."""
        from pytest_xenscrub.host.emulated import (  # noqa: PLC0415 - only when it is used
            EmulatedHost,
            MachineSpec,
            choose_ram,
            prepare_image,
        )

        choice = self._choice
        ram = choose_ram(
            choice.memory_bytes, choice.ram_limit, say=self._say, share_with=_workers()
        )
        artefact = self._xen.artefact
        suite = self._choice.suite
        tools = self._tools_for(self._xen, tools_of_suite(suite), suite)
        spec = MachineSpec(
            suite=suite,
            memory_bytes=ram.memory_bytes,
            cpus=min(EMULATED_CPUS, usable_cpus()),
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

    def blamed(self, error: XenScrubError) -> XenScrubError:
        """Once its dom0 has answered, silence may be the Xen's fault."""
        if self._host is None:
            return error
        starved = self._host.starved_since_boot
        return blamed(error, self._host.serial_tail(LINES), starved=starved)

    @property
    def defers(self) -> bool | None:
        """The emulated host's own Xen is Debian's, which does since 4.10."""
        return True if self._xen.artefact is None else self._xen.variant.defers

    def stop(self, *, broken: bool) -> None:
        """Power it off."""
        if self._host is not None:
            self._host.close()


def _workers() -> int:
    """How many processes share this machine: pytest-xdist's workers, each with a host."""
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))

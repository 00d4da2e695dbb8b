# SPDX-License-Identifier: MIT
"""How a host comes to run the Xen that was chosen, and gets its own back."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pytest_xenscrub.boot.reboot import running
from pytest_xenscrub.boot.recovery import (
    REBOOT_SECONDS,
    destroy_run_guests,
    recover,
    wait_for_xenstore,
)
from pytest_xenscrub.boot.tools_dom0 import HostWithTools, activate, install, remove
from pytest_xenscrub.deadline import HANG_SECONDS, Deadline
from pytest_xenscrub.errors import (
    ConfigurationError,
    DeadlineExceededError,
    HostUnusableError,
    InfrastructureError,
    XenScrubError,
)
from pytest_xenscrub.host.boot_log import LINES, blamed
from pytest_xenscrub.host.power import PowerSwitch, SerialLog
from pytest_xenscrub.hypervisor.interface import tools_of_suite
from pytest_xenscrub.limits import usable_cpus

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_xenscrub.boot.grub import OneShotBoot
    from pytest_xenscrub.boot.reboot import Running
    from pytest_xenscrub.host.description import HostDescription
    from pytest_xenscrub.host.emulated import EmulatedHost
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.host.ssh import SshHost
    from pytest_xenscrub.hypervisor.choice import ChosenXen
    from pytest_xenscrub.hypervisor.interface import Interfaces
    from pytest_xenscrub.hypervisor.tools_artefact import ToolsArtefact

    ToolsFor = Callable[[ChosenXen, Interfaces, str], ToolsArtefact | None]

IMAGE_SECONDS = 570.0
EMULATED_CPUS = 2
EMULATED_BOOT_SECONDS = 900.0
"""To boot the emulated host and save it, s: a cold boot takes ten, and on a machine that is busy
with other work 160. A Xen that hangs is told from that long before."""
ASK_SECONDS = 60.0
TOOLS_SECONDS = 120.0
_GIVE_BACK_BROKEN_SECONDS = 60.0


class Deployment(Protocol):
    """A host, with the Xen that was chosen running on it between `start` and `stop`."""

    def start(self) -> Host:
        """Have the Xen run.

        Raises:
            InfrastructureError: the host cannot be had, or something around the Xen failed.
            XenFaultError: the Xen was started, and does not come up.
            UndecidedError: the Xen was started, and nothing tells why nobody answers.
        """

    def blamed(self, error: XenScrubError) -> XenScrubError:
        """The same error, or the one that it is because the Xen had been started before it."""

    @property
    def defers(self) -> bool | None:
        """Whether the Xen leaves unscrubbed pages after a destroy; None where nobody knows."""

    def stop(self, *, broken: bool) -> None:
        """Give the host back as it was. Never raises, may be called twice.

        Args:
            broken: it may no longer answer, so that waiting for it is in vain.
        """


@dataclass(frozen=True)
class EmulatedChoice:
    """What emulated host is wanted.

    Attributes:
        suite: Debian release of its dom0.
        memory_bytes: its memory; None for a share of what is available.
        nodes: its NUMA nodes.
        hang_seconds: for how long nothing may move before a Xen that boots hangs, s.
        accel: "kvm", "tcg" or "auto".
    """

    suite: str
    memory_bytes: int | None
    nodes: int = 1
    hang_seconds: float = HANG_SECONDS
    accel: str = "auto"


class EmulatedDeployment:
    """The emulated host boots the chosen Xen itself; a saved machine for each makes that fast."""

    def __init__(
        self,
        xen: ChosenXen,
        choice: EmulatedChoice,
        *,
        tools_for: ToolsFor,
        say: Callable[[str], None],
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
            check_memory,
            default_memory_bytes,
            prepare_image,
        )

        wanted = self._choice.memory_bytes
        if wanted is None:
            memory = default_memory_bytes(share_with=_workers())
        else:
            memory = check_memory(wanted)
        artefact = self._xen.artefact
        suite = self._choice.suite
        tools = self._tools_for(self._xen, tools_of_suite(suite), suite)
        spec = MachineSpec(
            suite=suite,
            memory_bytes=memory,
            cpus=min(EMULATED_CPUS, usable_cpus()),
            nodes=self._choice.nodes,
            hypervisor=None if artefact is None else artefact.elf,
            xen_cmdline=self._xen.cmdline,
            symbols=None if artefact is None else artefact.symbols,
        )
        prepare_image(spec, self._say, Deadline.after(IMAGE_SECONDS, "building the host's image"))
        deadline = Deadline.after(EMULATED_BOOT_SECONDS, f"emulated: booting Xen {self._xen.name}")
        host = EmulatedHost.start(
            spec,
            progress=self._say,
            deadline=deadline,
            hang_seconds=self._choice.hang_seconds,
            accel=self._choice.accel,
        )
        self._say(f"{host.name}: {host.started} start in {host.boot_seconds:.1f} s")
        self._host = host
        return with_tools(host, tools)

    def blamed(self, error: XenScrubError) -> XenScrubError:
        """Once its dom0 has answered, silence may be the Xen's fault."""
        return error if self._host is None else blamed(error, self._host.serial_tail(LINES))

    @property
    def defers(self) -> bool | None:
        """The emulated host's own Xen is Debian's, which does since 4.10."""
        return True if self._xen.artefact is None else self._xen.variant.defers

    def stop(self, *, broken: bool) -> None:
        """Power it off."""
        if self._host is not None:
            self._host.close()


class SshDeployment:
    """A machine that runs Xen already; another one is booted once through its GRUB.

    Args:
        xen: what is to run.
        described: the machine.
        config: an ssh configuration in place of the user's own.
        tag: marks what is put on the machine.
        lock: gets the machine's lock again, which a reboot takes from us.
        tools_for: the tools that drive the Xen.
        say: prints a line for the user.
    """

    def __init__(
        self,
        xen: ChosenXen,
        described: HostDescription,
        *,
        config: Path | None,
        tag: str,
        lock: Callable[[], None],
        tools_for: ToolsFor,
        say: Callable[[str], None],
    ) -> None:
        if xen.artefact is None and xen.cmdline:
            raise ConfigurationError(
                "--xen-cmdline cannot change the boot options of the Xen that"
                f" {described.name} runs",
                todo="add --xen-variant=stock, or another one that is booted by us",
            )
        self._xen = xen
        self._described = described
        self._config = config
        self._tag = tag
        self._lock = lock
        self._tools_for = tools_for
        self._tools: ToolsArtefact | None = None
        self._say = say
        self._host: SshHost | None = None
        self._once: OneShotBoot | None = None
        self._boot: Running | None = None
        self._started = False
        self._lost: HostUnusableError | None = None
        self._power: PowerSwitch | None = None
        if described.power and described.target is not None:
            self._power = PowerSwitch(described.power, described.label, described.target.host)

    def start(self) -> Host:
        """Connect; boot the chosen Xen if there is one to boot."""
        from pytest_xenscrub.host.ssh import SshHost  # noqa: PLC0415 - only when it is used

        described = self._described
        if described.target is None:
            raise TypeError(f"{described.name} is not reached over ssh")
        if self._lost is not None:
            raise self._lost
        address = described.target.host
        serial = SerialLog(described.serial, described.label, address) if described.serial else None
        host = self._host = SshHost(
            described.target,
            config=self._config,
            name=described.name,
            serial=None if serial is None else serial.tail,
        )
        try:
            self._boot = running(host, Deadline.after(ASK_SECONDS, f"{host.name}: which Xen runs"))
        except XenScrubError as error:
            # Whatever Xen was chosen, this is not its doing.
            raise unusable(error) from None
        self._lock()
        artefact = self._xen.artefact
        if artefact is not None:
            from pytest_xenscrub.boot.grub import OneShotBoot  # noqa: PLC0415
            from pytest_xenscrub.boot.interface_probe import ask_tools  # noqa: PLC0415

            spoken = ask_tools(host, deadline=Deadline.after(ASK_SECONDS, "dom0's interfaces"))
            self._tools = self._tools_for(self._xen, spoken, "")
            self._say(f"{host.name}: booting Xen {self._xen.name} once")
            self._once = OneShotBoot(host, artefact, xen_cmdline=self._xen.cmdline, tag=self._tag)
            self._boot = self._once.boot(
                Deadline.after(REBOOT_SECONDS, f"{host.name}: booting Xen {self._xen.name}")
            )
            self._lock()
            wait_for_xenstore(host)
        self._started = True
        return with_tools(host, self._tools)

    def blamed(self, error: XenScrubError) -> XenScrubError:
        """Once the machine has booted the Xen, silence may be its fault."""
        if self._host is None or self._once is None or not self._once.booted:
            return error
        return blamed(error, self._once.log())

    @property
    def defers(self) -> bool | None:
        """What is known of the Xen; of the machine's own, nothing is."""
        return self._xen.variant.defers

    def stop(self, *, broken: bool) -> None:
        """Have it answer, boot its own Xen again, remove what is ours, and let go of it."""
        host, self._host = self._host, None
        if host is None:
            return
        try:
            self._give_back(host, broken=broken)
        except XenScrubError as error:
            # It boots its own Xen by default: what is left is a file and an entry.
            self._say(f"{host.name}: was not put back: {error}")
            self._lost = unusable(error)
        self._once = None
        self._started = False
        host.close()

    def _give_back(self, host: SshHost, *, broken: bool) -> None:
        if broken:
            self._recover(host)
        if self._once is None:
            return
        self._say(f"{host.name}: booting its own Xen again")
        try:
            self._put_back(host, self._once)
        except (InfrastructureError, DeadlineExceededError):
            if self._power is None:
                raise
            self._recover(host)
            self._put_back(host, self._once)
        self._lock()

    def _put_back(self, host: SshHost, once: OneShotBoot) -> None:
        deadline = Deadline.after(REBOOT_SECONDS, f"{host.name}: booting its own Xen again")
        if self._tools is not None:
            remove(host, self._tools, deadline=deadline)
        once.restore(deadline)

    def _recover(self, host: SshHost) -> None:
        # Where the chosen Xen did not come up, it has been waited for already.
        patience = REBOOT_SECONDS if self._started else _GIVE_BACK_BROKEN_SECONDS
        recover(host, self._power, since=self._boot, patience=patience, say=self._say)
        self._lock()
        for name in destroy_run_guests(host, self._tag):
            self._say(f"{host.name}: {name} was left, and is destroyed")


def unusable(error: XenScrubError) -> HostUnusableError:
    """The same, as what it means for a host."""
    if isinstance(error, HostUnusableError):
        return error
    return HostUnusableError(
        error.what, tried=error.tried, todo=error.todo, evidence=error.evidence
    )


def with_tools(host: Host, tools: ToolsArtefact | None) -> Host:
    """The host, driven with tools of our own if there are any to be put there."""
    if tools is None:
        return host
    deadline = Deadline.after(TOOLS_SECONDS, f"{host.name}: putting tools into dom0")
    install(host, tools, deadline=deadline)
    return HostWithTools(host, activate(host, tools, deadline=deadline))


def _workers() -> int:
    """How many processes share this machine: pytest-xdist's workers, each with a host."""
    return int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))

# SPDX-License-Identifier: MIT
"""Boots the chosen Xen once on a machine that is reached over ssh, and its own Xen afterwards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_xenscrub.boot.deploy import with_tools
from pytest_xenscrub.boot.reboot import running
from pytest_xenscrub.boot.recovery import (
    REBOOT_SECONDS,
    destroy_run_guests,
    recover,
    wait_for_xenstore,
)
from pytest_xenscrub.boot.tools_dom0 import remove
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import (
    ConfigurationError,
    DeadlineExceededError,
    HostUnusableError,
    InfrastructureError,
    XenScrubError,
)
from pytest_xenscrub.host.boot_log import blamed
from pytest_xenscrub.host.power import PowerSwitch, SerialLog

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_xenscrub.boot.command_boot import BootOnce
    from pytest_xenscrub.boot.deploy import ToolsFor
    from pytest_xenscrub.boot.reboot import Running
    from pytest_xenscrub.host.description import HostDescription
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.host.ssh import SshHost
    from pytest_xenscrub.hypervisor.artefact import Artefact
    from pytest_xenscrub.hypervisor.choice import ChosenXen
    from pytest_xenscrub.hypervisor.tools_artefact import ToolsArtefact
    from pytest_xenscrub.telling import Say


ASK_SECONDS = 60.0
_GIVE_BACK_BROKEN_SECONDS = 60.0


class SshDeployment:
    """Boots another Xen once on a machine that runs Xen already, by GRUB or a boot command.

    Args:
        xen: the Xen to run.
        described: the machine.
        config: an ssh configuration in place of the user's own.
        tag: marks the files and the boot entry of this run.
        lock: takes the machine's lock again, which a reboot releases.
        tools_for: gives the tools that drive the Xen.
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
        say: Say,
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
        self._once: BootOnce | None = None
        self._boot: Running | None = None
        self._started = False
        self._lost: HostUnusableError | None = None
        self._power: PowerSwitch | None = None
        if described.power and described.target is not None:
            self._power = PowerSwitch(described.power, described.label, described.target.host)

    def start(self) -> Host:
        """Connect, and boot the chosen Xen if there is one to boot."""
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
            # The chosen Xen is not to blame, because it was not started yet.
            raise unusable(error) from None
        self._lock()
        artefact = self._xen.artefact
        if artefact is not None:
            from pytest_xenscrub.boot.interface_probe import ask_tools  # noqa: PLC0415

            spoken = ask_tools(host, deadline=Deadline.after(ASK_SECONDS, "dom0's interfaces"))
            self._tools = self._tools_for(self._xen, spoken, "")
            self._say(f"{host.name}: booting Xen {self._xen.name} once")
            self._once = self._way(host, artefact)
            self._boot = self._once.boot(
                Deadline.after(REBOOT_SECONDS, f"{host.name}: booting Xen {self._xen.name}")
            )
            self._lock()
            wait_for_xenstore(host)
        self._started = True
        return with_tools(host, self._tools)

    def _way(self, host: SshHost, artefact: Artefact) -> BootOnce:
        """The way in which this machine boots another Xen once."""
        from pytest_xenscrub.boot.command_boot import CommandBoot  # noqa: PLC0415 - as above
        from pytest_xenscrub.boot.grub import OneShotBoot  # noqa: PLC0415 - as above

        options = self._xen.cmdline
        if self._described.boot:
            return CommandBoot(host, self._described, artefact, xen_cmdline=options)
        return OneShotBoot(host, artefact, xen_cmdline=options, tag=self._tag)

    def blamed(self, error: XenScrubError) -> XenScrubError:
        """The error to report: once the Xen was booted, it may be to blame for silence."""
        if self._host is None or self._once is None or not self._once.booted:
            return error
        return blamed(error, self._once.log())

    @property
    def defers(self) -> bool | None:
        """Whether the Xen defers scrubbing; None for the machine's own, which is unknown."""
        return self._xen.variant.defers

    def stop(self, *, broken: bool) -> None:
        """Recover the machine, boot its own Xen again, remove this run's files, and release it."""
        host, self._host = self._host, None
        if host is None:
            return
        try:
            self._give_back(host, broken=broken)
        except XenScrubError as error:
            # The machine boots its own Xen by default, so only a file and an entry are left there.
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
        back = "booting its own Xen again" if self._once.booted else "removing what was put there"
        self._say(f"{host.name}: {back}")
        try:
            self._put_back(host, self._once)
        except (InfrastructureError, DeadlineExceededError):
            if self._power is None:
                raise
            self._recover(host)
            self._put_back(host, self._once)
        self._lock()

    def _put_back(self, host: SshHost, once: BootOnce) -> None:
        deadline = Deadline.after(REBOOT_SECONDS, f"{host.name}: booting its own Xen again")
        if self._tools is not None:
            remove(host, self._tools, deadline=deadline)
        once.restore(deadline)

    def _recover(self, host: SshHost) -> None:
        # If the chosen Xen did not come up, the run has waited for the machine already.
        patience = REBOOT_SECONDS if self._started else _GIVE_BACK_BROKEN_SECONDS
        recover(host, self._power, since=self._boot, patience=patience, say=self._say)
        self._lock()
        for name in destroy_run_guests(host, self._tag):
            self._say(f"{host.name}: {name} was left, and is destroyed")


def unusable(error: XenScrubError) -> HostUnusableError:
    """The error as one that declares the host unusable."""
    if isinstance(error, HostUnusableError):
        return error
    return HostUnusableError(
        error.what, tried=error.tried, todo=error.todo, evidence=error.evidence
    )

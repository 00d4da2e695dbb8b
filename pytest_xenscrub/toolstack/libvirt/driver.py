# SPDX-License-Identifier: MIT
"""The libvirt toolstack; its calls are timed in dom0, where its daemon gets them."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from typing import TYPE_CHECKING, ClassVar

import libvirt

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.answers import TimedResult
from pytest_xenscrub.errors import CommandError, NotApplicableError, XenScrubError
from pytest_xenscrub.toolstack.base import ToolstackBase
from pytest_xenscrub.toolstack.libvirt.console import LibvirtConsole
from pytest_xenscrub.toolstack.libvirt.xml import domain_xml
from pytest_xenscrub.toolstack.protocol import Created, DomainConfig, Listed

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.dom0.answers import Reclaim, Until
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest_type import GuestType
    from pytest_xenscrub.toolstack.libvirt.connection import Keeper, LibvirtConnection

_TIMING_SECONDS = 30.0
_LOGS = "/var/log/libvirt/libxl"
_STATES = {
    libvirt.VIR_DOMAIN_RUNNING: "r-----",
    libvirt.VIR_DOMAIN_BLOCKED: "-b----",
    libvirt.VIR_DOMAIN_PAUSED: "--p---",
    libvirt.VIR_DOMAIN_SHUTDOWN: "---s--",
    libvirt.VIR_DOMAIN_SHUTOFF: "---s--",
    libvirt.VIR_DOMAIN_CRASHED: "----c-",
}


class Libvirt(ToolstackBase):
    """Drives libvirt; implements `Toolstack`.

    Args:
        dom0: the agent that watches.
        tag: as for every driver.
        keeper: holds the connection.
    """

    name = "libvirt"
    # libvirt cannot replace the firmware of an HVM guest.
    types: ClassVar[tuple[GuestType, ...]] = ("pv", "pvh")
    claims = (False,)  # libvirt builds all guests without claims, and has no switch for that
    places = False
    sizes_pool = False
    # libvirtd 9.0 may then wait for a lock of its own for good: its main thread sleeps in a futex,
    # all others are idle, and no call of any connection ends.
    survives_early_crashes = False
    builder = None
    logs = f"{_LOGS}/"
    by_hand = "virsh -c xen:///system destroy"

    def __init__(self, dom0: Dom0, tag: str, keeper: Keeper) -> None:
        super().__init__(dom0, tag)
        self._keeper = keeper

    @property
    def _connection(self) -> LibvirtConnection:
        return self._keeper.get(self.dom0)

    @property
    def version(self) -> str:
        """The daemon's version."""
        deadline = self._deadline(_TIMING_SECONDS, "asking for libvirt's version")
        number = self._connection.call(deadline, self._connection.virt.getLibVersion)
        return f"{number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"

    def install(self, kernel: Path) -> None:
        """Copy a guest kernel into this run's folder in dom0.

        Connects to libvirt, too, so that a libvirt that cannot be used is reported before any guest
        is created.
        """
        self._keeper.get(self.dom0)
        super().install(kernel)

    def create(self, config: DomainConfig, *, deadline: Deadline) -> Created:
        """`virDomainCreateXML`."""
        connection = self._connection
        xml = domain_xml(config, self.kernel)
        flags = libvirt.VIR_DOMAIN_START_PAUSED if config.paused else 0
        try:
            domain = connection.call(deadline, connection.virt.createXML, xml, flags)
        except CommandError as error:
            # libvirt itself only says "libxenlight failed to create new domain".
            error.evidence["libxl's log"] = self._libxl_log(config.name)
            raise
        took = connection.transport.timing(
            "create", config.name, Deadline.after(_TIMING_SECONDS, deadline.step)
        )
        return Created(domain.ID(), took.issued, took.returned)

    def _libxl_log(self, name: str) -> str:
        # Leaves out the domain's configuration, which is in the log too and is long.
        logs = f"{_LOGS}/libxl-driver.log {_LOGS}/{name}.log"
        script = f"grep -shE ' (xc|libxl|xl): ' {logs} | tail -n 10"
        with contextlib.suppress(XenScrubError):
            deadline = self._deadline(5, "reading libxl's log")
            return self.dom0.run(["sh", "-c", script], deadline=deadline).stdout
        return ""

    def console(self, domid: int) -> LibvirtConsole:
        """`virDomainOpenConsole`."""
        step = f"{self.dom0.host.name}: opening the console of domain {domid}"
        deadline = self.dom0.patience(step)
        connection = self._connection
        return LibvirtConsole(connection, connection.find(domid, deadline), deadline)

    def list(self, deadline: Deadline) -> list[Listed]:
        """`virConnectListAllDomains`."""
        connection = self._connection
        return connection.call(deadline, _list, connection.virt)

    def destroy(self, domid: int, *, until: Until, deadline: Deadline) -> Reclaim:
        """`virDomainDestroy`, watched in dom0."""
        connection = self._connection
        domain = connection.find(domid, deadline)
        client_seconds = 0.0

        def end() -> None:
            nonlocal client_seconds
            begin = time.monotonic()
            connection.call(deadline, domain.destroy)
            client_seconds = time.monotonic() - begin
            connection.lifecycle.wait_stopped(domid, deadline)

        reclaim = self._leaving(domid, end, until=until, deadline=deadline)
        took = connection.transport.timing(
            "destroy", domain.name(), Deadline.after(_TIMING_SECONDS, deadline.step)
        )
        command = TimedResult(
            argv=("virDomainDestroy", domain.name()),
            returncode=0,
            stdout="",
            stderr="",
            issued=took.issued,
            returned=took.returned,
            client_seconds=client_seconds,
        )
        return dataclasses.replace(
            reclaim, issued=took.issued, returned=took.returned, command=command
        )

    def pause(self, domid: int, deadline: Deadline) -> None:
        """`virDomainSuspend`."""
        connection = self._connection
        connection.call(deadline, connection.find(domid, deadline).suspend)

    def shutdown(self, domid: int, deadline: Deadline) -> None:
        """`virDomainShutdown`."""
        connection = self._connection
        connection.call(deadline, connection.find(domid, deadline).shutdown)

    def reboot(self, domid: int, deadline: Deadline) -> None:
        """`virDomainReboot`."""
        connection = self._connection
        connection.call(deadline, connection.find(domid, deadline).reboot)

    def save(self, domid: int, name: str, *, until: Until, deadline: Deadline) -> Reclaim:
        """`virDomainSave`."""
        connection = self._connection
        domain = connection.find(domid, deadline)
        path = self._saved_file(name, deadline)
        return self._leaving(
            domid,
            lambda: connection.call(deadline, domain.save, path),
            until=until,
            deadline=deadline,
        )

    def checkpoint(self, domid: int, name: str, deadline: Deadline) -> None:
        """Not possible: libvirt's save ends the domain."""
        raise NotApplicableError("libvirt has no call that saves a domain of Xen's and resumes it")

    def restore(self, name: str, deadline: Deadline) -> None:
        """`virDomainRestore`."""
        connection = self._connection
        connection.call(deadline, connection.virt.restore, f"{self.saved}/{name}")
        self._drop_saved(name, deadline)

    def migrate(self, domid: int, *, until: Until, deadline: Deadline) -> Reclaim:
        """Not possible: libvirt does not migrate to the same host."""
        raise NotApplicableError("libvirt migrates no domain to the host that it is on")

    def _end(self, domid: int, deadline: Deadline) -> None:
        connection = self._connection
        connection.call(deadline, connection.find(domid, deadline).destroy)


def _list(virt: libvirt.virConnect) -> list[Listed]:
    found = []
    for domain in virt.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_ACTIVE):
        # A domain that ends meanwhile is left out.
        with contextlib.suppress(libvirt.libvirtError):
            state, _, kibibytes, vcpus, _ = domain.info()
            listed = Listed(
                domain.name(), domain.ID(), kibibytes << 10, vcpus, _STATES.get(state, "------")
            )
            found.append(listed)
    return found

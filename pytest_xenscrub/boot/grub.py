# SPDX-License-Identifier: MIT
"""Boots a hypervisor once on a machine that boots through GRUB, and puts everything back.

The machine's own Xen stays the default. Only GRUB's one-shot entry names the new one, and GRUB
clears that entry before it boots it. So any reset brings the machine's own Xen back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pytest_xenscrub.boot.came_up import last_words, other_than, see_own, went_back
from pytest_xenscrub.boot.grub_dom0 import Grub
from pytest_xenscrub.boot.grub_entry import BootEntry
from pytest_xenscrub.boot.reboot import Running, reboot, running
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.boot_log import LINES, since

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.protocol import Host


class Bootable(Protocol):
    """The part of a built hypervisor that is needed here; `Artefact` has it."""

    @property
    def gz(self) -> Path:
        """The compressed file for a boot folder."""

    @property
    def build_id(self) -> str:
        """The build id, as `xl info` shows it."""


class OneShotBoot:
    """A hypervisor that is booted once by GRUB.

    Args:
        host: the machine; its dom0 is reached as root.
        hypervisor: the hypervisor.
        xen_cmdline: options for Xen, appended to those of the machine's own Xen.
        tag: marks the files and the entry, see `BootEntry`.

    Attributes:
        booted: whether the machine was told to boot the hypervisor, so that it may be to blame for
            a later silence.

    Raises:
        ConfigurationError: the tag has characters that are not allowed.
    """

    def __init__(
        self, host: Host, hypervisor: Bootable, *, xen_cmdline: str = "", tag: str
    ) -> None:
        self._host = host
        self._hypervisor = hypervisor
        self._xen_cmdline = xen_cmdline
        self._entry = BootEntry(host, tag, build_id=hypervisor.build_id)
        self._log_before = ""
        self.booted = False

    def boot(self, deadline: Deadline) -> Running:
        """Boot the hypervisor once, and check that it runs.

        The machine's own configuration stays the default throughout. If anything fails, `restore`
        removes what was added. When this returns, dom0's services may still be starting.

        Returns:
            Which boot of which Xen runs now.

        Raises:
            ConfigurationError: the machine's GRUB is not set up for that; nothing was changed.
            XenFaultError: the hypervisor ran and did not come up, and the machine's own is back;
                both build ids are in the message.
            UndecidedError: the machine's own is back for an unknown reason.
            DeadlineExceededError: the machine did not come back.
            InfrastructureError: the machine cannot be reached, does not reboot, or runs a third
                Xen.
        """
        before = running(self._host, deadline)
        see_own(self._host, before)
        grub = Grub(self._host, deadline)
        self._entry.add(
            grub,
            self._hypervisor.gz,
            before,
            xen_options=self._xen_cmdline,
            deadline=deadline,
        )
        self._log_before = self._host.serial_tail(LINES)
        # Last, because from here on the next reset boots the hypervisor.
        grub.arm(self._entry.identifier)
        self.booted = True
        return self._check(grub, reboot(self._host, before, deadline))

    def restore(self, deadline: Deadline) -> Running:
        """Remove what was added to the machine, and boot its own Xen; see `BootEntry.remove`."""
        return self._entry.remove(deadline)

    def _check(self, grub: Grub, now: Running) -> Running:
        """Raise unless the Xen that runs is the wanted one."""
        wanted = self._hypervisor.build_id
        if now.build_id == wanted:
            return now
        what = other_than(self._host, now, wanted)
        log = self.log()
        evidence = {"serial log": last_words(log, self._entry.file_name)}
        if grub.variables().get("next_entry") == self._entry.identifier:
            raise InfrastructureError(
                f"{what}: GRUB did not use its one-shot entry",
                todo=f"see whether GRUB reads {grub.environment} and {grub.config} at all",
                evidence=evidence,
            )
        if now.may_be(self._entry.original):
            raise went_back(what, log, evidence)
        raise InfrastructureError(
            what, todo="see which entry its GRUB booted, and whether another user reboots it",
            evidence=evidence,
        )  # fmt: skip

    def log(self) -> str:
        """The serial log of the boot; from GRUB's line on the hypervisor on, if there is one."""
        log = since(self._log_before, self._host.serial_tail(LINES))
        before, name, after = log.partition(self._entry.file_name)
        return after if name else before

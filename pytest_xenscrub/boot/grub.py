# SPDX-License-Identifier: MIT
"""Boots a hypervisor once on a machine that boots through GRUB, and puts everything back.

The machine's own Xen stays what it boots by default: the new one is named in GRUB's one-shot
entry alone, which GRUB clears before it boots it. So any reset brings the machine's own back.
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
    """What is needed of a hypervisor that was built; `build.Artefact` is one."""

    @property
    def gz(self) -> Path:
        """The file for a boot folder."""

    @property
    def build_id(self) -> str:
        """The note in it, as `xl info` shows it."""


class OneShotBoot:
    """A hypervisor on its way to a machine, and back.

    Args:
        host: the machine, whose dom0 is reached as root.
        hypervisor: what was built.
        xen_cmdline: options for Xen, appended to those that the machine's own is booted with.
        tag: marks what is put on the machine, as `BootEntry` says.

    Attributes:
        booted: whether the machine was told to boot it: a later silence may be its fault.

    Raises:
        ConfigurationError: the tag has other characters.
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
        """Boot the hypervisor once, and see that it is the one that runs.

        The machine's own configuration stays the default throughout. Whatever fails, `restore`
        removes what was put there. When it returns, dom0's services may still be starting.

        Returns:
            The boot it is in.

        Raises:
            ConfigurationError: the machine's GRUB is not set up for it; nothing was changed.
            XenFaultError: the hypervisor ran and did not come up, and the machine's own is back;
                both build ids are in the message.
            UndecidedError: the machine's own is back, and nothing tells why.
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
        # Last of all: from here on, the next reset boots it.
        grub.arm(self._entry.identifier)
        self.booted = True
        return self._check(grub, reboot(self._host, before, deadline))

    def restore(self, deadline: Deadline) -> Running:
        """Remove what was put on the machine, and boot its own Xen; see `BootEntry.remove`."""
        return self._entry.remove(deadline)

    def _check(self, grub: Grub, now: Running) -> Running:
        """Compare what runs with what was to run."""
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
        """The serial log since the machine was told to boot it; from GRUB's words on it, if any."""
        log = since(self._log_before, self._host.serial_tail(LINES))
        before, name, after = log.partition(self._entry.file_name)
        return after if name else before

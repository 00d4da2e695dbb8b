# SPDX-License-Identifier: MIT
"""Boots a hypervisor once on a machine that boots through GRUB, and puts everything back.

The machine's own Xen stays what it boots by default: the new one is named in GRUB's one-shot
entry alone, which GRUB clears before it boots it. So any reset brings the machine's own back.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Protocol

from pytest_xenscrub.boot.grub_dom0 import Grub
from pytest_xenscrub.boot.grub_entry import BootEntry
from pytest_xenscrub.boot.reboot import Running, reboot, running
from pytest_xenscrub.errors import InfrastructureError, UndecidedError, XenFaultError
from pytest_xenscrub.host.boot_log import LINES, WITH_LOG, WITHOUT_LOG, Stage, boots, since, stage

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.protocol import Host

_END = re.compile(r"Panic on CPU|Kernel panic|GRUB cannot load|^error: ")


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
        if not before.build_id:
            raise InfrastructureError(
                f"{self._host.name} does not say which Xen it runs",
                tried="/sys/hypervisor/properties/buildid, xl info",
                todo="boot the machine into its own Xen, 4.7 or later, as root",
            )
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
        if now.is_cut_of(wanted):
            raise InfrastructureError(
                f"{self._host.name} shows a build id cut at a zero byte, which proves nothing:"
                f" {now.build_id or 'nothing of it'}, and {wanted} was built and booted",
                tried="/sys/hypervisor/properties/buildid; xl info and the bindings tell none",
                todo="have tools in dom0 that match that Xen (--xen-tools=build), or a dom0 kernel"
                " that shows all of it",
            )
        has = f"build id {now.build_id}" if now.build_id else "no Xen that says its build id"
        what = f"{self._host.name} runs {has}, not {wanted}, which was built and booted"
        log = self.log()
        evidence = {"serial log": last_words(log, self._entry.file_name)}
        if grub.variables().get("next_entry") == self._entry.identifier:
            raise InfrastructureError(
                f"{what}: GRUB did not use its one-shot entry",
                todo=f"see whether GRUB reads {grub.environment} and {grub.config} at all",
                evidence=evidence,
            )
        if now.may_be(self._entry.original):
            raise _went_back(what, log, evidence)
        raise InfrastructureError(
            what, todo="see which entry its GRUB booted, and whether another user reboots it",
            evidence=evidence,
        )  # fmt: skip

    def log(self) -> str:
        """The serial log since the machine was told to boot it; from GRUB's words on it, if any."""
        log = since(self._log_before, self._host.serial_tail(LINES))
        before, name, after = log.partition(self._entry.file_name)
        return after if name else before


def _went_back(what: str, log: str, evidence: dict[str, str]) -> XenFaultError | UndecidedError:
    """The error for a machine that runs its own Xen again: ours, GRUB, or somebody's reset."""
    back = f"{what}: the machine went back to its own Xen"
    reached = stage(log)
    if reached is Stage.NOT_LOADED:
        return UndecidedError(
            f"{back}, because GRUB could not load this one",
            todo="see what GRUB says on the serial line: is the file whole, is there memory?",
            evidence=evidence,
        )
    # The last boot in the log is the own Xen's.
    if len(boots(log)) > 1 and reached in (Stage.CRASHED, Stage.XEN):
        return XenFaultError(
            f"{back}: this one did not come up",
            todo="see the machine's serial log, with Xen's option sync_console",
            evidence=evidence,
        )
    return UndecidedError(
        f"{back}, for an unknown reason: it may have crashed, or the machine was reset",
        todo=WITHOUT_LOG if reached is Stage.SILENT or len(boots(log)) < 2 else WITH_LOG,  # noqa: PLR2004
        evidence=evidence,
    )


def last_words(serial: str, file_name: str) -> str:
    """What a hypervisor said before it went down, out of a log that goes on with another boot.

    Args:
        serial: the log's end.
        file_name: what GRUB said it loads; where GRUB has no serial console, all is looked at.

    Returns:
        The lines around the first that tells of an end, or the last ones where none does.
    """
    lines = serial.rpartition(file_name)[2].splitlines()
    end = next((at for at, line in enumerate(lines) if _END.search(line)), None)
    return "\n".join(lines[-40:] if end is None else lines[max(0, end - 20) : end + 8])

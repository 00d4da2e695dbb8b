# SPDX-License-Identifier: MIT
"""Boots a hypervisor once on a machine whose next boot is set by a command of its lab.

A file in dom0 marks such a boot, so that the next run can boot the machine's own Xen again if this
one cannot.
"""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Protocol

from pytest_xenscrub.boot.came_up import last_words, other_than, see_own, went_back
from pytest_xenscrub.boot.reboot import WITH_PATH, Running, reboot, running, wait_for_boot
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.boot_log import LINES, since
from pytest_xenscrub.host.next_boot import NextBoot

if TYPE_CHECKING:
    from pytest_xenscrub.boot.grub import Bootable
    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.description import HostDescription
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.telling import Say

MARK = "/var/lib/pytest-xenscrub.boot"
"""File in dom0 with the build id of the machine's own Xen; exists until that Xen runs again."""
_ASK = r"""
xl info xen_commandline
release=$(uname -r)
for name in vmlinuz kernel vmlinux; do
    [ -e "/boot/$name-$release" ] && echo "/boot/$name-$release" && break
done || echo
for name in "initrd.img-$release" "initramfs-$release.img" "initrd-$release"; do
    [ -e "/boot/$name" ] && echo "/boot/$name" && break
done || echo
cat /proc/cmdline
"""


class BootOnce(Protocol):
    """Boots a hypervisor once, and then the machine's own; `OneShotBoot` is one, too."""

    booted: bool

    def boot(self, deadline: Deadline) -> Running:
        """Boot the hypervisor, and check that it runs."""

    def restore(self, deadline: Deadline) -> Running:
        """Put the machine back as it was."""

    def log(self) -> str:
        """The serial log of that boot."""


class CommandBoot:
    """A hypervisor that is booted once by the boot command.

    Args:
        host: the machine; its dom0 is reached as root.
        described: the machine's description, with its boot command.
        hypervisor: the hypervisor; None only to undo what a dead run has booted.
        xen_cmdline: options for Xen, appended to those of the machine's own Xen.

    Attributes:
        booted: whether the machine was told to boot the hypervisor, so that it may be to blame for
            a later silence.
    """

    def __init__(
        self,
        host: Host,
        described: HostDescription,
        hypervisor: Bootable | None,
        *,
        xen_cmdline: str = "",
    ) -> None:
        self._host = host
        self._next = NextBoot(described)
        self._hypervisor = hypervisor
        self._xen_cmdline = xen_cmdline
        self._log_before = ""
        self.booted = False

    def boot(self, deadline: Deadline) -> Running:
        """Boot the hypervisor once, and check that it runs.

        Returns:
            Which boot of which Xen runs now.

        Raises:
            XenFaultError: the hypervisor ran and did not come up, and the machine's own is back.
            UndecidedError: the machine's own is back for an unknown reason.
            DeadlineExceededError: the machine did not come back.
            InfrastructureError: the machine cannot be reached, its boot command failed, it does not
                reboot, or runs a third Xen.
        """
        if self._hypervisor is None:
            raise TypeError("there is nothing to boot")
        before = running(self._host, deadline)
        see_own(self._host, before)
        words = self._words(deadline) | {"xen": str(self._hypervisor.gz)}
        mark = f"echo {before.build_id} > {shlex.quote(MARK)}"
        self._host.run(["sh", "-c", mark], deadline=deadline)
        self._next.set("once", words, deadline)
        self._log_before = self._host.serial_tail(LINES)
        self.booted = True
        now = reboot(self._host, before, deadline)
        self._check(before, now, self._hypervisor.build_id)
        return now

    def restore(self, deadline: Deadline) -> Running:
        """Boot the machine's own Xen unless it runs, and check that it runs then.

        May be called at any time, and again; waits for a machine that is still booting.

        Raises:
            DeadlineExceededError: the machine does not answer, or did not come back.
            InfrastructureError: the machine came back with another Xen than its own.
        """
        now = wait_for_boot(self._host, None, deadline)
        original = marked(self._host, deadline)
        if not original:
            return now
        if self._next.goes_back:
            self._next.set("own", {}, deadline)
        if now.build_id != original:
            now = reboot(self._host, now, deadline)
        if not now.may_be(original):
            raise InfrastructureError(
                f"{self._host.name} did not go back to its own Xen: it runs"
                f" {now.build_id or 'none that says its build id'}, and it ran {original}",
                todo="see what its boot command left; that should set one boot, or know the action"
                " own",
            )
        self._host.run(["rm", "-f", MARK], deadline=deadline)
        return now

    def log(self) -> str:
        """The serial log since the machine was told to boot the hypervisor."""
        return since(self._log_before, self._host.serial_tail(LINES))

    def _words(self, deadline: Deadline) -> dict[str, str]:
        """Values for the boot command, from the machine's own boot."""
        asked = self._host.run(["sh", "-c", WITH_PATH + _ASK], deadline=deadline).stdout
        lines = [line.strip() for line in asked.splitlines()]
        options, kernel, initrd, kernel_options = (*lines, "", "", "", "")[:4]
        return {
            "options": f"{options} {self._xen_cmdline}".strip(),
            "kernel": kernel,
            "initrd": initrd,
            "kernel_options": kernel_options,
        }

    def _check(self, before: Running, now: Running, wanted: str) -> None:
        """Raise unless the Xen that runs is the wanted one."""
        if now.build_id == wanted:
            return
        what = other_than(self._host, now, wanted)
        log = self.log()
        evidence = {"serial log": last_words(log)}
        if now.may_be(before.build_id):
            raise went_back(what, log, evidence)
        raise InfrastructureError(
            what, todo="see what its boot command has set, and whether somebody else reboots it",
            evidence=evidence,
        )  # fmt: skip


def marked(host: Host, deadline: Deadline) -> str:
    """The build id of a machine's own Xen, if a built Xen was to boot in its place; else empty."""
    script = f"cat {shlex.quote(MARK)} 2> /dev/null || :"
    return host.run(["sh", "-c", script], deadline=deadline).stdout.strip()


def go_back(host: Host, described: HostDescription, deadline: Deadline, say: Say) -> bool:
    """Boot a machine's own Xen, if a dead run has booted another one by the boot command.

    The caller must hold the machine's lock.

    Returns:
        Whether a dead run had done that.

    Raises:
        InfrastructureError: the machine does not boot its own Xen.
        DeadlineExceededError: the machine did not come back.
    """
    if not described.boot or not marked(host, deadline):
        return False
    say(f"{host.name}: a dead run has set what it boots; its own Xen is to run")
    CommandBoot(host, described, None).restore(deadline)
    return True

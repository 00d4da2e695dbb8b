# SPDX-License-Identifier: MIT
"""Boots a hypervisor once on a machine whose boots a command of its lab's sets.

What runs there is known by a file of dom0's, so that the next run can boot the machine's own Xen
again where this one cannot.
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
"""In dom0, from before a boot of ours to after the machine's own: the build id of that."""
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
    """A way to boot a hypervisor once, and the machine's own after it; `OneShotBoot` is another."""

    booted: bool

    def boot(self, deadline: Deadline) -> Running:
        """Boot the hypervisor, and see that it is the one that runs."""

    def restore(self, deadline: Deadline) -> Running:
        """Have the machine as it was."""

    def log(self) -> str:
        """The serial log of that boot."""


class CommandBoot:
    """A hypervisor on its way to a machine, and back.

    Args:
        host: the machine, whose dom0 is reached as root.
        described: what is known of it, a boot command too.
        hypervisor: what was built; None to go back from what a dead run has booted.
        xen_cmdline: options for Xen, appended to those that the machine's own is booted with.

    Attributes:
        booted: whether the machine was told to boot it: a later silence may be its fault.
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
        """Boot the hypervisor once, and see that it is the one that runs.

        Returns:
            The boot it is in.

        Raises:
            XenFaultError: the hypervisor ran and did not come up, and the machine's own is back.
            UndecidedError: the machine's own is back, and nothing tells why.
            DeadlineExceededError: the machine did not come back.
            InfrastructureError: the machine cannot be reached, its boot command failed, it does
                not reboot, or runs a third Xen.
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
        """Boot the machine's own Xen, if that does not run, and see that it does.

        Safe to call at any time, again too; waits for a machine that is still booting.

        Raises:
            DeadlineExceededError: the machine does not answer, or did not come back.
            InfrastructureError: it came back with another Xen than its own.
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
        """The serial log since the machine was told to boot it."""
        return since(self._log_before, self._host.serial_tail(LINES))

    def _words(self, deadline: Deadline) -> dict[str, str]:
        """What the boot command is told of the machine's own boot."""
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
        """Compare what runs with what was to run."""
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
    """The build id of a machine's own Xen, where one of ours was to boot in its place."""
    script = f"cat {shlex.quote(MARK)} 2> /dev/null || :"
    return host.run(["sh", "-c", script], deadline=deadline).stdout.strip()


def go_back(host: Host, described: HostDescription, deadline: Deadline, say: Say) -> bool:
    """Boot a machine's own Xen where a dead run has booted another one by the boot command.

    To be called with the machine's lock.

    Returns:
        Whether that was so.

    Raises:
        InfrastructureError: the machine does not boot its own Xen.
        DeadlineExceededError: the machine did not come back.
    """
    if not described.boot or not marked(host, deadline):
        return False
    say(f"{host.name}: a dead run has set what it boots; its own Xen is to run")
    CommandBoot(host, described, None).restore(deadline)
    return True

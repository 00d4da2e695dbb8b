# SPDX-License-Identifier: MIT
"""A lab machine in QEMU, which boots through GRUB from its own disk, like a real one.

For all other code it is a machine behind an ssh port, with a reset button: `SshHost` reaches it.
"""

from __future__ import annotations

import atexit
import functools
import shlex
from typing import TYPE_CHECKING

from pytest_xenscrub.host.emulated.accel import (
    KVM,
    KVM_SILENT_SECONDS,
    Accel,
    choose_accel,
    qemu_path,
    start_or_fall_back,
)
from pytest_xenscrub.host.emulated.image import Image, ensure_image
from pytest_xenscrub.host.emulated.machine import Machine
from pytest_xenscrub.host.emulated.spec import MachineSpec
from pytest_xenscrub.host.emulated.ssh_config import write_ssh_config
from pytest_xenscrub.host.ssh import SshHost
from pytest_xenscrub.host.target import Target
from pytest_xenscrub.testing import bmc
from pytest_xenscrub.testing.lab_disk import ensure_lab_disk

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.telling import Say

ALIAS = "xenscrub-lab"
"""The machine's name in its ssh configuration."""


class _DiskMachine(Machine):
    """A QEMU whose BIOS boots from the disk, and which reboots after a reset."""

    def adapted(self, command: list[str]) -> list[str]:
        """QEMU's command line."""
        for option in ("-kernel", "-append", "-initrd"):
            at = command.index(option)
            del command[at : at + 2]
        command.remove("-no-reboot")
        folder = str(self.folder).replace(",", ",,")
        return [*command, "-qmp", f"unix:{folder}/{bmc.SOCKET},server=on,wait=off"]


def _switch_on(
    image: Image, spec: MachineSpec, qemu: str, accel: Accel, deadline: Deadline
) -> _DiskMachine:
    """Start a machine, and wait until its sshd answers."""
    machine = _DiskMachine(image, spec, qemu, accel, snapshot=None, deadline=deadline)
    try:
        if accel is KVM:
            machine.wait_first_word(KVM_SILENT_SECONDS)
        machine.wait_banner(deadline)
    except BaseException:
        machine.close()
        raise
    return machine


class LabMachine:
    """A machine in a lab: reached over ssh, and reset by its button. Created by `start`.

    Attributes:
        ssh_config: file in which `xenscrub-lab` is this machine: `ssh -F FILE xenscrub-lab`.
    """

    def __init__(self, image: Image, machine: Machine) -> None:
        self._machine = machine
        self.ssh_config = write_ssh_config(machine.folder, ALIAS, machine.port, image)
        # The owner closes it; this covers exits of Python that skip that.
        atexit.register(self.close)

    @classmethod
    def start(
        cls,
        *,
        suite: str = "bookworm",
        memory_bytes: int = 2 << 30,
        say: Say,
        deadline: Deadline,
    ) -> LabMachine:
        """Start a lab machine with a fresh disk, and wait until its own Xen's sshd answers.

        Args:
            suite: Debian release of dom0.
            memory_bytes: the machine's memory, bytes.
            say: gets a line for the user when something takes long.
            deadline: limit for everything, with a build of image and disk.

        Raises:
            MissingToolError: QEMU, GRUB, or what builds the image, is not installed.
            InfrastructureError: the machine could not be built or started.
            DeadlineExceededError: the machine did not come up in time.
        """
        qemu = qemu_path()
        image = ensure_image(suite, say=say, deadline=deadline)
        disk = ensure_lab_disk(image, say=say, deadline=deadline)
        spec = MachineSpec(suite=suite, memory_bytes=memory_bytes)
        # A machine that boots by itself needs only the disk of an image.
        switch_on = functools.partial(_switch_on, Image(disk.parent), spec, qemu)
        accel = choose_accel(qemu, "auto", say)
        return cls(
            image, start_or_fall_back(accel, switch_on, path=qemu, say=say, deadline=deadline)
        )

    @property
    def port(self) -> int:
        """The machine's ssh port, on the loopback interface only."""
        return self._machine.port

    def connect(self) -> SshHost:
        """The machine as a `Host`; close it before this machine."""
        return SshHost(Target(ALIAS), config=self.ssh_config, serial=self.serial_tail)

    def serial_tail(self, lines: int = 20) -> str:
        """Last lines of the serial log: GRUB's, Xen's and dom0's."""
        return self._machine.serial_tail(lines)

    @property
    def power(self) -> str:
        """The machine's power command, for `--xen-power`."""
        return shlex.join(bmc.command(self._machine.folder))

    @property
    def serial(self) -> str:
        """The machine's serial log command, for `--xen-serial`."""
        return shlex.join(["cat", str(self._machine.folder / "serial.log")])

    def freeze(self) -> None:
        """Stop the machine with its network, as in a hang, until it is power-cycled.

        Raises:
            InfrastructureError: QEMU has ended.
        """
        self._machine.qmp("stop")

    def cut_network(self, *, cut: bool) -> None:
        """Pull the machine's network cable, or put it back.

        Raises:
            InfrastructureError: QEMU has ended.
        """
        self._machine.qmp("set_link", {"name": "net", "up": not cut})

    def power_cycle(self) -> None:
        """Press the reset button. Data that is not on the disk yet is lost.

        Raises:
            InfrastructureError: QEMU has ended.
        """
        self._machine.qmp("system_reset")

    def close(self) -> None:
        """Switch the machine off and remove its files. Never raises, may be called twice."""
        atexit.unregister(self.close)
        self._machine.close()

# SPDX-License-Identifier: MIT
"""What an emulated machine is made of, and the command that makes QEMU be one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pytest_xenscrub.host.emulated.numa import machine_type, numa_options

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.host.emulated.accel import Accel
    from pytest_xenscrub.host.emulated.image import Image

XEN_OPTIONS = (
    "console=com1 com1=115200,8n1 dom0_mem=1024M,max:1024M dom0_max_vcpus=2 "
    "loglvl=all guest_loglvl=all conring_size=64k"
)
_LARGE_DOM0 = " dom0_mem=3072M,max:3072M"
_LARGE_BYTES = 256 << 30
"""A toolstack needs dom0's memory for the pages of a guest: hosts from this size on have more."""
# Fresh RAM is zeros, and to scrub it at boot would write every page of it.
_SPARSE = " bootscrub=off"
# Under load the watchdog distrusts an emulated TSC, and the clock would change in the middle.
DOM0_OPTIONS = "console=hvc0 net.ifnames=0 quiet mitigations=off clocksource=xen"
MOST_CPUS: Final = 32
RAM = "ram"
"""What QEMU calls the memory of the machine."""


@dataclass(frozen=True)
class MachineSpec:
    """What machine is wanted.

    Attributes:
        suite: Debian release of dom0.
        memory_bytes: the machine's memory, bytes.
        cpus: its processors.
        nodes: its NUMA nodes; all processors are the first one's.
        hypervisor: the Xen it boots, an uncompressed ELF file; None for the image's own.
        xen_cmdline: options for Xen, appended to ours.
        symbols: the hypervisor with its symbols, to say where a CPU is.
        device_model: whether dom0 has a device model, which HVM guests need.
        ram_limit: bytes of this machine that its RAM may take: the RAM is sparse, and pages of
            zeros are given back. None: as many as its RAM has, and all of them at once.
    """

    suite: str = "bookworm"
    memory_bytes: int = 4 << 30
    cpus: int = 2
    nodes: int = 1
    hypervisor: Path | None = None
    xen_cmdline: str = ""
    symbols: Path | None = None
    device_model: bool = False
    ram_limit: int | None = None


def xen_options(spec: MachineSpec) -> str:
    """Xen's boot options: ours, and then the user's, of which the later ones count."""
    ours = XEN_OPTIONS
    if spec.ram_limit is not None:
        ours += _SPARSE
        if spec.memory_bytes >= _LARGE_BYTES:
            ours += _LARGE_DOM0
    return f"{ours} {spec.xen_cmdline}".strip()


def qemu_command(
    spec: MachineSpec,
    image: Image,
    qemu: str,
    accel: Accel,
    *,
    folder: Path,
    ram_fd: int,
    incoming: bool,
) -> list[str]:
    """QEMU's command line.

    Args:
        spec: the machine wanted.
        image: dom0's.
        qemu: the program.
        accel: accelerator and processor model.
        folder: where its disk, monitor and serial log are.
        ram_fd: descriptor of its memory, inherited.
        incoming: whether it goes on from a saved machine.
    """
    # A comma ends a value in QEMU's options; it is escaped by doubling it.
    here, kernel, initrd = (
        str(path).replace(",", ",,") for path in (folder, image.kernel, image.initrd)
    )
    command = [
        qemu, "-name", "xenscrub",
        "-machine", f"{machine_type(spec.nodes)},memory-backend={RAM}",
        "-accel", accel.option, "-cpu", accel.cpu, "-smp", str(spec.cpus),
        "-m", f"{spec.memory_bytes >> 20}M",
        # Shared, so that it can be read from outside, and no part of the migration stream.
        "-object", f"memory-backend-file,id={RAM},share=on,size={spec.memory_bytes},"
                   f"mem-path=/proc/self/fd/{ram_fd}",
        *numa_options(spec.nodes, spec.memory_bytes, spec.cpus),
        "-nodefaults", "-no-user-config", "-vga", "none", "-display", "none", "-no-reboot",
        "-kernel", str(spec.hypervisor or image.hypervisor),
        "-append", xen_options(spec),
        "-initrd", f"{kernel} {DOM0_OPTIONS},{initrd}",
        # A full disk here is an error that dom0 sees. By default QEMU would stop the machine
        # without a word, and that looks as if Xen hung.
        "-drive", f"file={here}/disk.qcow2,if=none,id=disk,cache=unsafe,"
                  "werror=report,rerror=report",
        "-device", "virtio-blk-pci,drive=disk",
        # Port 0: the kernel picks a free one, and no other program can get in between.
        "-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-10.0.2.15:22",
        "-device", "virtio-net-pci,netdev=net,romfile=",
        "-chardev", f"file,id=serial,path={here}/serial.log,append=on",
        "-serial", "chardev:serial",
        "-qmp", f"unix:{here}/qmp,server=on,wait=off",
    ]  # fmt: skip
    if incoming:
        command += ["-incoming", "defer"]
    return command

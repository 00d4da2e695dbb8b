# SPDX-License-Identifier: MIT
"""The parts of an emulated machine, and QEMU's command line for it."""

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
"""Hosts from this size on have a larger dom0, because a toolstack needs memory for each guest
page."""
# Fresh RAM is full of zeros, and a scrub at boot would write every page of it.
_SPARSE = " bootscrub=off"
# On a busy machine, Linux's clock watchdog may distrust an emulated TSC and change the clock later.
DOM0_OPTIONS = "console=hvc0 net.ifnames=0 quiet mitigations=off clocksource=xen"
MOST_CPUS: Final = 32
RAM = "ram"
"""QEMU's name for the memory of the machine."""


@dataclass(frozen=True)
class MachineSpec:
    """A machine that is wanted.

    Attributes:
        suite: Debian release of dom0.
        memory_bytes: the machine's memory, bytes.
        cpus: number of CPUs.
        nodes: number of NUMA nodes; the first node has all CPUs.
        hypervisor: the Xen to boot, an uncompressed ELF file; None for the image's own.
        xen_cmdline: options for Xen, appended to the tool's.
        symbols: the hypervisor with its symbols, which name the functions that CPUs execute.
        device_model: whether dom0 has a device model, which HVM guests need.
        ram_limit: bytes of this machine that sparse RAM may take; None for RAM that is not sparse.
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
    """Xen's boot options: the tool's, and then the user's, because Xen uses the later ones."""
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
        image: dom0's image.
        qemu: the QEMU program.
        accel: accelerator and CPU model.
        folder: folder of the machine's disk, monitor and serial log.
        ram_fd: descriptor of the machine's memory, inherited.
        incoming: whether the machine goes on from a saved one.
    """
    # A comma ends a value in QEMU's options, unless it is doubled.
    here, kernel, initrd = (
        str(path).replace(",", ",,") for path in (folder, image.kernel, image.initrd)
    )
    command = [
        qemu, "-name", "xenscrub",
        "-machine", f"{machine_type(spec.nodes)},memory-backend={RAM}",
        "-accel", accel.option, "-cpu", accel.cpu, "-smp", str(spec.cpus),
        "-m", f"{spec.memory_bytes >> 20}M",
        # Shared, so that it can be read from outside, and stays out of the migration stream.
        "-object", f"memory-backend-file,id={RAM},share=on,size={spec.memory_bytes},"
                   f"mem-path=/proc/self/fd/{ram_fd}",
        *numa_options(spec.nodes, spec.memory_bytes, spec.cpus),
        "-nodefaults", "-no-user-config", "-vga", "none", "-display", "none", "-no-reboot",
        "-kernel", str(spec.hypervisor or image.hypervisor),
        "-append", xen_options(spec),
        "-initrd", f"{kernel} {DOM0_OPTIONS},{initrd}",
        # If this machine's disk is full, dom0 gets an I/O error. By default QEMU would stop the
        # machine without any message, which looks as if Xen hung.
        "-drive", f"file={here}/disk.qcow2,if=none,id=disk,cache=unsafe,"
                  "werror=report,rerror=report",
        "-device", "virtio-blk-pci,drive=disk",
        # Port 0: the kernel chooses a free port, so that no other program can take it before.
        "-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:0-10.0.2.15:22",
        "-device", "virtio-net-pci,netdev=net,romfile=",
        "-chardev", f"file,id=serial,path={here}/serial.log,append=on",
        "-serial", "chardev:serial",
        "-qmp", f"unix:{here}/qmp,server=on,wait=off",
    ]  # fmt: skip
    if incoming:
        command += ["-incoming", "defer"]
    return command

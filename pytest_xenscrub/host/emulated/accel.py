# SPDX-License-Identifier: MIT
"""Which accelerator QEMU has here: KVM where it works, software emulation elsewhere."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from dataclasses import dataclass

from pytest_xenscrub.errors import InfrastructureError, MissingToolError

_GIB = 1 << 30
_STEP = 256 << 20
_LEAST = 2 * _GIB
_MOST = 8 * _GIB


@dataclass(frozen=True)
class Accel:
    """An accelerator and the processor model that goes with it."""

    name: str
    option: str
    cpu: str


KVM = Accel("KVM", "kvm", "host")
# Other models crash Linux below Xen under emulation, or lack what it needs. PVH guests need nested
# paging, and Debian's Xen has no other kind.
TCG = Accel("TCG", "tcg,thread=multi", "qemu64,+svm,+npt,+pdpe1gb")


def qemu_path() -> str:
    """Where QEMU is.

    Raises:
        MissingToolError: it is not installed.
    """
    path = shutil.which("qemu-system-x86_64")
    if path is None or shutil.which("qemu-img") is None:
        raise MissingToolError(
            "qemu-system-x86_64 or qemu-img is not installed",
            todo="apt-get install qemu-system-x86 qemu-utils",
        )
    return path


@functools.cache
def qemu_version(path: str) -> str:
    """First line of `qemu-system-x86_64 --version`."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0] if done.stdout else "unknown"


@functools.cache
def best_accel(path: str) -> Accel:
    """KVM if a QEMU that uses it comes up, else TCG. A look at /dev/kvm would not be enough."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return TCG
    command = [
        path, "-accel", "kvm", "-cpu", "host", "-display", "none", "-nodefaults",
        "-machine", "pc", "-m", "16", "-S", "-monitor", "stdio",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, input=b"quit\n", capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return TCG
    return KVM if done.returncode == 0 else TCG


def default_memory_bytes(share_with: int = 1) -> int:
    """Memory for an emulated host: half of what is available, 8 GiB at most, bytes.

    Args:
        share_with: how many hosts share that half.

    Raises:
        InfrastructureError: that is too little for a dom0 and a guest.
    """
    with open("/proc/meminfo", encoding="ascii") as file:  # noqa: PTH123
        available = next(int(line.split()[1]) * 1024 for line in file if "MemAvailable" in line)
    return memory_for(available // share_with)


def memory_for(available: int) -> int:
    """What `default_memory_bytes` says where `available` bytes are available."""
    memory = min(available // 2, _MOST) // _STEP * _STEP
    if memory < _LEAST:
        raise InfrastructureError(
            f"too little memory for an emulated host: {available / _GIB:.1f} GiB are available, "
            f"half of it is used, and at least {_LEAST / _GIB:.0f} GiB are needed",
            todo="close other programs, or say --xen-host-memory yourself",
        )
    return memory

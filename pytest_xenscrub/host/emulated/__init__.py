# SPDX-License-Identifier: MIT
"""A machine that runs Xen, emulated by QEMU: no hardware support is needed."""

from pytest_xenscrub.host.emulated.accel import check_memory, default_memory_bytes
from pytest_xenscrub.host.emulated.host import EmulatedHost, prepare_image
from pytest_xenscrub.host.emulated.spec import MachineSpec

__all__ = [
    "EmulatedHost",
    "MachineSpec",
    "check_memory",
    "default_memory_bytes",
    "prepare_image",
]

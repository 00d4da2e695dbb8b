# SPDX-License-Identifier: MIT
"""A machine that runs Xen, emulated by QEMU; needs no hardware support."""

from pytest_xenscrub.host.emulated.host import EmulatedHost, prepare_image
from pytest_xenscrub.host.emulated.ram_choice import choose_ram
from pytest_xenscrub.host.emulated.spec import MachineSpec

__all__ = [
    "EmulatedHost",
    "MachineSpec",
    "choose_ram",
    "prepare_image",
]

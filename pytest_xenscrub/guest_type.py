# SPDX-License-Identifier: MIT
"""The types of guest that this project drives, by Xen's names."""

from __future__ import annotations

from typing import Literal, TypeAlias

from pytest_xenscrub.units import MIB

GuestType: TypeAlias = Literal["pv", "pvh", "hvm"]

_PAGING_SHARE = 127


def paging_bytes(guest_type: GuestType, memory_bytes: int, vcpus: int) -> int:
    """Size of the paging pool that a guest gets for its page tables, bytes; 0 for PV.

    As in libxl: 1 MiB for each vCPU, and 8 KiB for each MiB of memory; slightly more, to be sure.
    """
    return 0 if guest_type == "pv" else vcpus * MIB + memory_bytes // _PAGING_SHARE

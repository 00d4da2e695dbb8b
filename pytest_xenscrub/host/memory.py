# SPDX-License-Identifier: MIT
"""The RAM of an emulated host: a file, and the machine addresses of its parts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from pytest_xenscrub.errors import InfrastructureError

if TYPE_CHECKING:
    from collections.abc import Callable

_VIEW = re.compile(r"^FlatView #\d+\n(.*?)(?=^FlatView #|\Z)", re.MULTILINE | re.DOTALL)
_RANGE = re.compile(
    r"^\s*([0-9a-f]{16})-([0-9a-f]{16}) \(prio -?\d+, ram\): (\S+)(?: @([0-9a-f]{16}))?\s*$",
    re.MULTILINE,
)


class Extent(NamedTuple):
    """`size` bytes of RAM at machine address `address` are at `offset` in the file."""

    address: int
    offset: int
    size: int


class HostMemory(NamedTuple):
    """All of a host's RAM.

    Attributes:
        fd: descriptor of the RAM's file; owned by the host.
        size: size of the file, bytes.
        extents: the parts of the file, by machine address.
        page_tables: reads each CPU's CR3. While a CPU runs a PVH or HVM guest, CR3 is the guest's,
            and not a machine address.
        sparse: whether the file has holes, which reading would fill.
        stood_seconds: how long the machine has been stopped so far, s.
    """

    fd: int
    size: int
    extents: tuple[Extent, ...]
    page_tables: Callable[[], list[int]]
    sparse: bool = False
    stood_seconds: Callable[[], float] = float


def parse_map(text: str, name: str) -> tuple[Extent, ...]:
    """Parse QEMU's `info mtree -f`: where the memory called `name` is in the machine.

    QEMU is asked, because the end of RAM below 4 GiB differs between machine types.

    Raises:
        InfrastructureError: QEMU's answer does not have the memory.
    """
    for view in _VIEW.findall(text.replace("\r", "")):
        if 'AS "memory"' not in view:
            continue
        found = [
            Extent(int(first, 16), int(offset or "0", 16), int(last, 16) + 1 - int(first, 16))
            for first, last, region, offset in _RANGE.findall(view)
            if region == name
        ]
        if found:
            return tuple(sorted(found))
    raise InfrastructureError(
        "QEMU did not say where the machine has its RAM",
        tried="info mtree -f",
        evidence={"QEMU": text[:2000]},
    )

# SPDX-License-Identifier: MIT
"""The RAM of an emulated host: a file, and which part of it is at which machine address."""

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
    """`size` bytes of RAM at machine address `address` are in the file from `offset` on."""

    address: int
    offset: int
    size: int


class HostMemory(NamedTuple):
    """All of a host's RAM.

    Attributes:
        fd: descriptor of the file that it is; owned by the host.
        size: of the file, bytes.
        extents: what of it the machine has where, by address.
        page_tables: asks for CR3 of each CPU now. While a CPU runs a PVH or HVM guest it is the
            guest's, and no machine address.
        sparse: whether it has holes that nobody is to fill by looking at them.
        stood_seconds: how long the machine has stood still so far, s.
    """

    fd: int
    size: int
    extents: tuple[Extent, ...]
    page_tables: Callable[[], list[int]]
    sparse: bool = False
    stood_seconds: Callable[[], float] = float


def parse_map(text: str, name: str) -> tuple[Extent, ...]:
    """Where a machine has the memory called `name`, by QEMU's own account (`info mtree -f`).

    Asked for rather than computed: where RAM ends below 4 GiB differs between machine types.

    Raises:
        InfrastructureError: QEMU does not say it.
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

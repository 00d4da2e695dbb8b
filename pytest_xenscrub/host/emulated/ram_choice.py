# SPDX-License-Identifier: MIT
"""How much RAM an emulated host has, and how much of this machine that may take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.limits import available_memory
from pytest_xenscrub.units import GIB, MIB, PAGE, gib

if TYPE_CHECKING:
    from pytest_xenscrub.limits import Memory
    from pytest_xenscrub.telling import Say

_STEP: Final = 256 * MIB
_LEAST: Final = 2 * GIB
_MOST: Final = 8 * GIB
_BOOTED: Final = 1536 * MIB
"""What dom0 and Xen write before a first guest is there, whatever the host's size."""
_TABLES: Final = 40
"""Bytes that Xen keeps of each page: 32 in its frame table, 8 in M2P."""
_SHARE: Final = 2
"""An emulated host may take one part in so many of what is available."""


class HostRam(NamedTuple):
    """RAM of an emulated host.

    Attributes:
        memory_bytes: what the host has, bytes.
        limit: what it may take of this machine, bytes: its RAM is sparse; None where it may take
            all that it has.
    """

    memory_bytes: int
    limit: int | None


def choose_ram(
    wanted: int | None,
    limit: int | None,
    *,
    say: Say,
    share_with: int = 1,
    memory: Memory | None = None,
) -> HostRam:
    """RAM for an emulated host; a line for the user where it is sparse.

    Args:
        wanted: what the host is to have, bytes; None for a default.
        limit: what it may take, bytes; None for half of what is available, or its share of that.
        say: told of sparse RAM.
        share_with: how many hosts are on this machine at once.
        memory: what was available before the first of them started; None for what is now.

    Raises:
        InfrastructureError: this machine has too little for it.
    """
    memory = memory or available_memory()
    if limit is not None and limit > memory.available // share_with:
        each = f" to each of {share_with} hosts" if share_with > 1 else ""
        raise InfrastructureError(
            f"--xen-host-ram-limit allows {gib(limit)}{each}, and {gib(memory.available)} are"
            f" available by {memory.why}",
            todo="allow less, close other programs, or raise the limit of the container",
        )
    if wanted is None:
        default = memory_for(memory.available // share_with, memory.why)
        wanted = default if limit is None else max(_LEAST, min(default, limit))
    allowed = memory.available // _SHARE // share_with if limit is None else limit
    if wanted <= allowed:
        return HostRam(wanted, None)
    share = f"half of what is available by {memory.why}"
    share += f", shared by {share_with} hosts" if share_with > 1 else ""
    _check_boots(wanted, allowed, share if limit is None else "which is --xen-host-ram-limit")
    say(
        f"emulated: {gib(wanted)} of RAM, of which at most {gib(allowed)} of this machine's hold"
        " anything: it stands still for moments, and pages of zeros are given back"
    )
    return HostRam(wanted, allowed)


def _check_boots(wanted: int, allowed: int, why: str) -> None:
    """Raise `InfrastructureError` where not even Xen and dom0 have room."""
    needed = _BOOTED + wanted // PAGE * _TABLES
    if needed > allowed:
        raise InfrastructureError(
            f"a host of {gib(wanted)} needs {gib(needed)} of this machine to boot, and may take"
            f" {gib(allowed)}, {why}",
            todo="ask for less (--xen-host-memory), allow more (--xen-host-ram-limit), or close"
            " other programs",
        )


def memory_for(available: int, why: str = "this machine") -> int:
    """The default where `available` bytes are available, and what of: half of it, 8 GiB at most.

    Raises:
        InfrastructureError: that is too little for a dom0 and a guest.
    """
    memory = min(available // _SHARE, _MOST) // _STEP * _STEP
    if memory < _LEAST:
        raise InfrastructureError(
            f"too little memory for an emulated host: {available / GIB:.1f} GiB are available"
            f" by {why}, half of it is used, and at least {_LEAST / GIB:.0f} GiB are needed",
            todo="close other programs, raise the limit, or say --xen-host-memory yourself",
        )
    return memory

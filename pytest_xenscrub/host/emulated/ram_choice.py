# SPDX-License-Identifier: MIT
"""Chooses an emulated host's RAM, and how much memory of this machine it may take."""

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
"""Bytes that dom0 and Xen write before the first guest starts, for a host of any size."""
_TABLES: Final = 40
"""Bytes of Xen's tables for each page: 32 in the frame table, 8 in M2P."""
_SHARE: Final = 2
"""Divisor: an emulated host may take half of the available memory."""


class HostRam(NamedTuple):
    """The RAM of an emulated host.

    Attributes:
        memory_bytes: the host's memory, bytes.
        limit: bytes of this machine that sparse RAM may take; None for RAM that is not sparse.
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
    """Choose the RAM of an emulated host; sparse if it is larger than the host may take.

    Args:
        wanted: the host's memory, bytes; None for a default.
        limit: memory of this machine that the host may take, bytes; None for half of what is
            available, or the host's share of that half.
        say: gets a line if the RAM is sparse.
        share_with: number of hosts that share the available memory.
        memory: memory that was available before the first of them started; None for what is
            available now.

    Raises:
        InfrastructureError: this machine has too little memory for such a host.
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
    """Raise `InfrastructureError` if the limit is too small for Xen and dom0 alone."""
    needed = _BOOTED + wanted // PAGE * _TABLES
    if needed > allowed:
        raise InfrastructureError(
            f"a host of {gib(wanted)} needs {gib(needed)} of this machine to boot, and may take"
            f" {gib(allowed)}, {why}",
            todo="ask for less (--xen-host-memory), allow more (--xen-host-ram-limit), or close"
            " other programs",
        )


def memory_for(available: int, why: str = "this machine") -> int:
    """The default for a host's memory: half of `available` bytes, at most 8 GiB.

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

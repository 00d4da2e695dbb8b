# SPDX-License-Identifier: MIT
"""Copies of a dead guest's bytes: finds them in all RAM, and names the owner of each frame."""

from __future__ import annotations

import json
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from pyroaring import BitMap64

from pytest_xenscrub.dom0.program import start_program
from pytest_xenscrub.dom0.sent.frame_owners import PARTS
from pytest_xenscrub.errors import InfrastructureError, ResidueError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.guest.guest import Guest
    from pytest_xenscrub.outside.oracle import Oracle

_ASKED: Final = 1024
"""Upper bound on the frames whose owners are asked for: a Xen that does not scrub leaves as many
copies as the guest had frames."""
_SHOWN: Final = 8
_WHOSE: Final = "dom0 does not tell whose frames they are"
_ASK_SECONDS: Final = 60.0


@dataclass(frozen=True)
class Copy:
    """A frame that holds bytes of a guest.

    Attributes:
        mfn: the frame.
        words: number of words in the frame that name the guest; a page that the guest filled has
            256.
        owner: the frame's owner now, as far as Xen tells.
        kept: whether the frame belongs to Xen's heap now. Xen takes pages for its heap unscrubbed,
            and scrubs them when it frees them: no domain was given this frame.
    """

    mfn: int
    words: int
    owner: str
    kept: bool = False

    def __str__(self) -> str:
        return f"MFN {self.mfn:#x}: {self.words} words, {self.owner}"


def wait_gone(oracle: Oracle, guests: GuestFactory, guest: Guest, seconds: float) -> None:
    """Wait until none of the guest's frames holds its bytes, except those in Xen's heap.

    Call it once the backlog is 0. Time in which the host is starved does not count.
    """
    limit = guests.dom0.patience(f"scrubbing what {guest.name} left", seconds=seconds)
    heap = oracle.frame_table.xen_heap
    left = guest.frames
    while left := oracle.holding(left, guests.run, [guest.number]) - heap(left):
        if limit.passed:
            raise ResidueError(
                f"RESIDUE of {guest.name} in {len(left)} frames after {limit.seconds:.1f} s"
            )
        time.sleep(0.05)


def find_copies(oracle: Oracle, guests: GuestFactory, guest: Guest) -> list[Copy]:
    """Find all frames of the host that hold bytes of a guest.

    After the guest has ended and the backlog is 0, no frame should hold any.

    Raises:
        InfrastructureError: dom0 does not tell who owns the frames.
    """
    words = oracle.search(guests.run, guest.number)
    if not words:
        return []
    heap = oracle.frame_table.xen_heap(BitMap64(words))
    owners = _owners(guests.dom0, list(words)[:_ASKED])
    names = {other.domid: other.name for other in guests.guests.values() if not other.ended}
    names[0] = "dom0"
    copies = []
    for at, (mfn, count) in enumerate(words.items()):
        owner = "not asked for" if at >= _ASKED else "no domain's: free, or Xen's own"
        if mfn in heap:
            owner = "Xen's heap"
        if (domid := owners.get(mfn)) is not None:
            owner = f"{names.get(domid, 'of a guest that is not ours')}, domain {domid}"
        copies.append(Copy(mfn, count, owner, kept=mfn in heap))
    return copies


def _owners(dom0: Dom0, frames: list[int]) -> dict[int, int]:
    """Ask dom0 which domains own these frames; frames without an owner are left out."""
    domids = [domain.domid for domain in dom0.domains()]
    process = start_program(dom0.host, "frame_owners", parts=PARTS)
    question = json.dumps([domids, frames]).encode() + b"\n"
    try:
        told, complained = process.communicate(question, timeout=_ASK_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise InfrastructureError(f"{dom0.host.name}: {_WHOSE} within {_ASK_SECONDS} s") from None
    if process.returncode:
        raise InfrastructureError(
            f"{dom0.host.name}: {_WHOSE}",
            evidence={"stderr": complained.decode(errors="replace")[-1000:]},
        )
    return {int(mfn): domid for mfn, domid in json.loads(told.splitlines()[-1]).items()}


def describe(copies: Iterable[Copy]) -> str:
    """Describe the first few copies, a line each, and say how many there are."""
    lines = [str(copy) for copy in copies]
    more = [f"and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
    return "\n".join([f"its bytes are in {len(lines)} frames:", *lines[:_SHOWN], *more])

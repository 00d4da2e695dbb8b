# SPDX-License-Identifier: MIT
"""Pages of a dead guest that somebody else still uses: they are not free yet."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

import pytest
from pyroaring import BitMap64

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.program import start_program
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.units import PAGE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_xenscrub.dom0.answers import DomainInfo
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.scrub.probe import Probe
    from pytest_xenscrub.scrub.timing import Timings
    from pytest_xenscrub.scrub.victim import Victim

HELD_PAGES = 64


class Holder:
    """A program in dom0 that maps pages of a guest; see `pytest_xenscrub.dom0.holder`."""

    def __init__(self, host: Host) -> None:
        self._process = start_program(host, "holder")

    def _ask(self, line: str) -> str:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        with contextlib.suppress(BrokenPipeError):  # it has said why
            stdin.write(line.encode() + b"\n")
            stdin.flush()
        word, _, said = stdout.readline().decode().strip().partition(" ")
        if word != "ok":
            raise InfrastructureError(f"mapping pages of a guest in dom0: {said}", tried=line[:80])
        return said

    def map(self, domid: int, frames: BitMap64) -> None:
        """Map some frames of a domain."""
        self._ask(" ".join(["map", str(domid), *map(str, frames)]))

    def hash(self) -> str:
        """A checksum of what is in them."""
        return self._ask("hash")

    def release(self) -> None:
        """Let go of them."""
        self._ask("release")

    def close(self) -> None:
        """Let go of all, and end."""
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        self._process.wait(10)


@pytest.fixture
def holder(xen_host: Host, victim: Victim) -> Iterator[Holder]:
    """Ends before the guests are cleaned up: none could be while it holds pages."""
    program = Holder(xen_host)
    yield program
    program.close()


def wait_zombie(dom0: Dom0, domid: int, memory_bytes: int) -> DomainInfo:
    """Until a dying domain has no more than so much memory left."""
    deadline = Deadline.after(60, f"domain {domid}: dying but for what is held of it")
    while True:
        found = [d for d in dom0.domains() if d.domid == domid]
        assert found, "it is gone, and dom0 still has a mapping of its pages"
        if found[0].dying and found[0].memory_bytes <= memory_bytes:
            return found[0]
        deadline.check(**dom0.evidence())
        time.sleep(0.02)


@pytest.mark.quick
@pytest.mark.control
def test_pages_held_by_dom0_are_scrubbed_when_released(
    victim: Victim, probe: Probe, timings: Timings, dom0: Dom0, holder: Holder
) -> None:
    """A mapped page of a dying guest is freed by whoever lets go of it, long after the destroy.

    Until then it is nobody's to scrub: its user would read, or a backend write, in the midst of
    it. And what comes free so late, past the destroy, is owed the same scrub.
    """
    frames = victim.fill()
    held = BitMap64(frames[len(frames) * at // HELD_PAGES] for at in range(HELD_PAGES))
    holder.map(victim.guest.domid, held)
    filled = holder.hash()

    dying = victim.start_destroy(until="clean")
    zombie = wait_zombie(dom0, victim.guest.domid, HELD_PAGES * PAGE)
    dom0.wait_drained(Deadline.after(60, "scrubbing what is not held"))
    assert zombie.memory_bytes == HELD_PAGES * PAGE
    assert not dying.done()
    assert holder.hash() == filled, "pages were changed while dom0 had them mapped"

    holder.release()
    timings.record(dying.result())
    verdict = probe.read(frames)
    assert verdict.clean, str(verdict)
    assert held & verdict.read_frames, "no page that was held was read: nothing is proven"

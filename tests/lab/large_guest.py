# SPDX-License-Identifier: MIT
"""A guest larger than what its host may take of this machine; run by `test_sparse.py`."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

from pytest_xenscrub.host import holes
from pytest_xenscrub.units import GIB, gib

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.factory import GuestFactory
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.scrub.timing import Timings

GUEST_BYTES = int(os.environ.get("LARGE_GUEST_GIB", "16")) * GIB


class InUse(threading.Thread):
    """Looks again and again at how much of this machine the host's RAM takes."""

    def __init__(self, fd: int) -> None:
        super().__init__(daemon=True)
        self.fd = os.dup(fd)  # the host closes its own with itself
        self.most = self.now
        self.over = threading.Event()

    @property
    def now(self) -> int:
        return holes.used_bytes(self.fd)

    def run(self) -> None:
        while not self.over.wait(0.02):
            self.most = max(self.most, self.now)


def test_large_guest_comes_and_goes(
    guests: GuestFactory, dom0: Dom0, timings: Timings, xen_host: Host
) -> None:
    assert xen_host.outside is not None
    in_use = InUse(xen_host.outside.memory.fd)
    in_use.start()
    free, before = dom0.free_bytes(), in_use.now
    stood, began = xen_host.outside.stood_seconds(), time.monotonic()
    guest = guests.create("large", GUEST_BYTES, "")
    created = time.monotonic() - began
    guest.ready()
    print(f"created in {created:.1f} s, ready after {time.monotonic() - began:.1f} s")
    print(f"in use: {gib(before)} before, {gib(in_use.now)} with it")
    ended = guest.destroy(until="clean")
    row = timings.record(ended)
    print(f"destroyed in {row.destroy} s, clean after {row.clean} s by dom0's clock")
    stood = xen_host.outside.stood_seconds() - stood
    print(f"{time.monotonic() - began:.1f} s in all, stood {stood:.1f} s of it")
    in_use.over.set()
    in_use.join()
    print(f"in use: at most {gib(in_use.most)}, {gib(in_use.now)} after it")
    assert dom0.free_bytes() >= free - (8 << 20)

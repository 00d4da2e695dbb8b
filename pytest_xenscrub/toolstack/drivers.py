# SPDX-License-Identifier: MIT
"""The toolstacks' drivers of a run: made on first use, and again for each new dom0."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import XenScrubError
from pytest_xenscrub.toolstack.libvirt import LibvirtRun
from pytest_xenscrub.toolstack.xl import Xl

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.toolstack.protocol import Toolstack


class Drivers:
    """The toolstacks' drivers, by name.

    Args:
        tag: the run's tag, with which the names of all its domains begin.
        kernel: the guests' kernel.
    """

    def __init__(self, tag: str, kernel: Path) -> None:
        self._tag = tag
        self._kernel = kernel
        self._libvirt = LibvirtRun(tag)
        self._dom0: Dom0 | None = None
        self._made: dict[str, Toolstack] = {}

    def get(self, name: str, dom0: Dom0) -> Toolstack:
        """The driver of that name, xl or libvirt, with the kernel in its dom0.

        Raises:
            MissingToolError: libvirt's library is not installed on this machine.
            InfrastructureError: the toolstack cannot be used.
        """
        if dom0 is not self._dom0:  # a new dom0 does not have the old one's files
            self._made.clear()
            self._dom0 = dom0
        driver = self._made.get(name)
        if driver is None:
            driver = self._libvirt.toolstack(dom0) if name == "libvirt" else Xl(dom0, self._tag)
            driver.install(self._kernel)
            self._made[name] = driver
        return driver

    def hangs(self, name: str) -> bool:
        """Whether that toolstack did not answer in time in the present dom0."""
        return name == "libvirt" and self._libvirt.hangs(self._dom0)

    def close(self) -> None:
        """Remove everything that the drivers made. Never raises, may be called twice."""
        for driver in self._made.values():
            if self._dom0 is not None and self._dom0.alive:
                with contextlib.suppress(XenScrubError):
                    driver.close()
        self._made.clear()
        self._libvirt.close()

# SPDX-License-Identifier: MIT
"""The libvirt toolstack: libvirt-python here, libvirt's own daemon in dom0, ssh in between.

libvirt's library is not loaded before `LibvirtRun.toolstack` is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pytest_xenscrub.errors import MissingToolError

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.toolstack.libvirt.connection import Keeper
    from pytest_xenscrub.toolstack.libvirt.driver import Libvirt

INSTALL: Final = "pip install 'pytest-xenscrub[libvirt]'"
"""The command that compiles libvirt's Python library; it needs `NEEDS`."""
NEEDS: Final = ("gcc", "libvirt-dev", "pkg-config", "python3-dev")
OR_DEBIANS: Final = "or Debian's own: apt-get install python3-libvirt"


def missing_library() -> str:
    """Why libvirt's Python library cannot be loaded here; empty if it can."""
    try:
        import libvirt  # noqa: F401, PLC0415 - compiled against a C library that may be absent
    except ImportError as error:
        return str(error)
    return ""


class LibvirtRun:
    """libvirt for a whole run: the connection outlives a test, its drivers do not.

    Args:
        tag: the run's tag, with which the names of all its domains begin.
    """

    def __init__(self, tag: str) -> None:
        self._tag = tag
        self._keeper: Keeper | None = None

    def toolstack(self, dom0: Dom0) -> Libvirt:
        """A driver for the libvirt of this dom0.

        Raises:
            MissingToolError: libvirt's library is not installed on this machine.
        """
        if why := missing_library():
            raise MissingToolError(
                f"--xen-toolstack=libvirt: libvirt's Python library cannot be loaded: {why}",
                todo=f"{INSTALL} (compiles it, with {', '.join(NEEDS)}), {OR_DEBIANS}",
            )
        from pytest_xenscrub.toolstack.libvirt import connection, driver  # noqa: PLC0415 - now

        if self._keeper is None:
            self._keeper = connection.Keeper(self._tag)
        return driver.Libvirt(dom0, self._tag, self._keeper)

    def hangs(self, dom0: Dom0 | None) -> bool:
        """Whether the libvirt of this dom0 did not answer in time."""
        return self._keeper is not None and self._keeper.hangs(dom0)

    def close(self) -> None:
        """Close the connection. Never raises, may be called twice."""
        if self._keeper is not None:
            self._keeper.close()

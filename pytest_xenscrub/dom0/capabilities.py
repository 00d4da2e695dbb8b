# SPDX-License-Identifier: MIT
"""Finds which types of guest a dom0 can start on its Xen, and what it lacks for the others."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import InfrastructureError

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest_type import GuestType

_LOOK_SECONDS = 60.0
_NESTED_PAGING = "hap"
_HVM = "hvm-3.0-x86_32"
"""The capability that HVM guests need, because their firmware starts in 32-bit mode."""
# xl starts this program for an HVM guest; libxl has its path, which differs between distributions.
_DEVICE_MODEL = r"""
for lib in /usr/lib*/libxenlight.so.* /usr/lib/*/libxenlight.so.* /usr/local/lib*/libxenlight.so.* \
    /usr/lib/xen-*/lib/*/libxenlight.so.* $(ldconfig -p | sed -n 's/.*libxenlight\.so.* => //p')
do
    [ -e "$lib" ] && grep -aoE '/[[:alnum:]_./+-]*qemu-system-[[:alnum:]_]+' "$lib"
done | sort -u | while read -r path; do [ -x "$path" ] && echo "$path"; done
true
"""
_TODO = (
    "use a machine whose CPUs have it and whose firmware lets Xen use it, or --xen-guest-type=pv"
)


class Capabilities:
    """The capabilities of a dom0 and its Xen.

    Args:
        dom0: the dom0; each question is asked once.
    """

    def __init__(self, dom0: Dom0) -> None:
        self._dom0 = dom0
        self._missing: dict[GuestType, InfrastructureError | None] = {}

    def _info(self, name: str) -> list[str]:
        deadline = self._dom0.patience(f"{self._dom0.host.name}: xl info")
        return self._dom0.run(["xl", "info", name], deadline=deadline).check().stdout.split()

    @functools.cached_property
    def _virt_caps(self) -> list[str]:
        """The virt_caps of `xl info`; Xen's Python library leaves out nested paging."""
        return self._info("virt_caps")

    def _device_models(self) -> list[str]:
        """Programs in dom0 that xl may start as an HVM guest's device model."""
        deadline = Deadline.after(
            _LOOK_SECONDS, f"{self._dom0.host.name}: looking for a device model"
        )
        command = ["sh", "-c", _DEVICE_MODEL]
        return self._dom0.run(command, deadline=deadline).check().stdout.split()

    def runs(self, guest_type: GuestType) -> bool:
        """Whether guests of a type can run here."""
        if guest_type not in self._missing:
            self._missing[guest_type] = self._look(guest_type)
        return self._missing[guest_type] is None

    def check_runs(self, guest_type: GuestType) -> None:
        """Check that guests of a type can run here.

        Raises:
            InfrastructureError: they cannot. The same error object is raised each time, so that it
                is shown in full only once.
        """
        if not self.runs(guest_type) and (error := self._missing[guest_type]) is not None:
            raise error

    def _look(self, guest_type: GuestType) -> InfrastructureError | None:
        """Why guests of a type cannot run here; None if they can."""
        if guest_type == "pv":
            return None
        what = f"{self._dom0.host.name}: {guest_type} guests cannot run here:"
        if _NESTED_PAGING not in self._virt_caps:
            return InfrastructureError(
                f"{what} Xen has no nested paging",
                tried=f"xl info: virt_caps {' '.join(self._virt_caps)}, and hap is needed",
                todo=_TODO,
            )
        if guest_type == "pvh":
            return None
        if _HVM not in (xen_caps := self._info("xen_caps")):
            return InfrastructureError(
                f"{what} this Xen has none",
                tried=f"xl info: xen_caps {' '.join(xen_caps)}, and {_HVM} is needed",
                todo=_TODO,
            )
        if not self._device_models():
            return InfrastructureError(
                f"{what} dom0 has no device model",
                tried="the path of qemu-system-* that libxl has: there is no such program",
                todo="install it in dom0 (Debian's package is qemu-system-xen), or use"
                " --xen-guest-type=pv",
            )
        return None

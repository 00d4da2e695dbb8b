# SPDX-License-Identifier: MIT
"""Which types of guest a dom0 can start on its Xen, and what is missing where it cannot."""

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
"""Firmware of HVM guests starts in 32 bits."""
# The program that xl starts for an HVM guest has its path in libxl; each distribution has another.
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
    """What a dom0 and its Xen can do.

    Args:
        dom0: whom to ask; each thing once.
    """

    def __init__(self, dom0: Dom0) -> None:
        self._dom0 = dom0
        self._missing: dict[GuestType, InfrastructureError | None] = {}

    def _info(self, name: str) -> list[str]:
        deadline = self._dom0.patience(f"{self._dom0.host.name}: xl info")
        return self._dom0.run(["xl", "info", name], deadline=deadline).check().stdout.split()

    @functools.cached_property
    def _virt_caps(self) -> list[str]:
        """What `xl info` tells; Xen's Python library leaves out nested paging."""
        return self._info("virt_caps")

    def _device_models(self) -> list[str]:
        """Programs in dom0 that xl may start for an HVM guest."""
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
        """See that guests of a type can run here.

        Raises:
            InfrastructureError: they cannot: the same error each time, which is told in full once.
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

# SPDX-License-Identifier: MIT
"""The domctl and sysctl interfaces of dom0's tools and of a Xen, and whether they match.

Tools put an interface version into every call, and Xen refuses (EACCES) any but its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.host.emulated.image_recipe import XEN_OF_SUITE

if TYPE_CHECKING:
    from pytest_xenscrub.hypervisor.artefact import Artefact


@dataclass(frozen=True)
class Interfaces:
    """The interface versions that a toolstack puts into its calls, or that a Xen accepts.

    Attributes:
        domctl: version of the calls for domains.
        sysctl: version of the calls for the machine.
    """

    domctl: int
    sysctl: int

    def __str__(self) -> str:
        return f"domctl {self.domctl:#x} and sysctl {self.sysctl:#x}"


TOOLS_OF_SUITE = {
    "bookworm": Interfaces(domctl=0x15, sysctl=0x15),
    "trixie": Interfaces(domctl=0x17, sysctl=0x15),
}
"""Interface versions of an emulated dom0's tools, from the public headers in Debian's
`libxen-dev`."""


def tools_of_suite(suite: str) -> Interfaces:
    """The interface versions of an emulated dom0's tools, without booting it.

    Raises:
        ConfigurationError: the suite is not known.
    """
    try:
        return TOOLS_OF_SUITE[suite]
    except KeyError:
        raise ConfigurationError(
            f"the tools of a {suite!r} dom0 are not known",
            todo=f"use one of: {', '.join(TOOLS_OF_SUITE)}",
        ) from None


def matches(artefact: Artefact, tools: Interfaces) -> bool:
    """Whether these tools can drive that hypervisor."""
    return Interfaces(artefact.domctl, artefact.sysctl) == tools


def check_interfaces(artefact: Artefact, tools: Interfaces, *, suite: str = "") -> None:
    """Check, before anything boots, that the host's tools can drive a hypervisor.

    Args:
        artefact: the hypervisor.
        tools: interface versions of the host's tools.
        suite: the Debian release of an emulated host; empty for a real one.

    Raises:
        ConfigurationError: they cannot; the error has both versions, and says what to do.
    """
    if matches(artefact, tools):
        return
    wanted = Interfaces(artefact.domctl, artefact.sysctl)
    whose = f"{suite}'s tools ({XEN_OF_SUITE[suite]})" if suite else "the tools in dom0"
    raise ConfigurationError(
        f"{whose} do not drive this {artefact.version} hypervisor ({artefact.variant}):"
        f" they speak {tools}, it wants {wanted}",
        tried="the tree's public headers against what the host's tools put into their calls",
        todo="--xen-tools=build builds the tree's own tools and uses them for this variant; "
        + _elsewhere(wanted, suite),
    )


def _elsewhere(wanted: Interfaces, suite: str) -> str:
    """Advice where matching tools are, other than in the tree itself."""
    named = [
        f"{other} ({XEN_OF_SUITE[other]})"
        for other, tools in TOOLS_OF_SUITE.items()
        if tools == wanted
    ]
    if suite and named:
        return f"or use a dom0 that has matching ones: --xen-suite={' or '.join(named)}"
    known = ", ".join(
        f"{other} has {XEN_OF_SUITE[other]}'s ({tools})" for other, tools in TOOLS_OF_SUITE.items()
    )
    if suite:
        return f"no --xen-suite has matching ones: {known}"
    return "or install the tools of that release in dom0"

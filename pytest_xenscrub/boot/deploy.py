# SPDX-License-Identifier: MIT
"""How a host comes to run the Xen that was chosen, and gets its own back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pytest_xenscrub.boot.tools_dom0 import HostWithTools, activate, install
from pytest_xenscrub.deadline import Deadline

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.errors import XenScrubError
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.hypervisor.choice import ChosenXen
    from pytest_xenscrub.hypervisor.interface import Interfaces
    from pytest_xenscrub.hypervisor.tools_artefact import ToolsArtefact

    ToolsFor = Callable[[ChosenXen, Interfaces, str], ToolsArtefact | None]

TOOLS_SECONDS = 120.0


class Deployment(Protocol):
    """A host, with the Xen that was chosen running on it between `start` and `stop`."""

    def start(self) -> Host:
        """Have the Xen run.

        Raises:
            InfrastructureError: the host cannot be had, or something around the Xen failed.
            XenFaultError: the Xen was started, and does not come up.
            UndecidedError: the Xen was started, and nothing tells why nobody answers.
        """

    def blamed(self, error: XenScrubError) -> XenScrubError:
        """The same error, or the one that it is because the Xen had been started before it."""

    @property
    def defers(self) -> bool | None:
        """Whether the Xen leaves unscrubbed pages after a destroy; None where nobody knows."""

    def stop(self, *, broken: bool) -> None:
        """Give the host back as it was. Never raises, may be called twice.

        Args:
            broken: it may no longer answer, so that waiting for it is in vain.
        """


def with_tools(host: Host, tools: ToolsArtefact | None) -> Host:
    """The host, driven with tools of our own if there are any to be put there."""
    if tools is None:
        return host
    deadline = Deadline.after(TOOLS_SECONDS, f"{host.name}: putting tools into dom0")
    install(host, tools, deadline=deadline)
    return HostWithTools(host, activate(host, tools, deadline=deadline))

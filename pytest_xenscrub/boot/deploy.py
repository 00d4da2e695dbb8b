# SPDX-License-Identifier: MIT
"""`Deployment`: the protocol that boots the chosen Xen on a host, and its own Xen again."""

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
    """Runs the chosen Xen on a host, from `start` to `stop`."""

    def start(self) -> Host:
        """Boot the Xen, and return the host that runs it.

        Raises:
            InfrastructureError: the host is not available, or something around Xen failed.
            XenFaultError: the Xen was started and does not come up.
            UndecidedError: the Xen was started, and the host does not answer for an unknown reason.
        """

    def blamed(self, error: XenScrubError) -> XenScrubError:
        """The error to report instead of `error`, depending on whether the Xen was started."""

    @property
    def defers(self) -> bool | None:
        """Whether the Xen leaves unscrubbed pages after a destroy; None if unknown."""

    def stop(self, *, broken: bool) -> None:
        """Give the host back with its own Xen. Never raises; may be called twice.

        Args:
            broken: whether the host may not answer any more, so that waiting would be in vain.
        """


def with_tools(host: Host, tools: ToolsArtefact | None) -> Host:
    """The host, driven with the built tools if there are any."""
    if tools is None:
        return host
    deadline = Deadline.after(TOOLS_SECONDS, f"{host.name}: putting tools into dom0")
    install(host, tools, deadline=deadline)
    return HostWithTools(host, activate(host, tools, deadline=deadline))

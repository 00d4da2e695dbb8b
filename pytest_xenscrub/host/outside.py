# SPDX-License-Identifier: MIT
"""The view of an emulated host from outside, without asking its Xen or its dom0."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.errors import InfrastructureError
    from pytest_xenscrub.host.memory import HostMemory
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.host.sampling import Sampling


class Outside(Protocol):
    """The view of an emulated host from outside: `Host.outside`."""

    @property
    def memory(self) -> HostMemory:
        """The host's RAM, to be read while the host runs.

        Raises:
            InfrastructureError: the host has been closed.
        """

    def settle(self, deadline: Deadline) -> None:
        """Wait until the host runs at full speed, so that the first timing is like later ones."""

    def starved_seconds(self) -> float:
        """How long other work of this machine has kept the host's CPUs from running so far, s.

        0 for a host that has been closed.
        """

    def stood_seconds(self) -> float:
        """How long this tool has stopped the host and its clock so far, s.

        0 for a host that has been closed.
        """

    def why_ended(self) -> InfrastructureError | None:
        """Why the tool ended the host, whose silence is then not Xen's; None if it did not."""

    def where_cpus_are(self) -> str:
        """What each CPU executes, a line each; can be read even from a host that hangs."""

    def start_sampling(self) -> Sampling | None:
        """Start to sample the CPUs; None if a sampler runs already."""


def starvation(host: Host) -> Callable[[], float]:
    """A function that tells how long other work has kept a host's CPUs from running so far, s.

    Always 0 for a real host.
    """
    return _never if host.outside is None else host.outside.starved_seconds


def standing(host: Host) -> Callable[[], float]:
    """A function that tells how long the tool has stopped a host so far, s; 0 for a real host."""
    return _never if host.outside is None else host.outside.stood_seconds


def kept(host: Host) -> Callable[[], float]:
    """A function that tells how long a host has not run so far, for either reason, s.

    For waits by this machine's clock, which goes on meanwhile. The host's own clock stops with it.
    """
    starved, stood = starvation(host), standing(host)
    return lambda: starved() + stood()


def _never() -> float:
    return 0.0

# SPDX-License-Identifier: MIT
"""What this machine sees of a host from outside, with no word of its Xen's or its dom0's."""

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
    """The outside of a host that this machine emulates: `Host.outside`."""

    @property
    def memory(self) -> HostMemory:
        """The host's RAM, to be read while the host runs.

        Raises:
            InfrastructureError: the host has been closed.
        """

    def settle(self, deadline: Deadline) -> None:
        """Wait until the host is as fast as it will be, so that the first timing is like others."""

    def starved_seconds(self) -> float:
        """How long other work of this machine has kept the host's CPUs from running so far, s.

        0 for a host that has been closed.
        """

    def stood_seconds(self) -> float:
        """How long we have had the host stand still so far, its clock included, s.

        0 for a host that has been closed.
        """

    def why_ended(self) -> InfrastructureError | None:
        """Why we ended the host, if we did: no silence of its is Xen's fault then."""

    def where_cpus_are(self) -> str:
        """What each CPU executes, a line for each: what a host that hangs can still tell."""

    def start_sampling(self) -> Sampling | None:
        """Look at the CPUs again and again from now on; None where somebody looks already."""


def starvation(host: Host) -> Callable[[], float]:
    """What tells how long other work has kept a host's CPUs from running so far, s.

    A machine of its own is kept by nobody: always 0.
    """
    return _never if host.outside is None else host.outside.starved_seconds


def standing(host: Host) -> Callable[[], float]:
    """What tells how long we have had a host stand still so far, s; always 0 as above."""
    return _never if host.outside is None else host.outside.stood_seconds


def kept(host: Host) -> Callable[[], float]:
    """What tells how long a host has not run so far for either reason, s.

    For who waits for it by this machine's clock. The host's own clock stands still with it.
    """
    starved, stood = starvation(host), standing(host)
    return lambda: starved() + stood()


def _never() -> float:
    return 0.0

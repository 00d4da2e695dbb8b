# SPDX-License-Identifier: MIT
"""What this machine sees of a host from outside, with no word of its Xen's or its dom0's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.deadline import Deadline
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

    def where_cpus_are(self) -> str:
        """What each CPU executes, a line for each: what a host that hangs can still tell."""

    def start_sampling(self) -> Sampling | None:
        """Look at the CPUs again and again from now on; None where somebody looks already."""


def starvation(host: Host) -> Callable[[], float]:
    """What tells how long a host's CPUs have been kept from running so far, s.

    A machine of its own is kept by nobody: always 0.
    """
    return _kept_by_nobody if host.outside is None else host.outside.starved_seconds


def _kept_by_nobody() -> float:
    return 0.0

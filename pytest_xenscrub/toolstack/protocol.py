# SPDX-License-Identifier: MIT
"""What every toolstack can do, whatever drives it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from pytest_xenscrub.guest_type import GuestType, paging_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path
    from uuid import UUID

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.dom0.answers import Reclaim, Until
    from pytest_xenscrub.errors import CommandError

OnCrash = Literal["destroy", "preserve", "restart"]


def wants_memory(error: CommandError) -> bool:
    """Whether a toolstack refused a guest for want of memory, by its own words or libxl's.

    Any other refusal (a full disk of dom0's, a daemon that is gone) says nothing of Xen's memory.
    """
    return "memory" in str(error).lower()


@dataclass(frozen=True)
class DomainConfig:
    """A domain that is wanted.

    Attributes:
        name: its name, unique on the host.
        uuid: its UUID; with it a domain is found again after a reboot, under another domid.
        command_line: for the guest's kernel.
        memory_bytes: bytes, a multiple of 1 MiB.
        vcpus: how many.
        on_crash: what becomes of it when it crashes.
        paused: whether it is left paused, built and never run.
        node: NUMA node, one that has CPUs, whose memory and CPUs it gets as long as there is some;
            None leaves that to Xen.
        type: of guest: "pv"; or "pvh" or "hvm", which need nested paging; one of
            `Toolstack.types`.
        claim: whether its memory is claimed before it is built, one of `Toolstack.claims`; None
            leaves that to the toolstack.
        maximum_bytes: what the memory map of a guest with nested paging shows, bytes; more than
            `memory_bytes`, it is populated on demand: a page comes when it is first used, until
            there are no more. None: what it has.
        pool_bytes: of its paging pool, from which Xen takes the page tables of a guest with nested
            paging, where `Toolstack.sizes_pool`; None leaves that to the toolstack.
    """

    name: str
    uuid: UUID
    command_line: str
    memory_bytes: int
    vcpus: int
    on_crash: OnCrash = "destroy"
    paused: bool = False
    node: int | None = None
    type: GuestType = "pv"
    claim: bool | None = None
    maximum_bytes: int | None = None
    pool_bytes: int | None = None

    @property
    def set_aside_bytes(self) -> int:
        """What Xen sets aside for its page tables, bytes."""
        most = max(self.memory_bytes, self.maximum_bytes or 0)
        return self.pool_bytes or paging_bytes(self.type, most, self.vcpus)

    @property
    def promised_bytes(self) -> int:
        """What its memory map shows and it does not have, bytes."""
        return max(0, (self.maximum_bytes or 0) - self.memory_bytes)


@dataclass(frozen=True)
class Created:
    """A domain that the toolstack has just created.

    Attributes:
        domid: its number.
        issued: when the create was issued, s on dom0's monotonic clock.
        returned: when the toolstack returned, s on the same clock.
    """

    domid: int
    issued: float
    returned: float

    @property
    def seconds(self) -> float:
        """From issued to returned, s."""
        return self.returned - self.issued


@dataclass(frozen=True)
class Listed:
    """A domain as the toolstack lists it; `state` as `xl list` has it: `r-----`, `--p--d`."""

    name: str
    domid: int
    memory_bytes: int
    vcpus: int
    state: str


class Console(Protocol):
    """A guest's PV console. It does not end with the domain everywhere, so reads have a limit."""

    def read(self, timeout: float) -> bytes:
        """What has come; b"" if nothing did within `timeout` s.

        Raises:
            EOFError: the console was closed: its domain is gone.
        """

    def write(self, data: bytes) -> None:
        """Type something."""

    def close(self) -> None:
        """Let go of it. Never raises, may be called twice."""


class Toolstack(Protocol):
    """Creates and ends domains. Whatever takes longer than its deadline is an error naming it."""

    @property
    def name(self) -> str:
        """Its name, as `--xen-toolstack` has it."""

    @property
    def version(self) -> str:
        """Its version, as dom0 has it; empty where that cannot be found out."""

    @property
    def types(self) -> Collection[GuestType]:
        """What `DomainConfig.type` may be."""

    @property
    def claims(self) -> Collection[bool]:
        """What `DomainConfig.claim` may say, beside None."""

    @property
    def places(self) -> bool:
        """Whether a domain's memory can come from `DomainConfig.node`."""

    @property
    def sizes_pool(self) -> bool:
        """Whether `DomainConfig.pool_bytes` may be set."""

    @property
    def builder(self) -> Callable[[DomainConfig], list[str]] | None:
        """Makes the command that builds a domain in a process of its own in dom0.

        None where a daemon builds domains.
        """

    def install(self, kernel: Path) -> None:
        """Make a guest kernel available to the domains to come."""

    def create(self, config: DomainConfig, *, deadline: Deadline) -> Created:
        """Create a domain from the kernel installed, and start it unless it is wanted paused.

        Raises:
            CommandError: the toolstack refused.
            XenHungError: it hung.
        """

    def console(self, domid: int) -> Console:
        """The console of a domain; what it said before is still there, if nobody has read it."""

    def list(self, deadline: Deadline) -> list[Listed]:
        """All domains, dom0 too."""

    def destroy(self, domid: int, *, until: Until, deadline: Deadline) -> Reclaim:
        """Destroy a domain, watched in dom0."""

    def pause(self, domid: int, deadline: Deadline) -> None:
        """Stop a domain's vCPUs where they are."""

    def shutdown(self, domid: int, deadline: Deadline) -> None:
        """Ask a guest to power itself off; returns at once."""

    def reboot(self, domid: int, deadline: Deadline) -> None:
        """Ask a guest to reboot itself; returns at once."""

    def room_bytes(self, deadline: Deadline) -> int:
        """Room for saved domains, bytes."""

    def save(self, domid: int, name: str, *, until: Until, deadline: Deadline) -> Reclaim:
        """Save a domain to a file of that name, which ends it; watched from when it stands still.

        Raises:
            CommandError: the toolstack, or the guest, could not.
            XenHungError: it hung.
        """

    def checkpoint(self, domid: int, name: str, deadline: Deadline) -> None:
        """Save a domain as `save` does, and have it go on as what it was.

        Raises:
            NotApplicableError: this toolstack cannot; else as `save`.
        """

    def restore(self, name: str, deadline: Deadline) -> None:
        """Have a saved domain go on, with the UUID that it had; its file is removed."""

    def migrate(self, domid: int, *, until: Until, deadline: Deadline) -> Reclaim:
        """Migrate a running domain to this very host; what is watched is the one that it leaves.

        Raises:
            NotApplicableError: this toolstack cannot; else as `save`.
        """

    def clean(self) -> None:
        """Destroy every domain of this run's that is left."""

    def close(self) -> None:
        """As `clean`, and remove all else that it made."""

# SPDX-License-Identifier: MIT
"""The protocols of toolstacks and consoles, and the records that they exchange."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, Protocol

from pytest_xenscrub.guest_type import GuestType, paging_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path
    from uuid import UUID

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.dom0.answers import Reclaim, Until
    from pytest_xenscrub.errors import CommandError

OnCrash = Literal["destroy", "preserve", "restart"]


_SHORT_OF_MEMORY: Final = re.compile(
    r"free memory for the domain"  # xl, before it builds
    r"|allocate low memory for domain"  # libxenguest, for a PV guest
    r"|allocate memory for HVM guest"  # libxenguest, for PVH and HVM, with a claim and without
    r"|(domain creation fail|boot_mem_init|populate_physmap|mempool|shadow)"
    r"[^\n]*: Cannot allocate memory",
    re.IGNORECASE,
)
_SAID_BY_TOOLSTACK: Final = ("stdout", "stderr", "libvirt", "libxl's log")
"""Which evidence a toolstack wrote. Logs of Xen and of dom0 mention memory for other reasons."""


def wants_memory(error: CommandError) -> bool:
    """Whether a toolstack refused a guest because Xen had too little memory, by libxl's message.

    Any other refusal (a full disk in dom0, a daemon that is gone, a dom0 that is itself out of
    memory) is not about Xen's memory.
    """
    said = [error.what, *(error.evidence.get(name, "") for name in _SAID_BY_TOOLSTACK)]
    return any(_SHORT_OF_MEMORY.search(text) for text in said)


@dataclass(frozen=True)
class DomainConfig:
    """The configuration of a domain to create.

    Attributes:
        name: the domain's name, unique on the host.
        uuid: the domain's UUID, by which it is found after a reboot under another domid.
        command_line: command line of the guest's kernel.
        memory_bytes: the domain's memory in bytes, a multiple of 1 MiB.
        vcpus: number of vCPUs.
        on_crash: what the toolstack does with the domain when it crashes.
        paused: whether the domain stays paused after it is built.
        node: NUMA node with CPUs, from which the domain gets memory and CPUs as far as there are
            any; None leaves the choice to Xen.
        type: of guest: "pv"; or "pvh" or "hvm", which need nested paging; one of
            `Toolstack.types`.
        claim: whether the memory is claimed before the domain is built, one of
            `Toolstack.claims`; None leaves the choice to the toolstack.
        maximum_bytes: the memory in bytes that the memory map of a PVH or HVM guest shows. If that
            is more than `memory_bytes`, Xen populates on demand: a page comes at its first use,
            until none is left. None: as much as `memory_bytes`.
        pool_bytes: size of the paging pool, from which Xen takes the page tables of a PVH or HVM
            guest, if `Toolstack.sizes_pool`; None leaves the choice to the toolstack.
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
        """Memory that Xen sets aside for the domain's page tables, bytes."""
        most = max(self.memory_bytes, self.maximum_bytes or 0)
        return self.pool_bytes or paging_bytes(self.type, most, self.vcpus)

    @property
    def promised_bytes(self) -> int:
        """Memory that the domain's memory map shows beyond `memory_bytes`, bytes."""
        return max(0, (self.maximum_bytes or 0) - self.memory_bytes)


@dataclass(frozen=True)
class Created:
    """A domain that the toolstack has just created.

    Attributes:
        domid: the domain's number.
        issued: when the create was issued, s on dom0's monotonic clock.
        returned: when the toolstack returned, s on the same clock.
    """

    domid: int
    issued: float
    returned: float

    @property
    def seconds(self) -> float:
        """Time from issued to returned, s."""
        return self.returned - self.issued


@dataclass(frozen=True)
class Listed:
    """A domain in the toolstack's list; `state` is as in `xl list`: `r-----`, `--p--d`."""

    name: str
    domid: int
    memory_bytes: int
    vcpus: int
    state: str


class Console(Protocol):
    """A guest's PV console. A console may outlive its domain, so reads have a limit."""

    def read(self, timeout: float) -> bytes:
        """Read what has come; b"" if nothing came within `timeout` s.

        Raises:
            EOFError: the console was closed: its domain, or the connection, is gone.
        """

    def write(self, data: bytes) -> None:
        """Write to the guest, as from a keyboard."""

    def close(self) -> None:
        """Close the console. Never raises; may be called twice."""


class Toolstack(Protocol):
    """Creates and ends domains. A call that exceeds its deadline raises an error naming it."""

    @property
    def name(self) -> str:
        """The toolstack's name, as in `--xen-toolstack`."""

    @property
    def version(self) -> str:
        """The toolstack's version in dom0; empty if unknown."""

    @property
    def types(self) -> Collection[GuestType]:
        """What `DomainConfig.type` may be."""

    @property
    def claims(self) -> Collection[bool]:
        """The values that `DomainConfig.claim` may have besides None."""

    @property
    def places(self) -> bool:
        """Whether a domain's memory can come from `DomainConfig.node`."""

    @property
    def survives_early_crashes(self) -> bool:
        """Whether the toolstack still answers after a domain crashed while it was starting."""

    @property
    def sizes_pool(self) -> bool:
        """Whether `DomainConfig.pool_bytes` may be set."""

    @property
    def builder(self) -> Callable[[DomainConfig], list[str]] | None:
        """Makes the command that builds a domain in its own process in dom0.

        None if a daemon builds domains.
        """

    def install(self, kernel: Path) -> None:
        """Make a guest kernel available to domains created from now on."""

    def create(self, config: DomainConfig, *, deadline: Deadline) -> Created:
        """Create a domain from the installed kernel, and start it unless `config.paused`.

        Raises:
            CommandError: the toolstack refused.
            XenHungError: the toolstack hangs.
        """

    def console(self, domid: int) -> Console:
        """Open the console of a domain; earlier output that was not read is still there."""

    def list(self, deadline: Deadline) -> list[Listed]:
        """All domains, including dom0."""

    def destroy(self, domid: int, *, until: Until, deadline: Deadline) -> Reclaim:
        """Destroy a domain, and watch its memory in dom0."""

    def pause(self, domid: int, deadline: Deadline) -> None:
        """Stop a domain's vCPUs where they are."""

    def shutdown(self, domid: int, deadline: Deadline) -> None:
        """Ask a guest to power off; returns at once."""

    def reboot(self, domid: int, deadline: Deadline) -> None:
        """Ask a guest to reboot; returns at once."""

    def room_bytes(self, deadline: Deadline) -> int:
        """Disk space for saved domains, bytes."""

    def save(self, domid: int, name: str, *, until: Until, deadline: Deadline) -> Reclaim:
        """Save a domain to a file of that name, which ends the domain; watch its memory.

        Raises:
            CommandError: the toolstack or the guest failed.
            XenHungError: the toolstack hangs.
        """

    def checkpoint(self, domid: int, name: str, deadline: Deadline) -> None:
        """Save a domain as `save` does, and let the same domain go on.

        Raises:
            NotApplicableError: this toolstack has no such call; other errors as for `save`.
        """

    def restore(self, name: str, deadline: Deadline) -> None:
        """Restore a saved domain with its former UUID, and remove its file."""

    def migrate(self, domid: int, *, until: Until, deadline: Deadline) -> Reclaim:
        """Migrate a running domain to the same host, and watch the memory of the old domain.

        Raises:
            NotApplicableError: this toolstack has no such call; other errors as for `save`.
        """

    def clean(self) -> None:
        """Destroy every domain of this run that is left."""

    def close(self) -> None:
        """Destroy all domains as `clean` does, and remove everything else that was made."""

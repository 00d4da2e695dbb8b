# SPDX-License-Identifier: MIT
"""`GuestFactory`: creates this run's guests, and knows how much memory is left for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyroaring import BitMap64

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.guest.guest import Guest
from pytest_xenscrub.guest_type import paging_bytes
from pytest_xenscrub.identity import new_uuid
from pytest_xenscrub.toolstack.protocol import DomainConfig, OnCrash
from pytest_xenscrub.units import MIB, PAGE, gib

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pytest_xenscrub.dom0.client import Dom0
    from pytest_xenscrub.guest.listeners import Listeners
    from pytest_xenscrub.guest.sample import Sample
    from pytest_xenscrub.guest_type import GuestType
    from pytest_xenscrub.outside.exposure import Witness
    from pytest_xenscrub.toolstack.protocol import Toolstack

RESERVE_BYTES = 4 * MIB
"""Memory left free beside the largest guest: Xen needs it to manage that guest."""
_RESERVE_SHARE = 1024
"""Divisor for a further part of free memory that is left free."""
LEAST_BYTES = 8 * MIB
"""The smallest guest worth creating."""
_MORE_EMULATED = "or give the emulated host more memory (--xen-host-memory)"
_MORE_REAL = (
    "end other guests; where dom0 has it all, boot Xen with a dom0 of a fixed size, such as"
    " dom0_mem=4G,max:4G"
)
_SHOWN_PAGES = 16


@dataclass(frozen=True)
class InCommon:
    """What the guests of a run have in common.

    Attributes:
        run: the run's number in the pattern, 24 bits.
        tag: the run's tag in the names and UUIDs of its guests.
        numbers: the guests' numbers in the pattern; shared by all factories of the run.
        given_back: frames that are free and dirty by contract, because live guests gave them back.
        cpus: number of the host's CPUs.
        clean_byte: the byte that Xen scrubs with.
        reveal: whether guests print the bytes of dirty pages.
        sample: which pages guests fill; None for all.
    """

    run: int
    tag: str
    numbers: Iterator[int]
    given_back: BitMap64
    cpus: int
    clean_byte: int
    reveal: bool
    sample: Sample | None = None


class GuestFactory:
    """Creates guests that run this project's kernel.

    Attributes:
        toolstack: the toolstack that creates the guests.
        dom0: the host's dom0.
        run: this run's number in the pattern, 24 bits.
        tag: this run's tag in the names of its guests.
        listeners: receive progress, console output and more of guests created from now on.
        victim_type: guest type of the victims.
        claim: whether the memory of guests created from now on is claimed; see `DomainConfig`.
        names: names of this run's guests, by their number in the pattern.
        guests: the guests that were created, by their number in the pattern.
        unfilled: frames that their last owner, one of these guests, had not filled.
    """

    def __init__(
        self,
        toolstack: Toolstack,
        dom0: Dom0,
        common: InCommon,
        listeners: Listeners,
        *,
        victim_type: GuestType = "pv",
    ) -> None:
        self.toolstack = toolstack
        self.dom0 = dom0
        self.run = common.run
        self.tag = common.tag
        self.listeners = listeners
        self.victim_type = victim_type
        self.claim: bool | None = None
        self.names: dict[int, str] = {}
        self.guests: dict[int, Guest] = {}
        self.unfilled = BitMap64()
        self._common = common

    @property
    def witness(self) -> Witness | None:
        """Watches from outside how guests' bytes leave RAM; None if RAM cannot be seen."""
        return self.listeners.witness

    def create(
        self,
        role: str,
        memory_bytes: int,
        actions: str,
        *,
        vcpus: int | None = None,
        on_crash: OnCrash = "destroy",
        even_if_short: bool = False,
        node: int | None = None,
        guest_type: GuestType | None = None,
        maximum_bytes: int | None = None,
        pool_bytes: int | None = None,
    ) -> Guest:
        """Create and start a guest; the guest works through `actions` on its own.

        Args:
            role: part of the guest's name: victim, probe.
            memory_bytes: the guest's memory, rounded down to whole MiB.
            actions: the guest's actions, as in the kernel's option `do=`: "fill", "scan,fill".
            vcpus: number of vCPUs; by default one for each of the host's CPUs.
            on_crash: what the toolstack does with the guest when it crashes.
            even_if_short: let the toolstack decide whether memory suffices, because unscrubbed
                pages need not count as free. A toolstack may then take memory from dom0.
            node: NUMA node of the guest's memory; see `DomainConfig`.
            guest_type: by default `victim_type` for a victim, and "pv" for all others.
            maximum_bytes: the memory that the guest's memory map shows; see `DomainConfig`. The
                guest uses no more than it has, unless told to `overdraw=`.
            pool_bytes: size of the guest's paging pool; see `DomainConfig`.

        Raises:
            ConfigurationError: the host has less free memory.
            CommandError: the toolstack refused.
            XenHungError: the toolstack hangs: nothing moves any more.
        """
        memory_bytes = memory_bytes // MIB * MIB
        guest_type = guest_type or (self.victim_type if role == "victim" else "pv")
        if guest_type != "pv" and self.witness is not None:
            self.witness.oracle.frame_table.locate()
        self._check_fits(role, memory_bytes, even_if_short=even_if_short)
        number = next(self._common.numbers)
        name = self.names[number] = f"{self.tag}-{role}-{number}"
        config = DomainConfig(
            name=name,
            uuid=new_uuid(self.tag),
            command_line=self._command_line(number, actions)
            + (f" pages={memory_bytes // PAGE}" if maximum_bytes else self._sample(number)),
            memory_bytes=memory_bytes,
            vcpus=self._common.cpus if vcpus is None else vcpus,
            on_crash=on_crash,
            node=node,
            type=guest_type,
            claim=self.claim,
            maximum_bytes=maximum_bytes,
            pool_bytes=pool_bytes,
        )
        guest = self.guests[number] = self._started(config)
        return guest

    def _check_fits(self, role: str, memory_bytes: int, *, even_if_short: bool) -> None:
        free = self.dom0.free_bytes()
        if memory_bytes >= LEAST_BYTES and (memory_bytes <= free or even_if_short):
            return
        raise ConfigurationError(
            f"{self.dom0.host.name}: a {role} of {gib(memory_bytes)} is not possible:"
            f" {gib(free)} are free, and a guest needs {gib(LEAST_BYTES)}",
            todo="choose another --xen-guest-memory; "
            + (_MORE_EMULATED if self.dom0.host.kind.startswith("emulated") else _MORE_REAL),
        )

    def _command_line(self, number: int, actions: str) -> str:
        common = self._common
        return (
            f"run={self.run:#x} guest={number} clean={common.clean_byte:#04x} do={actions}"
            f" show={_SHOWN_PAGES} reveal={int(common.reveal)}"
        )

    def _sample(self, number: int) -> str:
        """Options for the sample that a guest fills; empty for all.

        Not used for a guest that is populated on demand: it fills all, because it has only the
        pages that it touches.
        """
        sample = self._common.sample
        return "" if sample is None else f" {sample.of_guest(number).words}"

    def _started(self, config: DomainConfig) -> Guest:
        name, size = config.name, config.memory_bytes
        self.listeners.update(f"{name}: creating {gib(size)}")
        deadline = self.dom0.patience(f"{self.toolstack.name} create {name}", size)
        created = self.toolstack.create(config, deadline=deadline)
        self.dom0.pace.saw(size, created.seconds)
        return Guest(
            self.toolstack, self.dom0, config, created,
            listeners=self.listeners, given_back=self._common.given_back,
            unfilled=self.unfilled,
        )  # fmt: skip

    def most_bytes(self, node: int | None = None, *, guest_type: GuestType | None = None) -> int:
        """Memory of the largest guest that fits now, on a NUMA node if given, bytes; else 0.

        The guest type is `victim_type` by default.
        """
        free = self.dom0.free_bytes() if node is None else self.dom0.free_bytes_of_nodes()[node]
        most = free - RESERVE_BYTES - free // _RESERVE_SHARE
        most -= paging_bytes(guest_type or self.victim_type, free, self._common.cpus)
        most = most // MIB * MIB
        return most if most >= LEAST_BYTES else 0

    @property
    def knows_frames(self) -> bool:
        """Whether the frames of all guests are known; see `Guest.knows_frames`."""
        return all(guest.knows_frames for guest in self.guests.values())

    def spinners(self) -> Guest:
        """Create a small guest that keeps every CPU busy with one vCPU each.

        Each vCPU is pinned to its own CPU, as a scheduler may let two share one and leave another
        idle. The guest has the lowest weight, so that others do not wait for it.
        """
        guest = self.create("spinner", 2 * LEAST_BYTES, "spin")
        guest.ready()
        self.dom0.pin_vcpus(guest.domid, guest.config.vcpus)
        self.dom0.yield_cpus(guest.domid)
        return guest

    def close(self) -> None:
        """Close the consoles of all guests, of live ones too."""
        for guest in self.guests.values():
            guest.release()

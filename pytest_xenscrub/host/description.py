# SPDX-License-Identifier: MIT
"""`HostDescription`: the hosts that a run may use, as the user described them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.host.target import parse_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.host.target import Target

EMULATED = "emulated"
TOOLSTACKS = ("xl", "libvirt")


@dataclass(frozen=True)
class HostDescription:
    """What is known of a host before it is used.

    Attributes:
        name: the host's name, as the user wrote it: "emulated", "root@lab7", "lab7".
        target: the address that ssh connects to; None for the emulated host.
        power: words of a command, run on this machine, that switches the host's power; empty if
            there is none.
        serial: words of a command, run on this machine, that prints the host's serial log so far
            and ends; empty if there is none.
        toolstacks: the toolstacks of the host's dom0; empty if not stated.
        tags: the host's tags, for `@pytest.mark.xen_host_tags`.
    """

    name: str
    target: Target | None = None
    power: tuple[str, ...] = ()
    serial: tuple[str, ...] = ()
    toolstacks: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()

    @property
    def label(self) -> str:
        """The host's name without user and port: `{host}` in power and serial commands."""
        plain = self.target is None or str(self.target) != self.name
        return self.name if plain or self.target is None else self.target.host

    @property
    def emulated(self) -> bool:
        """Whether this is the emulated host."""
        return self.target is None

    def lacks(self, needs: frozenset[str]) -> frozenset[str]:
        """The tags and toolstacks in `needs` that the host does not have."""
        return needs - self.tags - frozenset(self.toolstacks or TOOLSTACKS)


def parse_host(text: str) -> HostDescription:
    """Parse `--xen-host`: `emulated`, or `[user@]host[:port]`.

    Raises:
        ConfigurationError: the text is neither.
    """
    return HostDescription(text, None if text == EMULATED else parse_target(text))


def make_pool(
    named: Sequence[HostDescription], listed: Sequence[HostDescription]
) -> tuple[HostDescription, ...]:
    """The hosts of a run.

    Args:
        named: those of `--xen-host`; one that the file describes is taken from there.
        listed: those of `--xen-hosts-file`: all of them where none is named.

    Raises:
        ConfigurationError: a machine is named twice, or with the emulated host.
    """
    pool = [_listed(host, listed) for host in named] or list(listed)
    if len(pool) > 1 and any(host.emulated for host in pool):
        raise ConfigurationError(
            f"{EMULATED} cannot be one of several hosts",
            todo=f"with --xen-host={EMULATED} alone each worker of pytest-xdist has its own",
        )
    seen: dict[str, str] = {}
    for host in pool:
        # Two runs of ours on one machine would see each other's guests.
        first = seen.get(str(host.target))
        if first == host.name:
            raise ConfigurationError(f"{host.name} is named twice")
        if first is not None:
            raise ConfigurationError(f"{first} and {host.name} are the same host: {host.target}")
        seen[str(host.target)] = host.name
    return tuple(pool)


def _listed(named: HostDescription, listed: Sequence[HostDescription]) -> HostDescription:
    """A host of `--xen-host` as the file describes it, by its name or its address.

    A user or a port that is named wins over the file's.

    Raises:
        ConfigurationError: the file has several at that address.
    """
    target = named.target
    by_name = [host for host in listed if host.name == named.name]
    if by_name or target is None:
        return by_name[0] if by_name else named
    found = [host for host in listed if host.name == target.host] or [
        host
        for host in listed
        if host.target is not None
        and host.target.host == target.host
        and (target.port is None or target.port == host.target.port)
    ]
    if len(found) > 1:
        raise ConfigurationError(
            f"{named.name} fits several hosts there: {', '.join(host.name for host in found)}",
            todo="name one of them",
        )
    if not found or found[0].target is None:
        return named
    there = found[0].target
    where = dataclasses.replace(
        there, user=target.user or there.user, port=target.port or there.port
    )
    return dataclasses.replace(found[0], target=where)

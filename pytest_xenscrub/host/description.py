# SPDX-License-Identifier: MIT
"""`HostDescription`: the hosts that a run may use, as the user described them."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.host.target import parse_target

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.host.target import Target

EMULATED = "emulated"
LABGRID = "labgrid:"
TOOLSTACKS = ("xl", "libvirt")


@dataclass(frozen=True)
class HostDescription:
    """A host as it is described before its first use.

    Attributes:
        name: the host's name, as the user wrote it: "emulated", "root@lab7", "lab7".
        target: the address that ssh connects to; None for the emulated host and for a place that
            labgrid chooses.
        power: words of a command, run on this machine, that switches the host's power; empty if
            there is none.
        serial: words of a command, run on this machine, that prints the host's serial log so far
            and ends; empty if there is none.
        toolstacks: the toolstacks of the host's dom0; empty if not stated.
        tags: the host's tags, for `@pytest.mark.xen_host_tags`.
        boot: words of a command, run on this machine, that sets what the host boots next; empty if
            the host's GRUB does. See `next_boot`.
        broken: the reason why runs leave the host out; empty for a host in use.
        place: tags of the labgrid place, each as `TAG=VALUE`; `name=PLACE` selects by name. Empty
            for a host that is not a labgrid place.
    """

    name: str
    target: Target | None = None
    power: tuple[str, ...] = ()
    serial: tuple[str, ...] = ()
    toolstacks: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()
    place: tuple[str, ...] = ()
    boot: tuple[str, ...] = ()
    broken: str = ""

    @property
    def label(self) -> str:
        """The host's name without user and port: `{host}` in power and serial commands."""
        plain = self.target is None or str(self.target) != self.name
        return self.name if plain or self.target is None else self.target.host

    @property
    def emulated(self) -> bool:
        """Whether this is the emulated host."""
        return self.target is None and not self.place

    @property
    def many(self) -> bool:
        """Whether this describes every labgrid place with these tags, not one host."""
        return bool(self.place) and not any(tag.startswith("name=") for tag in self.place)

    def lacks(self, needs: frozenset[str]) -> frozenset[str]:
        """The tags and toolstacks in `needs` that the host is known to lack."""
        if self.place:
            return frozenset()
        return needs - self.tags - frozenset(self.toolstacks or TOOLSTACKS)


def parse_host(text: str) -> HostDescription:
    """Parse `--xen-host`: `emulated`, `[user@]host[:port]`, or a labgrid place.

    Raises:
        ConfigurationError: the text is none of these.
    """
    if text.startswith(LABGRID):
        return HostDescription(text, place=_parse_place(text.removeprefix(LABGRID)))
    return HostDescription(text, None if text == EMULATED else parse_target(text))


def _parse_place(text: str) -> tuple[str, ...]:
    """The tags in `PLACE` or `TAG=VALUE,TAG=VALUE`.

    Raises:
        ConfigurationError: the text is neither.
    """
    if re.fullmatch(r"[\w.-]+", text) and not text.startswith("-"):
        return (f"name={text}",)
    tags = tuple(text.split(","))
    if not all(re.fullmatch(r"[a-z][a-z0-9_]+=[\w.-]+", tag) for tag in tags):
        raise ConfigurationError(
            f"{LABGRID}{text} names no place of labgrid's",
            todo=f"write {LABGRID}PLACE or {LABGRID}TAG=VALUE,TAG=VALUE",
        )
    return tags


def make_pool(
    named: Sequence[HostDescription], listed: Sequence[HostDescription]
) -> tuple[HostDescription, ...]:
    """Choose the hosts of a run.

    Args:
        named: hosts of `--xen-host`; the file's description wins for a host that it has.
        listed: hosts of `--xen-hosts-file`; without named hosts, all of them that are in use.

    Raises:
        ConfigurationError: a machine is named twice, or with the emulated host, or is out of use.
    """
    pool = [_listed(host, listed) for host in named]
    out = [host for host in pool or listed if host.broken]
    if out and (pool or len(out) == len(listed)):
        raise ConfigurationError(
            f"out of use: {left_out(out)}",
            todo="name another host; one that is well again has no line `broken` in the hosts file",
        )
    pool = pool or [host for host in listed if not host.broken]
    if len(pool) > 1 and any(host.emulated for host in pool):
        raise ConfigurationError(
            f"{EMULATED} cannot be one of several hosts",
            todo=f"with --xen-host={EMULATED} alone each worker of pytest-xdist has its own",
        )
    seen: dict[str, str] = {}
    for host in pool:
        # Two runs on one machine would see each other's guests.
        where = str(host.target or host.name)
        first = seen.get(where)
        if first == host.name:
            raise ConfigurationError(f"{host.name} is named twice")
        if first is not None:
            raise ConfigurationError(f"{first} and {host.name} are the same host: {host.target}")
        seen[where] = host.name
    return tuple(pool)


def left_out(hosts: Sequence[HostDescription]) -> str:
    """The hosts that are out of use, each with its reason; empty if all are in use."""
    return ", ".join(f"{host.name} ({host.broken})" for host in hosts if host.broken)


def _listed(named: HostDescription, listed: Sequence[HostDescription]) -> HostDescription:
    """Find a host of `--xen-host` in the file, by its name or its address.

    A user or a port of `--xen-host` wins over the file's.

    Raises:
        ConfigurationError: the file has several hosts at that address.
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

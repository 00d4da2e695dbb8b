# SPDX-License-Identifier: MIT
"""The hosts that a run may use, as the user described them, and which of them suits a test."""

from __future__ import annotations

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
    """All that is known of a host before it is used.

    Attributes:
        name: how the user called it: "emulated", "root@lab7", "lab7".
        target: where ssh goes; None for the emulated host.
        power: words of a command, run on this machine, that cuts the host's power and gives it
            back; empty where there is none.
        serial: words of a command, run on this machine, that prints the host's serial log as far
            as it has come, and ends; empty where there is none.
        toolstacks: those that its dom0 has; empty where nobody said.
        tags: what else sets it apart, for `@pytest.mark.xen_host_tags`.
    """

    name: str
    target: Target | None = None
    power: tuple[str, ...] = ()
    serial: tuple[str, ...] = ()
    toolstacks: tuple[str, ...] = ()
    tags: frozenset[str] = frozenset()

    @property
    def emulated(self) -> bool:
        """Whether we start it ourselves."""
        return self.target is None

    def lacks(self, needs: frozenset[str]) -> frozenset[str]:
        """What of these tags and toolstacks the host does not have."""
        return needs - self.tags - frozenset(self.toolstacks or TOOLSTACKS)


def parse_host(text: str) -> HostDescription:
    """Take `--xen-host` apart: `emulated`, or `[user@]host[:port]`.

    Raises:
        ConfigurationError: it is neither.
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
    known = {host.name: host for host in listed}
    pool = [known.get(host.name, host) for host in named] or list(listed)
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

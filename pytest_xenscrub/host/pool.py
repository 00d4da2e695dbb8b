# SPDX-License-Identifier: MIT
"""The hosts that a run may use, as the user described them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_xenscrub.host.target import parse_target

if TYPE_CHECKING:
    from pytest_xenscrub.host.target import Target

EMULATED = "emulated"


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


def parse_host(text: str) -> HostDescription:
    """Take `--xen-host` apart: `emulated`, or `[user@]host[:port]`.

    Raises:
        ConfigurationError: it is neither.
    """
    return HostDescription(text, None if text == EMULATED else parse_target(text))

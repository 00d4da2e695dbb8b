# SPDX-License-Identifier: MIT
"""The answers of dom0: which Xen runs, its domains, a command's result, how memory came back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypedDict

from pytest_xenscrub.dom0.xen_options import scrubs_at_boot, scrubs_domheap
from pytest_xenscrub.errors import CommandError
from pytest_xenscrub.host.protocol import CommandResult

if TYPE_CHECKING:
    from uuid import UUID

Until = Literal["gone", "free", "clean"]


@dataclass(frozen=True)
class XenInfo:
    """Which Xen runs, and on which machine.

    Attributes:
        version: Xen's version: "4.17.7".
        debug: whether Xen was built with CONFIG_DEBUG, which fills freed pages with 0xC2.
        build_id: the build id in hex; empty for a build without one.
        command_line: Xen's boot options.
        total_bytes: the machine's memory.
        cpus: number of physical CPUs.
        nodes: number of NUMA nodes.
        cpu_model: the CPUs' model name.
    """

    version: str
    debug: bool
    build_id: str
    command_line: str
    total_bytes: int
    cpus: int
    nodes: int
    cpu_model: str

    @property
    def clean_byte(self) -> int:
        """The byte that Xen scrubs with: 0, or 0xC2 in a debug build (`SCRUB_BYTE_PATTERN`)."""
        return 0xC2 if self.debug else 0x00

    @property
    def scrubs_all(self) -> bool:
        """Whether this Xen also scrubs what a live guest gives back.

        That is so with the option `scrub-domheap`, and in a debug build that has scrubbed all
        memory at boot (`bootscrub=1`), because it then checks its scrubber (CONFIG_SCRUB_DEBUG).
        """
        line = self.command_line
        return scrubs_domheap(line) or (self.debug and scrubs_at_boot(line))


@dataclass(frozen=True)
class DomainInfo:
    """A domain as Xen sees it; `dying` is the d of `xl list`'s `--p--d`.

    `runs` is false for one that is dying, has shut down or has crashed.
    """

    domid: int
    uuid: UUID
    memory_bytes: int
    dying: bool
    runs: bool
    paused: bool
    cpu_seconds: float


class Still(TypedDict, total=False):
    """How long nothing moved in dom0, as the agent reports it; a watch reports the other keys, too.

    Attributes:
        seconds: how long nothing moved, s.
        starved: how long of that the host was kept from running, s.
        state: state of the domain that was to end: "alive", "dying", or "" once it was gone.
        memory_bytes: memory that the domain had.
        freed_bytes: how much of that was free by then.
        backlog_pages: pages that were free and not scrubbed yet.
    """

    seconds: float
    starved: float
    state: str
    memory_bytes: int
    freed_bytes: int
    backlog_pages: int


@dataclass(frozen=True)
class TimedResult(CommandResult):
    """The result of a command in dom0, with its times on dom0's monotonic clock, s.

    Attributes:
        issued: when the command was started; for a call of libvirt, when its daemon got it.
        returned: when the command ended; for a call, when the daemon answered.
        hung: whether the command was killed, because its time was over or nothing moved for too
            long.
        still: how long nothing moved, if that was the reason; else None.
        client_seconds: duration of a call for its client on this machine, with the network, on this
            machine's clock; None for a command.
    """

    issued: float
    returned: float
    hung: bool = False
    still: Still | None = None
    client_seconds: float | None = None

    @property
    def seconds(self) -> float:
        """Time from issued to returned, s."""
        return self.returned - self.issued

    def check(self) -> TimedResult:
        """Raise `CommandError` unless the command ended with status 0."""
        if self.returncode != 0:
            raise CommandError(
                f"{' '.join(self.argv[:3])}: ended with {self.returncode}",
                tried=" ".join(self.argv),
                evidence={"stdout": self.stdout[-2000:], "stderr": self.stderr[-2000:]},
            )
        return self


@dataclass(frozen=True)
class Reclaim:
    """How a domain's memory came back: moments on dom0's clock, s; None for what was not seen.

    Attributes:
        issued: the end of the domain was asked for.
        returned: the toolstack returned; None if no command ended the domain.
        gone: the domain is no longer in any list.
        free: free memory has grown by all that the domain had.
        clean: the backlog is 0.
        command: the command that ended the domain.
        samples: (at, free bytes, "alive", "dying" or "").
        backlog: (at, pages not scrubbed yet); the first sample is from before the end was asked
            for.
    """

    issued: float
    returned: float | None
    gone: float | None
    free: float | None
    clean: float | None
    command: TimedResult | None
    samples: list[tuple[float, int, str]] = field(repr=False)
    backlog: list[tuple[float, int]] = field(repr=False)

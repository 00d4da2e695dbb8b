# SPDX-License-Identifier: MIT
"""What dom0 tells: which Xen runs, its domains, a command's result, how memory came back."""

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
    """Which Xen runs, on what.

    Attributes:
        version: "4.17.7".
        debug: whether it was built with CONFIG_DEBUG: then freed pages are filled with 0xC2.
        build_id: the build id in hex; empty where the build has none.
        command_line: Xen's own.
        total_bytes: the machine's memory.
        cpus: its physical CPUs.
        nodes: its NUMA nodes.
        cpu_model: what they call themselves.
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
        """What Xen scrubs with: zeros, or 0xC2 in a debug build (`SCRUB_BYTE_PATTERN`)."""
        return 0xC2 if self.debug else 0x00

    @property
    def scrubs_all(self) -> bool:
        """Whether this Xen scrubs also what a live guest gives back.

        The option `scrub-domheap` asks for it, and a debug build checks its scrubber by it once it
        has scrubbed all at boot (`bootscrub=1`, CONFIG_SCRUB_DEBUG).
        """
        line = self.command_line
        return scrubs_domheap(line) or (self.debug and scrubs_at_boot(line))


@dataclass(frozen=True)
class DomainInfo:
    """A domain as Xen sees it; `dying` is the d of `xl list`'s `--p--d`."""

    domid: int
    uuid: UUID
    memory_bytes: int
    dying: bool
    shutdown: bool
    paused: bool
    cpu_seconds: float


class Still(TypedDict, total=False):
    """For how long nothing moved in dom0, as the agent tells it; the rest only of a watch.

    Attributes:
        seconds: how long, s.
        starved: how long of that the host was kept from running, s.
        state: of the domain that was to end: "alive", "dying", or "" once it was gone.
        memory_bytes: the memory that it had.
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
    """A command that was run in dom0, with dom0's monotonic clock around it, s.

    Attributes:
        issued: when it was started; for a call of libvirt's, when its daemon got it.
        returned: when it ended; for a call, when its daemon answered.
        hung: whether it was killed because its time was over, or nothing moved for too long.
        still: for how long nothing moved, where that is why; else None.
        client_seconds: what a call took as its client here saw it, network and all, on this
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
        """Raise `CommandError` unless it ended with 0."""
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
        returned: the toolstack returned; None where no command ended the domain.
        gone: the domain is in no list any more.
        free: free memory has grown by all that the domain had.
        clean: the backlog is 0.
        command: the command that ended it.
        samples: (at, free bytes, "alive", "dying" or "").
        backlog: (at, pages not scrubbed yet); the first one from before the end was asked for.
    """

    issued: float
    returned: float | None
    gone: float | None
    free: float | None
    clean: float | None
    command: TimedResult | None
    samples: list[tuple[float, int, str]] = field(repr=False)
    backlog: list[tuple[float, int]] = field(repr=False)

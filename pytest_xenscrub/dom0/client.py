# SPDX-License-Identifier: MIT
"""`Dom0`, the client of the agent in dom0: its clock, Xen's memory and log, timed commands."""

from __future__ import annotations

import functools
import re
import time
from typing import TYPE_CHECKING
from uuid import UUID

from pytest_xenscrub.deadline import HANG_SECONDS
from pytest_xenscrub.dom0.answers import DomainInfo, TimedResult, XenInfo
from pytest_xenscrub.dom0.capabilities import Capabilities
from pytest_xenscrub.dom0.patience import PatientConnection, what_stands_still
from pytest_xenscrub.dom0.reclaiming import Teardown
from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.outside import standing
from pytest_xenscrub.units import MIB, PAGE, gib

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.dom0.answers import Reclaim, Until
    from pytest_xenscrub.guest_type import GuestType
    from pytest_xenscrub.host.protocol import Host

CLOCK_LOOKS = 3
"""Readings of dom0's clock; the fastest answer is the most exact."""
SETTLE_SECONDS = 0.3
SETTLE_MOST_SECONDS = 60.0
XEN_HEAP_BYTES = 64 << 10
"""Change of free memory that is no loss: Xen's own heap grows with the first guests of a host, by
20 KiB in steps of a page or two over six of them, and not after that."""
DRAIN_POLL_SECONDS = 0.05
XEN_FAULT = re.compile(
    r"Assertion '.*' failed|Xen (BUG|WARN) at |FATAL (TRAP|PAGE FAULT)|Panic on CPU|UBSAN: "
)
"""Lines by which Xen reports a fault of its own; a guest's crash is not one."""
FAULT_LINES = 40


class Dom0(PatientConnection):
    """The agent in a host's dom0.

    Args:
        host: the host.
        hang_seconds: seconds without progress that count as a hang.
    """

    def __init__(self, host: Host, *, hang_seconds: float = HANG_SECONDS) -> None:
        super().__init__(host, hang_seconds=hang_seconds)
        self._log_next: int | None = None
        try:
            self.total_bytes = self.info().total_bytes
        except BaseException:
            self.close()
            raise

    # -- what it tells ------------------------------------------------------------------------

    def info(self) -> XenInfo:
        """The Xen that runs: version, build id, options, memory and CPUs."""
        facts = self._look("info", "reading Xen's version")
        extra = facts["xen_extra"]
        return XenInfo(
            version=f"{facts['xen_major']}.{facts['xen_minor']}{extra}",
            debug=self._is_debug(),
            build_id=facts["build_id"],
            command_line=facts["xen_commandline"],
            total_bytes=facts["total_bytes"],
            cpus=facts["cpus"],
            nodes=facts["nodes"],
            cpu_model=facts["cpu_model"],
        )

    @functools.cached_property
    def capabilities(self) -> Capabilities:
        """Which types of guest can run here."""
        return Capabilities(self)

    def runs(self, guest_type: GuestType) -> bool:
        """Whether guests of a type can run on this host."""
        return self.capabilities.runs(guest_type)

    def _is_debug(self) -> bool:
        """Whether Xen is a debug build: `debug=y` or `debug=n` in Xen's banner.

        `xl info` does not show it. If the banner has left the log, a register dump (debug key d)
        repeats it.
        """
        for ask in (False, True):
            if ask:
                self._look("debug_key", "debug key d", key="d")
            log = "\n".join(self._look("log", "reading Xen's log", lines=2000))
            if words := re.findall(r"\bdebug=([yn])\b", log):
                return bool(words[-1] == "y")
        raise InfrastructureError(
            f"{self.host.name}: cannot tell whether Xen is a debug build, and so which byte it"
            " scrubs with: neither its banner nor a register dump says so",
            tried="Xen's log, debug key d",
            evidence=self.evidence(),
        )

    def ping(self, deadline: Deadline) -> None:
        """Return once dom0 answers; raise if dom0 does not."""
        self._call("memory", deadline)

    def clock_offset(self) -> float:
        """dom0's monotonic clock less this machine's, s; good to half a round trip of a request.

        In which the host stood still until then is not counted of this machine's.
        """
        stood, found = standing(self.host), []
        for _ in range(CLOCK_LOOKS):
            before = time.monotonic() - stood()
            at = self._look("memory", "reading its clock")["at"]
            after = time.monotonic() - stood()
            found.append((after - before, at - (before + after) / 2))
        return float(min(found)[1])

    def free_bytes(self) -> int:
        """Free memory as Xen counts it, including unscrubbed pages, bytes."""
        return int(self._look("memory", "reading free memory")["free_bytes"])

    def free_bytes_of_nodes(self) -> dict[int, int]:
        """Free memory of each NUMA node with CPUs, bytes, rounded down to whole MiB."""
        told = self._look("memory_of_nodes", "reading free memory of NUMA nodes")
        return {node: told["free_mib"][node] * MIB for node in told["with_cpus"]}

    def settled_free_bytes(self) -> int:
        """Free memory once it has not changed for a while, bytes.

        Xen frees a dead domain's own structures only after all CPUs have passed a quiet state
        (RCU), some time after its memory.
        """
        end = time.monotonic() + SETTLE_MOST_SECONDS
        free, since = self.free_bytes(), time.monotonic()
        while (now := time.monotonic()) < end and now - since < SETTLE_SECONDS:
            time.sleep(DRAIN_POLL_SECONDS)
            if (latest := self.free_bytes()) != free:
                free, since = latest, time.monotonic()
        return free

    def claimed_bytes(self) -> int:
        """Memory that guests being built have claimed, bytes."""
        deadline = self.patience(f"{self.host.name}: xl info")
        info = self.run(["xl", "info"], deadline=deadline).check().stdout
        found = re.search(r"^outstanding_claims\s*:\s*(\d+)", info, re.MULTILINE)
        if found is None:
            raise InfrastructureError(
                f"{self.host.name}: xl info does not show claims", evidence={"xl info": info}
            )
        return int(found[1]) << 20

    def backlog_pages(self) -> int:
        """The backlog: free pages on all nodes that are not scrubbed yet (debug key H)."""
        return sum(self.backlog_of_nodes().values())

    def backlog_of_nodes(self) -> dict[int, int]:
        """The backlog of each NUMA node that has one, pages."""
        nodes = self._look("backlog", "reading the backlog (debug key H)")["nodes"]
        return {int(node): pages for node, pages in nodes.items()}

    def nodes(self) -> dict[int, range]:
        """The host's NUMA nodes, and each node's range of frames (MFNs), which may have holes.

        Read by debug key u.
        """
        nodes = self._look("nodes", "reading the NUMA nodes (debug key u)")["nodes"]
        return {node: range(start, start + size) for node, start, size in nodes}

    def domains(self) -> list[DomainInfo]:
        """All domains, including dying ones."""
        return [
            DomainInfo(**{**domain, "uuid": UUID(domain["uuid"])})
            for domain in self._look("domains", "listing domains")
        ]

    def xen_log(self, lines: int = 20) -> str:
        """The last lines of Xen's log, without the heap dumps that the agent asked for."""
        return "\n".join(self._look("log", "reading Xen's log", lines=lines))

    def watch_log(self) -> None:
        """Make `faults` look at lines of Xen's log from now on."""
        self._log_next = self._look("log_from", "reading Xen's log", first=None)["next"]

    def faults(self) -> str:
        """Lines of Xen's log from the first fault of Xen since `watch_log()`; empty if none."""
        lines = self._look("log_from", "reading Xen's log", first=self._log_next)["lines"]
        first = next((at for at, line in enumerate(lines) if XEN_FAULT.search(line)), len(lines))
        return "\n".join(lines[first : first + FAULT_LINES])

    # -- what it does -------------------------------------------------------------------------

    def write(self, path: str, text: str) -> None:
        """Write a text file in dom0; its folder is made if needed."""
        self._look("write", f"writing {path}", path=path, text=text)

    def run(self, argv: Sequence[str], *, deadline: Deadline) -> TimedResult:
        """Run a command in dom0, timed there. A command that hangs is killed and raises an error.

        If the deadline blames Xen, a command hangs when nothing moves for `hang_seconds`.
        """
        # The agent's own limit comes first, because only the agent can kill all processes of the
        # command.
        answer = self._call(
            "run", deadline,
            argv=list(argv), timeout=max(0.1, deadline.remaining - 1),
            hang=self.hang_seconds if deadline.blames_xen else None,
        )  # fmt: skip
        result = TimedResult(tuple(argv), **answer)
        if result.still:
            raise self.hung(f"{deadline.step}: {what_stands_still(result.still)}", result.still)
        if result.hung:
            raise deadline.error(**self.evidence())
        return result

    def pin_vcpus(self, domid: int, vcpus: int) -> None:
        """Pin each of a domain's vCPUs to its own CPU."""
        self._look("pin", f"pinning the vCPUs of domain {domid}", domid=domid, vcpus=vcpus)

    def yield_cpus(self, domid: int) -> None:
        """Give a domain's vCPUs the lowest weight, so that other domains run first.

        A scheduler without weights (null, RTDS) ignores this.
        """
        self._look("weigh", f"weight of domain {domid}", domid=domid, weight=1)

    def abort(self) -> None:
        """Kill the commands that still run in dom0, and return once they have ended."""
        self._look("abort", "ending commands")

    def crash(self, domid: int) -> None:
        """Crash a domain from dom0."""
        self._look("crash", f"crashing domain {domid}", domid=domid)

    def reclaim(
        self, domid: int, argv: Sequence[str] | None, *, until: Until, deadline: Deadline
    ) -> Reclaim:
        """End a domain with a command and watch its memory come back; see `watch`."""
        return self.watch(domid, argv, until=until, deadline=deadline).result()

    def watch(
        self,
        domid: int,
        argv: Sequence[str] | None,
        *,
        until: Until,
        deadline: Deadline,
        may_stay_alive: bool = False,
    ) -> Teardown:
        """Start `reclaim` in the background; on return the domain's memory is known.

        Args:
            domid: the domain.
            argv: the command that ends the domain; None if something else ends it from now on.
            until: when to stop watching: the domain is gone, its memory is free, or clean.
            deadline: when to stop at the latest: moments that had not come by then are None in the
                result. A hang is an error of the result, long before the deadline.
            may_stay_alive: whether a domain that stays alive is no hang, because the caller itself
                watches what ends the domain.

        Raises:
            InfrastructureError: the domain does not exist.
            XenHungError: the watch did not begin before a deadline that blames Xen.
            HostStalledError: dom0 does not answer.
        """
        request = self._submit(
            "reclaim",
            domid=domid, argv=None if argv is None else list(argv),
            timeout=max(0.1, deadline.remaining - 2), until=until,
            hang=self.hang_seconds, may_stay_alive=may_stay_alive,
        )  # fmt: skip
        self._await(request.begun, deadline)
        return Teardown(self, tuple(argv or ()), request.answer, deadline)

    def wait_drained(self, deadline: Deadline) -> None:
        """Wait until the backlog is 0.

        Raises:
            XenHungError: no page was scrubbed for `hang_seconds`.
            UndecidedError: as `XenHungError`, but other work starved the host meanwhile.
        """
        last, still = 0, self.patience(deadline.step, seconds=self.hang_seconds)
        while pages := self.backlog_pages():
            if pages < last:
                still = self.patience(deadline.step, seconds=self.hang_seconds)
            last = pages
            if still.passed:
                what = f"{deadline.step}: no page was scrubbed for {still.seconds:.0f} s;"
                what += f" {gib(pages * PAGE)} are left to scrub"
                raise still.error(what, **self.evidence())
            deadline.check(backlog=f"{pages} pages", **self.evidence())
            time.sleep(DRAIN_POLL_SECONDS)

# SPDX-License-Identifier: MIT
"""`Hotplug`: takes the host's CPUs and pages offline and online, by `xen-hptool` in dom0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_xenscrub.errors import CommandError, MissingToolError, XenFaultError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_xenscrub.dom0.answers import TimedResult
    from pytest_xenscrub.dom0.client import Dom0

TOOL = "xen-hptool"


class Hotplug:
    """Takes CPUs and pages offline, and remembers them until they are online again.

    Raises:
        MissingToolError: dom0 has no `xen-hptool`.
    """

    def __init__(self, dom0: Dom0) -> None:
        self._dom0 = dom0
        self._cpus: set[int] = set()
        self._pages: set[int] = set()
        if self._shell(f"command -v {TOOL}", "looking for it").returncode != 0:
            raise MissingToolError(
                f"{dom0.host.name}: dom0 has no {TOOL}",
                todo="Debian has it in xen-utils, a Xen from source in its tools",
            )

    def _shell(self, script: str, what: str) -> TimedResult:
        deadline = self._dom0.patience(f"{self._dom0.host.name}: {TOOL}, {what}")
        return self._dom0.run(["sh", "-c", script], deadline=deadline)

    def offline_cpu(self, cpu: int) -> float:
        """Take a CPU offline, and return when it is off.

        Returns:
            How long that took in dom0, s.

        Raises:
            XenFaultError: Xen refuses.
            XenHungError: Xen hangs.
        """
        self._cpus.add(cpu)
        return self._switch("offline", cpu)

    def online_cpu(self, cpu: int) -> None:
        """Take a CPU online again; raises as `offline_cpu` does."""
        self._switch("online", cpu)
        self._cpus.discard(cpu)

    def _switch(self, way: str, cpu: int) -> float:
        done = self._shell(f"{TOOL} cpu-{way} {cpu}", f"CPU {cpu} {way}")
        if done.returncode != 0:
            raise XenFaultError(
                f"{self._dom0.host.name}: CPU {cpu} does not go {way}",
                tried=" ".join(done.argv),
                evidence={"stderr": done.stderr, **self._dom0.evidence()},
            )
        return done.seconds

    def offline_pages(self, frames: Iterable[int]) -> None:
        """Take pages (MFNs) offline.

        Xen takes a free page offline at once, and a domain's page when the domain gives it back.
        `offlined` says which pages are offline.
        """
        wanted = list(frames)
        self._pages.update(wanted)
        # xen-hptool fails for a page in use: exchanging it would take a guest that suspends by
        # event channel.
        self._each("mem-offline", wanted)

    def offlined(self, frames: Iterable[int]) -> set[int]:
        """Those of `frames` (MFNs) that are offline, so that Xen does not give them to a domain."""
        wanted = list(frames)
        status = self._each("mem-status", wanted).splitlines()
        if len(status) != len(wanted):
            raise CommandError(
                f"{self._dom0.host.name}: {TOOL} mem-status reported {len(status)} pages"
                f" instead of {len(wanted)}",
                evidence={"stdout": "\n".join(status)},
            )
        return {mfn for mfn, line in zip(wanted, status, strict=True) if "PAGE_OFFLINED" in line}

    def online_pages(self, frames: Iterable[int]) -> None:
        """Take pages (MFNs) online again."""
        wanted = list(frames)
        self._each("mem-online", wanted)
        self._pages.difference_update(wanted)

    def _each(self, command: str, frames: list[int]) -> str:
        numbers = " ".join(f"{mfn:x}" for mfn in frames)
        keep = "grep 'Memory Status'" if command == "mem-status" else "cat"
        script = f"for mfn in {numbers}; do {TOOL} {command} $mfn 2>&1; done | {keep}"
        return self._shell(script, f"{command} of {len(frames)} pages").stdout

    def close(self) -> None:
        """Take all CPUs and pages that are still offline online again."""
        for cpu in sorted(self._cpus):
            self.online_cpu(cpu)
        if self._pages:
            self.online_pages(sorted(self._pages))

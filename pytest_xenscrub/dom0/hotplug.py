# SPDX-License-Identifier: MIT
"""CPUs and pages of the host taken from Xen and given back, by `xen-hptool` in dom0."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_xenscrub.errors import CommandError, MissingToolError, XenFaultError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_xenscrub.dom0.answers import TimedResult
    from pytest_xenscrub.dom0.client import Dom0

TOOL = "xen-hptool"


class Hotplug:
    """What was taken from Xen, and how it gets that back.

    Raises:
        MissingToolError: this dom0 has no `xen-hptool`.
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

    def offline_cpu(self, cpu: int) -> None:
        """Take a CPU from Xen; returns when it is off.

        Raises:
            XenFaultError: Xen refuses.
            XenHungError: it hangs.
        """
        self._cpus.add(cpu)
        self._switch("offline", cpu)

    def online_cpu(self, cpu: int) -> None:
        """Give it back; raises as `offline_cpu` does."""
        self._switch("online", cpu)
        self._cpus.discard(cpu)

    def _switch(self, way: str, cpu: int) -> None:
        done = self._shell(f"{TOOL} cpu-{way} {cpu}", f"CPU {cpu} {way}")
        if done.returncode != 0:
            raise XenFaultError(
                f"{self._dom0.host.name}: CPU {cpu} does not go {way}",
                tried=" ".join(done.argv),
                evidence={"stderr": done.stderr, **self._dom0.evidence()},
            )

    def offline_pages(self, frames: Iterable[int]) -> None:
        """Take pages (MFNs) from Xen.

        Those that are free are gone at once; one that a domain has goes when that gives it back.
        Which of the two it was, and whether Xen took it at all, is `offlined`'s to say.
        """
        wanted = list(frames)
        self._pages.update(wanted)
        # The tool ends with an error for a page that is in use: to exchange it would take a
        # guest that suspends by event channel.
        self._each("mem-offline", wanted)

    def offlined(self, frames: Iterable[int]) -> set[int]:
        """Which of these pages (MFNs) Xen has put aside: nobody gets them."""
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
        """Give them back."""
        wanted = list(frames)
        self._each("mem-online", wanted)
        self._pages.difference_update(wanted)

    def _each(self, command: str, frames: list[int]) -> str:
        numbers = " ".join(f"{mfn:x}" for mfn in frames)
        keep = "grep 'Memory Status'" if command == "mem-status" else "cat"
        script = f"for mfn in {numbers}; do {TOOL} {command} $mfn 2>&1; done | {keep}"
        return self._shell(script, f"{command} of {len(frames)} pages").stdout

    def close(self) -> None:
        """Give back whatever is still taken."""
        for cpu in sorted(self._cpus):
            self.online_cpu(cpu)
        if self._pages:
            self.online_pages(sorted(self._pages))

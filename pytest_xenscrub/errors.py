# SPDX-License-Identifier: MIT
"""Every error this project raises on purpose: what failed, what was tried, what to do next."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Fault(StrEnum):
    """Whose fault a failure is; the value of `xen.fault` in results and JUnit."""

    XEN = "xen"
    """Xen, or a guest, dom0 or toolstack on it: reported as FAILED, exit status 1."""
    INFRASTRUCTURE = "infrastructure"
    """What is around Xen, this project included: reported as ERROR, exit status 75."""
    UNKNOWN = "unknown"
    """Either, and the evidence does not tell which: reported as ERROR, exit status 75."""


class ResidueError(AssertionError):
    """A dead guest's bytes were seen in RAM, by a test that looks for them itself.

    Where a probe's verdict says so, that is known without it.
    """


class XenScrubError(Exception):
    """Root of the project's errors.

    Attributes:
        fault: whose fault an error of this kind is.

    Args:
        what: what failed, in one sentence.
        tried: what was tried: a command, an address, a file; empty when `what` says it.
        todo: what the reader can do next; empty when there is nothing sensible to say.
        evidence: last lines of logs or consoles by their name, shown indented below the message.
    """

    fault: ClassVar[Fault] = Fault.INFRASTRUCTURE

    def __init__(
        self,
        what: str,
        *,
        tried: str = "",
        todo: str = "",
        evidence: dict[str, str] | None = None,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.tried = tried
        self.todo = todo
        self.evidence = dict(evidence or {})

    def __str__(self) -> str:
        lines = [self.what]
        if self.tried:
            lines.append(f"  tried: {self.tried}")
        for name, text in self.evidence.items():
            if text.strip():
                lines.append(f"  {name}:")
                lines.extend(f"    | {line}" for line in text.rstrip().splitlines())
        if self.todo:
            lines.append(f"  next: {self.todo}")
        return "\n".join(lines)


class ConfigurationError(XenScrubError):
    """The user asked for something that cannot be meant; reported as a usage error."""


class InfrastructureError(XenScrubError):
    """Something around the test broke, so nothing can be said of Xen: reported as ERROR."""


class MissingToolError(InfrastructureError):
    """A program or package that was asked for is not installed: reported as ERROR."""


class NotApplicableError(XenScrubError):
    """A scenario makes no sense on this host or with this toolstack: reported as a skip."""


class UndecidedError(XenScrubError):
    """Xen may be at fault, or what is around it; `todo` names the evidence that would tell."""

    fault = Fault.UNKNOWN


class HostSilentError(UndecidedError):
    """dom0 is not heard any more, and nothing tells whether it or the network is to blame."""


class HostUnusableError(InfrastructureError):
    """The host broke earlier in this session; what needs it cannot run any more."""


class HostLostError(InfrastructureError):
    """A host does not answer, or the connection to it was lost: down, booting, or the network."""


class HostLockedError(InfrastructureError):
    """Another run of ours has the host."""


class HostBusyError(InfrastructureError):
    """Guests that are not ours run on the host."""


class CommandError(InfrastructureError):
    """A command on a host ended with a return code that was not expected."""


class GuestProtocolError(InfrastructureError):
    """A guest's console line is mangled, missing or out of order: no verdict may rest on it."""


class DisagreementError(XenScrubError):
    """Two of our own witnesses contradict each other, and none of them saw residue: ERROR.

    Not an `InfrastructureError`, so that `except InfrastructureError` cannot swallow it.
    """


class DeadlineExceededError(InfrastructureError):
    """A step took too long, and Xen was not what it waited for, or the machine was starved."""


class XenFaultError(XenScrubError):
    """Xen, or a guest on it, did not do what it must: reported as FAILED."""

    fault = Fault.XEN


class XenHungError(XenFaultError):
    """Xen, dom0, the toolstack or a guest made no progress for too long: a hang."""


class HostStalledError(XenFaultError):
    """dom0 stopped answering, or lost its CPU for longer than a host may."""


class GuestFailedError(XenFaultError):
    """A guest crashed, or told of a failure on its console."""

# SPDX-License-Identifier: MIT
"""The errors of this project; each says what failed, what was tried, and what to do next."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar


class Fault(StrEnum):
    """Whose fault a failure is; the value of `xen.fault` in results and JUnit."""

    XEN = "xen"
    """Xen, or a guest, dom0 or toolstack on it: reported as FAILED, exit status 1."""
    INFRASTRUCTURE = "infrastructure"
    """Network, machine, this project, all around Xen: reported as ERROR, exit status 75."""
    UNKNOWN = "unknown"
    """The evidence does not tell which of the two: reported as ERROR, exit status 75."""


class ResidueError(AssertionError):
    """A test that reads RAM itself saw a dead guest's bytes.

    A test that uses a probe does not need this error: the probe's verdict has the residue.
    """


class XenScrubError(Exception):
    """Base class of the project's errors.

    Attributes:
        fault: whose fault an error of this class is.

    Args:
        what: what failed, in one sentence.
        tried: what was tried: a command, an address, a file; empty if `what` says it.
        todo: what the reader can do next; empty if nothing sensible can be said.
        evidence: last lines of logs or consoles by name, shown indented below the message.
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
    """An option, a file or a name is wrong: reported as a usage error."""


class InfrastructureError(XenScrubError):
    """Something around Xen broke, so Xen cannot be judged: reported as ERROR."""


class MissingToolError(InfrastructureError):
    """A program or package that the run needs is not installed: reported as ERROR."""


class NotApplicableError(XenScrubError):
    """The scenario does not apply to this host or toolstack: reported as a skip."""


class UndecidedError(XenScrubError):
    """Either Xen or something around Xen is at fault; `todo` names the evidence that would tell."""

    fault = Fault.UNKNOWN


class HostSilentError(UndecidedError):
    """dom0 does not answer, and the evidence does not tell whether dom0 or the network failed."""


class HostUnusableError(InfrastructureError):
    """The host broke earlier in this run, so tests that need the host cannot run."""


class HostLostError(InfrastructureError):
    """A host does not answer, or its connection was lost: down, booting, or a network fault."""


class HostLockedError(InfrastructureError):
    """Another run has locked the host."""


class HostBusyError(InfrastructureError):
    """Guests of others run on the host."""


class CommandError(InfrastructureError):
    """A command on a host ended with an unexpected return code."""


class GuestProtocolError(InfrastructureError):
    """A line of a guest's console is mangled, missing or out of order, so no verdict counts."""


class DisagreementError(XenScrubError):
    """A probe and RAM seen from outside contradict each other without residue: ERROR.

    Not an `InfrastructureError`, so that `except InfrastructureError` cannot swallow it.
    """


class DeadlineExceededError(InfrastructureError):
    """A step that does not wait for Xen took too long, or other work starved the machine."""


class XenFaultError(XenScrubError):
    """Xen, or a guest on that Xen, misbehaved: reported as FAILED."""

    fault = Fault.XEN


class XenHungError(XenFaultError):
    """Xen, dom0, the toolstack or a guest hangs: no progress for `--xen-hang-seconds`."""


class HostStalledError(XenFaultError):
    """dom0 stopped answering, or lost its CPU for longer than is allowed."""


class GuestFailedError(XenFaultError):
    """A guest crashed, or reported a failure on its console."""

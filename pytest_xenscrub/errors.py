# SPDX-License-Identifier: MIT
"""Every error this project raises on purpose: what failed, what was tried, what to do next."""

from __future__ import annotations


class XenScrubError(Exception):
    """Root of the project's errors.

    Args:
        what: what failed, in one sentence.
        tried: what was tried: a command, an address, a file; empty when `what` says it.
        todo: what the reader can do next; empty when there is nothing sensible to say.
        evidence: last lines of logs or consoles by their name, shown indented below the message.
    """

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


class MissingToolError(XenScrubError):
    """A program or package this machine lacks; a test that needs it is skipped with this reason."""


class InfrastructureError(XenScrubError):
    """Something around the test broke, so nothing can be said of Xen: reported as ERROR."""


class HostUnusableError(InfrastructureError):
    """The host broke earlier in this session; what needs it cannot run any more."""


class HostLockedError(InfrastructureError):
    """Another run of ours has the host."""


class HostBusyError(InfrastructureError):
    """Guests that are not ours run on the host."""


class CommandError(InfrastructureError):
    """A command on a host ended with a return code that was not expected."""


class GuestProtocolError(InfrastructureError):
    """A guest's console line is mangled, missing or out of order: no verdict may rest on it."""


class DisagreementError(XenScrubError):
    """Two of our own witnesses contradict each other: ERROR, and no verdict of the run counts.

    No `InfrastructureError`: nobody who expects one of those may pass over it.
    """


class XenFaultError(XenScrubError):
    """Xen, or a guest on it, did not do what it must: reported as FAILED."""


class DeadlineExceededError(XenFaultError):
    """A step on a host did not end in its time: a hang, until shown otherwise."""


class HostStalledError(XenFaultError):
    """dom0 stopped answering, or lost its CPU for longer than a host may."""


class GuestFailedError(XenFaultError):
    """A guest crashed, or told of a failure on its console."""

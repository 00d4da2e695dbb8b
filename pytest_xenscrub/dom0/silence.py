# SPDX-License-Identifier: MIT
"""Decides whose fault a silent dom0 is: Xen's or dom0's, or perhaps the network's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_xenscrub.deadline import NOT_STARVED, STARVED_SHARE
from pytest_xenscrub.dom0.serial import LINES, crashed_since, hung_since
from pytest_xenscrub.errors import HostSilentError, HostStalledError, InfrastructureError

if TYPE_CHECKING:
    from pytest_xenscrub.dom0.connection import Connection
    from pytest_xenscrub.host.protocol import Host


def silent(
    host: Host,
    what: str,
    *,
    log_before: str,
    evidence: dict[str, str],
    seconds: float = 0.0,
    starved: float = 0.0,
) -> HostStalledError | HostSilentError:
    """The error for a dom0 that is silent.

    Args:
        host: the host.
        what: a sentence on the silence.
        log_before: the serial log from the beginning of the connection.
        evidence: the evidence for the error.
        seconds: length of the silence, s; 0 if the connection has ended.
        starved: how long of that the host was kept from running, s.
    """
    log = host.serial_tail(LINES)
    if crashed_since(log_before, log):
        todo = "look at the serial log: Xen or dom0 crashed"
        return HostStalledError(what, todo=todo, evidence=evidence)
    if starved > STARVED_SHARE * seconds:
        return HostSilentError(
            f"{what}; for {starved:.0f} of {seconds:.0f} s other work kept the host from running",
            todo=NOT_STARVED,
            evidence=evidence,
        )
    if hung_since(log_before, log):
        todo = "look at the serial log: a watchdog found a CPU or a task that hangs"
        return HostStalledError(what, todo=todo, evidence=evidence)
    if in_qemu(host):
        # Between this process and QEMU there is no network that could fail.
        todo = "a CPU, or all of Xen, hangs: look at the serial log for a stack or a panic"
        return HostStalledError(what, todo=todo, evidence=evidence)
    if is_emulated(host):
        todo = "QEMU has ended, and the serial log tells of no crash: was it killed?"
    elif log_before or host.serial_tail():
        todo = (
            "the serial log tells of no crash, so this may be the network; Xen's boot option"
            " watchdog would tell there of a CPU that hangs"
        )
    else:
        todo = (
            "nothing but silence is known, which the network can cause as well as Xen;"
            " a serial console would tell: name the command that prints its log (--xen-serial)"
        )
    return HostSilentError(what, todo=todo, evidence=evidence)


def check_stalls(dom0: Connection, most_seconds: float) -> None:
    """Raise if dom0 has not responded for longer than that since its stalls are watched.

    Raises:
        HostStalledError: it was dom0 that did not respond.
        HostSilentError: it, or the network, or this machine's other work.
    """
    stall, starved = dom0.worst_stall()
    if stall <= most_seconds:
        return
    what = (
        f"{dom0.host.name}: dom0 did not respond for {stall:.1f} s"
        f" (at most {most_seconds:.0f} s are allowed)"
    )
    if starved > STARVED_SHARE * (stall + starved):
        raise HostSilentError(
            f"{what}; other work kept it from running for another {starved:.1f} s",
            todo=NOT_STARVED,
        )
    raise HostStalledError(
        what,
        todo="something kept dom0's CPU: look for long loops without preemption in what this Xen"
        " does when memory is freed",
        evidence=dom0.evidence(),
    )


def is_emulated(host: Host) -> bool:
    """Whether this machine emulates the host."""
    return host.kind.startswith("emulated")


def in_qemu(host: Host) -> bool:
    """Whether the host's QEMU still runs; after its end the host cannot be reached."""
    if not is_emulated(host):
        return False
    try:
        host.ssh_command(["true"])
    except InfrastructureError:
        return False
    return True

# SPDX-License-Identifier: MIT
"""Tells which Xen a machine runs after a built one was to boot: that one, its own, or another."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError, UndecidedError, XenFaultError
from pytest_xenscrub.host.boot_log import WITH_LOG, WITHOUT_LOG, Stage, boots, stage

if TYPE_CHECKING:
    from pytest_xenscrub.boot.reboot import Running
    from pytest_xenscrub.host.protocol import Host

_END = re.compile(r"Panic on CPU|Kernel panic|GRUB cannot load|^error: ")


def see_own(host: Host, before: Running) -> None:
    """Check that a machine tells which Xen it runs, so that another Xen can be recognised later.

    Raises:
        InfrastructureError: it does not tell.
    """
    if not before.build_id:
        raise InfrastructureError(
            f"{host.name} does not say which Xen it runs",
            tried="/sys/hypervisor/properties/buildid, xl info",
            todo="boot the machine into its own Xen, 4.7 or later, as root",
        )


def other_than(host: Host, now: Running, wanted: str) -> str:
    """Describe the Xen that runs, if it is not the build that was to boot.

    Raises:
        InfrastructureError: it may be that build, but the build id does not prove it.
    """
    if now.is_cut_of(wanted):
        raise InfrastructureError(
            f"{host.name} shows a build id cut at a zero byte, which proves nothing:"
            f" {now.build_id or 'nothing of it'}, and {wanted} was built and booted",
            tried="/sys/hypervisor/properties/buildid; xl info and the bindings tell none",
            todo="have tools in dom0 that match that Xen (--xen-tools=build), or a dom0 kernel"
            " that shows all of it",
        )
    has = f"build id {now.build_id}" if now.build_id else "no Xen that says its build id"
    return f"{host.name} runs {has}, not {wanted}, which was built and booted"


def went_back(what: str, log: str, evidence: dict[str, str]) -> XenFaultError | UndecidedError:
    """The error for a machine that runs its own Xen again, whether or not the built Xen crashed."""
    back = f"{what}: the machine went back to its own Xen"
    reached = stage(log)
    if reached is Stage.NOT_LOADED:
        return UndecidedError(
            f"{back}, because GRUB could not load this one",
            todo="see what GRUB says on the serial line: is the file whole, is there memory?",
            evidence=evidence,
        )
    # The last boot in the log is that of the machine's own Xen.
    if len(boots(log)) > 1 and reached in (Stage.CRASHED, Stage.XEN):
        return XenFaultError(
            f"{back}: this one did not come up",
            todo="see the machine's serial log, with Xen's option sync_console",
            evidence=evidence,
        )
    return UndecidedError(
        f"{back}, for an unknown reason: it may have crashed, or the machine was reset",
        todo=WITHOUT_LOG if reached is Stage.SILENT or len(boots(log)) < 2 else WITH_LOG,  # noqa: PLR2004
        evidence=evidence,
    )


def last_words(serial: str, file_name: str = "") -> str:
    """The last lines of a hypervisor before it went down; the log goes on with another boot.

    Args:
        serial: the end of the log.
        file_name: the file that GRUB reports to load; empty to search the whole log, if GRUB has no
            serial console or does not boot this machine.

    Returns:
        The lines around the first one that tells of an end; the last lines if none does.
    """
    lines = (serial.rpartition(file_name)[2] if file_name else serial).splitlines()
    end = next((at for at, line in enumerate(lines) if _END.search(line)), None)
    return "\n".join(lines[-40:] if end is None else lines[max(0, end - 20) : end + 8])

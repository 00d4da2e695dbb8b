# SPDX-License-Identifier: MIT
"""What came up when a hypervisor of ours was to boot: it, the machine's own, or another one."""

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
    """See that a machine says which Xen it runs, or nobody could tell another one from it.

    Raises:
        InfrastructureError: it does not.
    """
    if not before.build_id:
        raise InfrastructureError(
            f"{host.name} does not say which Xen it runs",
            tried="/sys/hypervisor/properties/buildid, xl info",
            todo="boot the machine into its own Xen, 4.7 or later, as root",
        )


def other_than(host: Host, now: Running, wanted: str) -> str:
    """What runs, in words, where that is not the build that was to run.

    Raises:
        InfrastructureError: it may be that build, and nothing proves it.
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
    """The error for a machine that runs its own Xen again: ours, GRUB, or somebody's reset."""
    back = f"{what}: the machine went back to its own Xen"
    reached = stage(log)
    if reached is Stage.NOT_LOADED:
        return UndecidedError(
            f"{back}, because GRUB could not load this one",
            todo="see what GRUB says on the serial line: is the file whole, is there memory?",
            evidence=evidence,
        )
    # The last boot in the log is the own Xen's.
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
    """What a hypervisor said before it went down, out of a log that goes on with another boot.

    Args:
        serial: the log's end.
        file_name: what GRUB said it loads; where GRUB has no serial console, or has no part in
            it, all is looked at.

    Returns:
        The lines around the first that tells of an end, or the last ones where none does.
    """
    lines = (serial.rpartition(file_name)[2] if file_name else serial).splitlines()
    end = next((at for at, line in enumerate(lines) if _END.search(line)), None)
    return "\n".join(lines[-40:] if end is None else lines[max(0, end - 20) : end + 8])

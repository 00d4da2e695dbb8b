# SPDX-License-Identifier: MIT
"""Makes a machine that hung, crashed or was lost answer again: waits, or switches its power."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING
from uuid import UUID

from pytest_xenscrub.boot.reboot import running, wait_for_boot
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import DeadlineExceededError, HostUnusableError, XenScrubError
from pytest_xenscrub.identity import is_of_run

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.boot.reboot import Running
    from pytest_xenscrub.host.power import PowerSwitch
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.host.ssh import SshHost
    from pytest_xenscrub.telling import Say

ANSWER_SECONDS = 20.0
"""Limit for a healthy machine to answer some short questions, s."""
REBOOT_SECONDS = 600.0
"""Limit for a real machine's firmware, boot loader, Xen and dom0, s."""
SERVICES_SECONDS = 120.0
_GUESTS_SECONDS = 60.0
_LISTED = re.compile(r"^([0-9a-f-]{36})\s+(\d+)\s+(\S+) *$", re.MULTILINE)


def recover(
    host: SshHost,
    power: PowerSwitch | None,
    *,
    since: Running | None,
    patience: float,
    say: Say,
) -> None:
    """Make a machine answer again, with any Xen.

    A machine that answers every question is left alone: only its connection was lost, or it has
    rebooted by itself. Any other machine is power-cycled.

    Args:
        host: the machine.
        power: its power switch; None if the run can only wait.
        since: the boot it was in when it broke; None if unknown.
        patience: longest wait for the machine without a power switch, s.
        say: prints a line for the user.

    Raises:
        HostUnusableError: the machine does not come back, and has no power switch; the error says
            what is needed.
        InfrastructureError: the power command failed.
        DeadlineExceededError: the machine was power-cycled, and does not come back.
    """
    host.disconnect()
    begin = time.monotonic()
    if _answers(host):
        return
    if power is None:
        say(f"{host.name}: does not answer; waiting for it to come back by itself")
        _wait_without_power(host, patience)
    else:
        say(f"{host.name}: does not answer: power-cycled")
        evidence = host.serial_tail()
        power.run("cycle")
        try:
            deadline = Deadline.after(REBOOT_SECONDS, f"{host.name}: power-cycled")
            wait_for_boot(host, None if since is None else since.boot_id, deadline)
        except DeadlineExceededError as error:
            error.evidence["serial log before"] = evidence
            raise
    wait_for_xenstore(host)
    say(f"{host.name}: answers again after {time.monotonic() - begin:.0f} s")


def _answers(host: SshHost) -> bool:
    """Whether dom0, its xenstore and Xen all answer.

    If xl belongs to another Xen it refuses, which counts as an answer.
    """
    deadline = Deadline.after(ANSWER_SECONDS, f"{host.name}: asking whether it answers")
    try:
        running(host, deadline)
        host.run(["xl", "list"], deadline=deadline, check=False)
    except XenScrubError:
        host.disconnect()
        return False
    return True


def _wait_without_power(host: SshHost, patience: float) -> None:
    try:
        wait_for_boot(host, None, Deadline.after(patience, f"{host.name}: coming back by itself"))
    except XenScrubError as error:
        raise HostUnusableError(
            f"{host.name}: does not answer, and there is no power command to recover it with",
            todo="name one (--xen-power='ipmitool … power {action}', or power in the hosts file);"
            " until then, power-cycle it by hand",
            evidence={"waiting": str(error)},
        ) from None


def wait_for_xenstore(host: Host) -> None:
    """Wait until dom0's services are up, which start later than sshd.

    Raises:
        DeadlineExceededError: they do not come up.
    """
    deadline = Deadline.after(SERVICES_SECONDS, f"{host.name}: dom0's services")
    while True:
        asked = host.run(["xenstore-read", "/local/domain/0/name"], deadline=deadline, check=False)
        if asked.returncode == 0:
            return
        deadline.check(**{"xenstore-read": asked.stderr, "serial log": host.serial_tail()})
        time.sleep(0.5)


def destroy_run_guests(host: Host, tag: str) -> list[str]:
    """Destroy the guests of a run whose connection was lost, and remove its folder in dom0.

    Returns:
        The guests' names.

    Raises:
        InfrastructureError: the guests cannot be destroyed.
        DeadlineExceededError: it took too long.
    """
    deadline = Deadline.after(_GUESTS_SECONDS, f"{host.name}: removing the guests of {tag}")
    # A process that still creates or watches a guest has the run's tag on its command line.
    kill = f"pkill -KILL -f '^xl create.*/run/{tag}/'; rm -rf /run/{tag} /var/log/xen/xl-{tag}-*; :"
    host.run(["sh", "-c", kill], deadline=deadline)
    return destroy_guests(
        host, lambda uuid, name: name.startswith(f"{tag}-") or is_of_run(uuid, tag), deadline
    )


def destroy_guests(
    host: Host, wanted: Callable[[UUID, str], bool], deadline: Deadline
) -> list[str]:
    """Destroy every guest for which `wanted` is true, half-built ones without a name, too.

    Returns:
        The guests' names.

    Raises:
        InfrastructureError: dom0 cannot be asked.
        DeadlineExceededError: some guests are not gone in time.
    """
    destroyed: dict[str, str] = {}
    while True:
        listing = host.run(["xl", "vm-list"], deadline=deadline).stdout
        left = _wanted(listing, wanted)
        if not left:
            return list(destroyed.values())
        deadline.check(**{"xl vm-list": listing})
        for domid in left:
            host.run(["xl", "destroy", domid], deadline=deadline, check=False)
        destroyed |= left


def find_guests(host: Host, wanted: Callable[[UUID, str], bool], deadline: Deadline) -> list[str]:
    """The names of the guests that `destroy_guests` would destroy.

    Raises:
        InfrastructureError: dom0 cannot be asked.
    """
    listing = host.run(["xl", "vm-list"], deadline=deadline).stdout
    return list(_wanted(listing, wanted).values())


def _wanted(listing: str, wanted: Callable[[UUID, str], bool]) -> dict[str, str]:
    """The guests in the output of `xl vm-list` for which `wanted` is true: names by number."""
    return {
        domid: name for uuid, domid, name in _LISTED.findall(listing) if wanted(UUID(uuid), name)
    }

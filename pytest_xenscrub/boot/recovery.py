# SPDX-License-Identifier: MIT
"""A machine that hangs, crashed or was lost answers again: by itself, or by its power switch."""

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
"""For a machine that is well to answer some short questions, s."""
REBOOT_SECONDS = 600.0
"""For a real machine's firmware, boot loader, Xen and dom0, s."""
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

    One that answers all that it is asked is left as it is: its connection was lost, or it has
    rebooted by itself. One that does not is power-cycled.

    Args:
        host: the machine.
        power: switches it; None where nothing can, so that it can only be waited for.
        since: the boot it was in when it broke; None where nobody knows.
        patience: how long it may take to come back by itself, s, where nothing switches it.
        say: prints a line for the user.

    Raises:
        HostUnusableError: it does not come back, and nothing can switch it; says what is needed.
        InfrastructureError: the power command failed.
        DeadlineExceededError: it was power-cycled, and does not come back.
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
    """Whether dom0, its xenstore and Xen answer, all of them.

    Where tools of another Xen drive it, xl refuses: an answer, too.
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
    """Wait until dom0's services are up: sshd answers earlier.

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
    """Destroy a run's guests that its lost connection left on a machine, and remove its folder.

    Returns:
        Their names.

    Raises:
        InfrastructureError: they cannot be destroyed.
        DeadlineExceededError: it took too long.
    """
    deadline = Deadline.after(_GUESTS_SECONDS, f"{host.name}: removing the guests of {tag}")
    # What still builds or watches one has its file's name, which no other run's has.
    kill = f"pkill -KILL -f '^xl create.*/run/{tag}/'; rm -rf /run/{tag} /var/log/xen/xl-{tag}-*; :"
    host.run(["sh", "-c", kill], deadline=deadline)
    return destroy_guests(
        host, lambda uuid, name: name.startswith(f"{tag}-") or is_of_run(uuid, tag), deadline
    )


def destroy_guests(
    host: Host, wanted: Callable[[UUID, str], bool], deadline: Deadline
) -> list[str]:
    """Destroy every guest of which that is true, half-built ones too, which have no name.

    Returns:
        Their names.

    Raises:
        InfrastructureError: dom0 cannot be asked.
        DeadlineExceededError: some do not go away.
    """
    destroyed: dict[str, str] = {}
    while True:
        listing = host.run(["xl", "vm-list"], deadline=deadline).stdout
        left = {
            domid: name
            for uuid, domid, name in _LISTED.findall(listing)
            if wanted(UUID(uuid), name)
        }
        if not left:
            return list(destroyed.values())
        deadline.check(**{"xl vm-list": listing})
        for domid in left:
            host.run(["xl", "destroy", domid], deadline=deadline, check=False)
        destroyed |= left

# SPDX-License-Identifier: MIT
"""Removes what dead runs left on a machine, and refuses a machine with guests of others.

The run that holds the machine's lock is the only one there, so everything with another run's tag is
of a dead run.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from pytest_xenscrub.boot.grub_entry import BootEntry
from pytest_xenscrub.boot.recovery import destroy_guests, find_guests, wait_for_xenstore
from pytest_xenscrub.errors import HostBusyError
from pytest_xenscrub.identity import is_guest
from pytest_xenscrub.toolstack.xl import parse_list

if TYPE_CHECKING:
    from uuid import UUID

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.telling import Say

_TAG = re.compile(r"\bxenscrub-[0-9a-f]{6}\b")
_ALL = "xenscrub-[0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f][0-9a-f]"
_BOOT = r"""
sed -n 's/^### BEGIN pytest-xenscrub \(\S*\) .*/\1/p' /boot/grub*/custom.cfg 2> /dev/null
for f in /boot/pytest-xenscrub-*.gz /pytest-xenscrub-*.gz; do [ -e "$f" ] && echo "$f"; done; :
"""
# Tools have no tag, because runs share them; but no other run is on the machine.
_PLACES = (
    f"/run/{_ALL} /var/log/xen/xl-{_ALL}-* /var/log/libvirt/libxl/{_ALL}-* /opt/xenscrub-tools-*"
)
_FILES = f'for f in {_PLACES}; do [ -e "$f" ] && echo "$f" && rm -rf "$f"; done; :'
_LISTED_FILES = f'for f in {_PLACES}; do [ -e "$f" ] && echo "$f"; done; :'


def remove_leftovers(host: Host, deadline: Deadline, say: Say) -> None:
    """Remove what dead runs left, with a line for each; boot entries first, as they need a reboot.

    The caller must hold the machine's lock, and must not have put anything on the machine yet.

    Raises:
        InfrastructureError: something cannot be removed, or the machine does not boot its own Xen.
        DeadlineExceededError: the machine did not come back from its reboot.
    """
    listed = host.run(["sh", "-c", _BOOT], deadline=deadline).stdout
    for tag in sorted(set(_TAG.findall(listed))):
        say(f"{host.name}: removing the boot entry of a dead run, {tag}; its own Xen is to run")
        BootEntry(host, tag).remove(deadline)
    if listed:
        wait_for_xenstore(host)
    for name in destroy_guests(host, _is_ours, deadline):
        say(f"{host.name}: destroyed a guest of a dead run, {name}")
    for path in host.run(["sh", "-c", _FILES], deadline=deadline).stdout.splitlines():
        say(f"{host.name}: removed what a dead run left, {path}")


def find_leftovers(host: Host, deadline: Deadline) -> list[str]:
    """What `remove_leftovers` would remove: boot entries and files, guests' names, files.

    Raises:
        InfrastructureError: dom0 cannot be asked.
        DeadlineExceededError: it took too long.
    """
    booted = host.run(["sh", "-c", _BOOT], deadline=deadline).stdout.splitlines()
    guests = find_guests(host, _is_ours, deadline)
    files = host.run(["sh", "-c", _LISTED_FILES], deadline=deadline).stdout.splitlines()
    return [*booted, *guests, *files]


def _is_ours(uuid: UUID, name: str) -> bool:
    return is_guest(uuid) or bool(_TAG.match(name))


def refuse_busy(host: Host, deadline: Deadline) -> None:
    """Check that no other guests run.

    Raises:
        HostBusyError: some do; the error names them.
    """
    if others := others_guests(host, deadline):
        raise HostBusyError(
            f"{host.name} runs guests that are not ours: {', '.join(others)}",
            todo="name another host; or, if tests may take their host's free memory and CPUs,"
            " --xen-allow-busy",
        )


def others_guests(host: Host, deadline: Deadline) -> list[str]:
    """The names of guests that no run of ours created, except those that are about to be gone.

    Raises:
        InfrastructureError: dom0 cannot be asked.
    """
    listed = parse_list(host.run(["xl", "list"], deadline=deadline).stdout)
    names = [each.name for each in listed if each.domid and "d" not in each.state]
    return [name for name in names if not _TAG.match(name)]

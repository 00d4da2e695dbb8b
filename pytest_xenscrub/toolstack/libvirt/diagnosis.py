# SPDX-License-Identifier: MIT
"""Explains why libvirt cannot be used on a host, with advice."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import libvirt

if TYPE_CHECKING:
    from pytest_xenscrub.toolstack.libvirt.transport import Daemon

DAEMON_LOG = """
tail -q -n 10 /var/log/libvirt/virtxend.log /var/log/libvirt/libvirtd.log 2>/dev/null
journalctl -q --no-pager -n 10 -u virtxend -u libvirtd 2>/dev/null
exit 0
"""
"""A script for dom0 that prints the last lines of the daemon's log, from wherever it is."""

DAEMON_THREADS = """
for pid in $(pidof virtxend libvirtd); do
    for task in /proc/$pid/task/*; do echo "$(cat $task/wchan) $(cat $task/comm)"; done
done 2>/dev/null
exit 0
"""
"""A script for dom0 that prints where each of the daemon's threads sleeps, the main one first."""
_NEVER_ASKS_XEN = re.compile(r"(?!0 )\S+ (gmain|gdbus|daemon-init)")
"""A thread of the daemon's that sleeps, and is none of those that call libxl."""


def waits_for_itself(threads: str) -> bool:
    """Whether the daemon's main thread waits for a lock, and none of its threads for Xen.

    A main thread that has nothing to do sleeps in poll. A worker that waits for Xen is in a
    hypercall, or polls for an event of libxl's. An idle worker sleeps in a futex, and so does a
    worker that waits for a lock.

    Args:
        threads: what `DAEMON_THREADS` printed; a kernel that tells nothing prints 0.
    """
    main, *others = threads.splitlines() or [""]
    return main.startswith("futex") and all(
        line.startswith("futex") or _NEVER_ASKS_XEN.fullmatch(line) for line in others
    )


def why_not(daemon: Daemon | None, error: libvirt.libvirtError) -> tuple[str, str]:
    """The cause, and what to do.

    Args:
        daemon: what the relay found in dom0; None if the relay did not start.
        error: libvirt's error.
    """
    refused = error.get_error_message()
    if daemon is None:
        what = "libvirt's connection over ssh cannot be made"
        todo = "look at what ssh said; python3 is needed in dom0"
    elif "denied" in daemon.error:
        what = f"libvirt may not be used: {daemon.error}"
        todo = "log in as root, or as a member of the group libvirt"
    elif not daemon.socket and not daemon.daemons:
        what = "there is no libvirtd in dom0"
        todo = "apt-get install libvirt-daemon-system libvirt-daemon-driver-xen"
    elif not daemon.socket:
        what = f"{daemon.daemons[0]} is installed in dom0, and does not run"
        todo = f"systemctl start {daemon.daemons[0]}; if it ends at once, its log says why"
    elif error.get_error_code() != libvirt.VIR_ERR_NO_CONNECT:
        what = f"libvirt cannot be used: {refused}"
        todo = "try it by hand in dom0: virsh -c xen:///system list"
    elif not daemon.driver:
        what = "libvirtd has no Xen driver"
        todo = "apt-get install libvirt-daemon-driver-xen; systemctl restart libvirtd"
    else:
        what = "libvirtd has a Xen driver, and it did not start"
        todo = (
            "its log says why: its libxl must be of the release of the Xen that runs, and libvirt"
            " must know a CPU model that fits the host"
        )
    return what, todo

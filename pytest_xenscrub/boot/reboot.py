# SPDX-License-Identifier: MIT
"""Finds which boot of which Xen a machine is in, and reboots it."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from pytest_xenscrub.errors import (
    DeadlineExceededError,
    HostUnusableError,
    InfrastructureError,
)

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.protocol import Host

WITH_PATH = "PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin; "
"""Beginning of a shell script that finds system programs."""
_ATTEMPT_SECONDS = 15.0
"""Limit for one question to a machine that may be down or half up, s."""
_REBOOT_SECONDS = 30.0
"""Limit of the command `reboot`, which returns, or is cut off, s."""
_PAUSE_SECONDS = 0.5
BUILD_ID_DIGITS = 40
"""Length of a complete build id: SHA-1, in hex."""
_SAME_BOOT = "it answers, but has not rebooted yet"

# The kernel knows the build id before the toolstack runs, and even if the toolstack is of another
# release. But kernels before 2026 cut it at its first zero byte; xl and the bindings show all of
# it.
_WHO_RUNS = r"""
cat /proc/sys/kernel/random/boot_id
note=/sys/hypervisor/properties/buildid
[ -r $note ] && od -An -v -tx1 $note | tr -d ' \n'
echo
told=$(xl info 2> /dev/null | sed -n 's/^build_id *: *//p')
[ -n "$told" ] || told=$(python3 - 2> /dev/null << 'END'
import glob, sys
sys.path += glob.glob("/usr/lib/xen-*/lib/python") + glob.glob("/usr/lib*/xen/lib/python")
import xen.lowlevel.xc
print(xen.lowlevel.xc.xc().buildid())
END
)
echo "$told"
"""


@runtime_checkable
class _Reconnects(Protocol):
    """A host with a connection that hangs after a reboot."""

    def disconnect(self) -> None:
        """Close the connection; the next command makes a new one."""


@dataclass(frozen=True)
class Running:
    """Which boot of which Xen answered.

    Attributes:
        boot_id: differs in each boot of dom0.
        build_id: the hypervisor's build id; empty if nothing tells it.
        cut: whether only the kernel told it, which may have cut it at a zero byte.
    """

    boot_id: str
    build_id: str
    cut: bool = False

    def may_be(self, build_id: str) -> bool:
        """Whether this may be that build; a cut build id can only rule out others."""
        if self.build_id == build_id:
            return True
        return self.cut and build_id.startswith(f"{self.build_id}00")

    def is_cut_of(self, build_id: str) -> bool:
        """Whether this build id is `build_id` up to its first zero byte."""
        return self.build_id != build_id and self.may_be(build_id)


def running(host: Host, deadline: Deadline) -> Running:
    """Which boot of which Xen a host is in.

    Raises:
        InfrastructureError: the host cannot be reached.
    """
    result = host.run(["sh", "-c", WITH_PATH + _WHO_RUNS], deadline=deadline)
    boot_id, kernel, told = (*map(str.strip, result.stdout.splitlines()), "", "", "")[:3]
    if told and (told.startswith(kernel) or not kernel):
        return Running(boot_id, told)
    # If they differ, the toolstack's answer is wrong: the kernel asked the Xen that runs.
    return Running(boot_id, kernel, cut=len(kernel) < BUILD_ID_DIGITS)


def wait_for_boot(host: Host, since: str | None, deadline: Deadline) -> Running:
    """Wait until a host answers in another boot than before.

    Args:
        host: the machine; its errors while it is down are ignored.
        since: the boot id before; None to accept any.
        deadline: limit.

    Raises:
        DeadlineExceededError: the host did not come back.
        HostUnusableError: the host was declared unusable before.
    """
    last = ""
    while not deadline.passed:
        try:
            now = running(host, deadline.within(_ATTEMPT_SECONDS, "asking which Xen runs"))
        except HostUnusableError:
            raise
        except (InfrastructureError, DeadlineExceededError) as error:
            # An attempt that the deadline cut off tells nothing, so the error has the one before
            # it.
            if not last or not deadline.passed:
                last = str(error)
            if isinstance(host, _Reconnects):
                host.disconnect()
        else:
            if now.boot_id != since:
                return now
            last = _SAME_BOOT
        time.sleep(min(_PAUSE_SECONDS, deadline.remaining))
    raise DeadlineExceededError(
        f"{deadline.step}: {host.name} did not come back within {deadline.seconds:.0f} s",
        todo="reset the machine: its own Xen boots again",
        evidence={"last answer": last, "serial log": host.serial_tail()},
    )


def reboot(host: Host, before: Running, deadline: Deadline) -> Running:
    """Reboot a machine and wait until it is back.

    Args:
        host: the machine.
        before: which boot of which Xen it is in.
        deadline: limit.

    Returns:
        Which boot of which Xen it is in then.

    Raises:
        InfrastructureError: the machine does not reboot, or is still in the same boot.
        DeadlineExceededError: the machine did not come back.
        HostUnusableError: the machine was declared unusable before.
    """
    argv = ["sh", "-c", WITH_PATH + "sync; reboot"]
    try:
        answer = deadline.within(_REBOOT_SECONDS, "reboot")
        result = host.run(argv, deadline=answer, check=False)
    except HostUnusableError:
        raise
    except (InfrastructureError, DeadlineExceededError):
        pass  # the machine may go down before it answers
    else:
        if result.returncode not in (0, 255):
            raise InfrastructureError(
                f"{host.name} does not reboot: the command returned {result.returncode}",
                tried="reboot",
                todo="the command must reboot it without a question: molly-guard, for one, asks",
                evidence={"reboot": result.stdout + result.stderr},
            )
    if isinstance(host, _Reconnects):
        host.disconnect()
    try:
        return wait_for_boot(host, before.boot_id, deadline)
    except DeadlineExceededError as error:
        if error.evidence.get("last answer") != _SAME_BOOT:
            raise
    raise InfrastructureError(
        f"{deadline.step}: {host.name} has not rebooted within {deadline.seconds:.0f} s: it is"
        " still in the same boot",
        tried="reboot",
        todo="reboot it by hand, as root, over ssh: what holds it up (molly-guard, an inhibitor, a"
        " service that does not stop) must let a command do it",
    )

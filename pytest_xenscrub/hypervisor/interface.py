# SPDX-License-Identifier: MIT
"""Which domctl and sysctl interface dom0's tools speak, and whether a Xen is driven by it.

Both carry a version in every call, and Xen refuses (EACCES) any but the one that it was built
with. dom0's tools are asked, not the Xen that runs: that may be a build of ours, left running.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError, InfrastructureError
from pytest_xenscrub.host.emulated.image import XEN_OF_SUITE

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.protocol import Host
    from pytest_xenscrub.hypervisor.build import Artefact

# Runs in dom0 under its own Python, 3.6 or later. A child calls Xen's bindings, one sysctl and one
# domctl that only read, while its parent looks at each hypercall on its way into the kernel. So
# the answer does not depend on what Xen makes of them.
SCRIPT = r"""
import ctypes, errno, glob, json, os, signal, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.restype = ctypes.c_long
libc.ptrace.argtypes = [ctypes.c_long] * 4
TRACEME, GETREGS, SETREGS, SYSCALL, SETOPTIONS = 0, 12, 13, 24, 0x4200
OPENAT, OPEN, IOCTL, HYPERCALL = 257, 2, 16, 0x305000  # the last is IOCTL_PRIVCMD_HYPERCALL
NAMES = {35: "sysctl", 36: "domctl"}
if os.uname().machine != "x86_64":
    sys.exit("dom0 is no x86-64 machine")
sys.path[:0] = glob.glob("/usr/lib/xen-*/lib/python") + glob.glob("/usr/lib*/xen/lib/python")
try:
    import xen.lowlevel.xc
except ImportError as error:
    sys.exit("no bindings: {}".format(error))

child = os.fork()
if child == 0:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    libc.ptrace(TRACEME, 0, 0, 0)
    os.kill(os.getpid(), signal.SIGSTOP)
    try:
        xc = xen.lowlevel.xc.xc()
        for call in xc.physinfo, lambda: xc.sched_credit_domain_get(0):
            try:
                call()
            except Exception:
                pass  # a Xen of another release says no; the call has been seen
    finally:
        os._exit(0)

def ptrace(request, data=0):
    if libc.ptrace(request, child, 0, data) < 0:
        sys.exit("ptrace: {}".format(os.strerror(ctypes.get_errno())))

def read(address, size):
    with open("/proc/{}/mem".format(child), "rb", 0) as memory:
        memory.seek(address)
        return memory.read(size)

found = {}
registers = (ctypes.c_ulonglong * 27)()
os.waitpid(child, 0)
ptrace(SETOPTIONS, 1)  # tell system calls from signals
entering, hidden = True, False
send = 0
while True:
    ptrace(SYSCALL, send)
    status = os.waitpid(child, 0)[1]
    if not os.WIFSTOPPED(status):
        break
    send = os.WSTOPSIG(status)
    if send != signal.SIGTRAP | 0x80:
        continue
    send = 0
    if entering:
        ptrace(GETREGS, ctypes.addressof(registers))
        number, first, second, third = (registers[i] for i in (15, 14, 13, 12))
        if number in (OPEN, OPENAT):
            path = second if number == OPENAT else first
            # Its buffers cannot be read from outside; without it ordinary memory is used.
            hidden = read(path, 19).rstrip(b"\0") == b"/dev/xen/hypercall"
            if hidden:
                registers[15] = 2**64 - 1  # no system call at all
                ptrace(SETREGS, ctypes.addressof(registers))
        elif number == IOCTL and second & 0xFFFFFFFF == HYPERCALL:
            op, argument = struct.unpack("QQ", read(third, 16))
            if op in NAMES:
                found[NAMES[op]] = struct.unpack("II", read(argument, 8))[1]
    elif hidden:
        hidden = False
        ptrace(GETREGS, ctypes.addressof(registers))
        registers[10] = 2**64 - errno.ENOENT
        ptrace(SETREGS, ctypes.addressof(registers))
    entering = not entering
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Interfaces:
    """The interface versions that a toolstack puts into its calls, or that a Xen accepts.

    Attributes:
        domctl: of what is done to domains.
        sysctl: of what is done to the machine.
    """

    domctl: int
    sysctl: int

    def __str__(self) -> str:
        return f"domctl {self.domctl:#x} and sysctl {self.sysctl:#x}"


TOOLS_OF_SUITE = {
    "bookworm": Interfaces(domctl=0x15, sysctl=0x15),
    "trixie": Interfaces(domctl=0x17, sysctl=0x15),
}
"""What the tools of an emulated dom0 speak, from the public headers in Debian's `libxen-dev`."""


def tools_of_suite(suite: str) -> Interfaces:
    """What an emulated dom0's tools speak; nothing is booted for it.

    Raises:
        ConfigurationError: the suite is not known.
    """
    try:
        return TOOLS_OF_SUITE[suite]
    except KeyError:
        raise ConfigurationError(
            f"nothing is known of the tools of a dom0 of {suite!r}",
            todo=f"use one of: {', '.join(TOOLS_OF_SUITE)}",
        ) from None


def ask_tools(host: Host, *, deadline: Deadline) -> Interfaces:
    """What the tools that are installed in a host's dom0 speak, whichever Xen runs there.

    Raises:
        InfrastructureError: they could not be asked; the evidence is what dom0 said.
        DeadlineExceededError: it took too long.
    """
    result = host.run(["python3", "-"], deadline=deadline, check=False, stdin=SCRIPT.encode())
    try:
        found = json.loads(result.stdout)
        return Interfaces(domctl=found["domctl"], sysctl=found["sysctl"])
    except (ValueError, KeyError, TypeError):
        raise InfrastructureError(
            f"{host.name}: its tools did not show which interface versions they speak",
            tried="python3 with Xen's bindings (xen.lowlevel.xc) in dom0, traced",
            todo="Debian has the bindings in xen-utils, Fedora in xen-runtime; the user must be"
            " root, and Xen must run",
            evidence={"stdout": result.stdout[-500:], "stderr": result.stderr[-1000:]},
        ) from None


def matches(artefact: Artefact, tools: Interfaces) -> bool:
    """Whether these tools drive that hypervisor."""
    return Interfaces(artefact.domctl, artefact.sysctl) == tools


def check_interfaces(artefact: Artefact, tools: Interfaces, *, suite: str = "") -> None:
    """Check, before anything boots, that the host's tools drive a hypervisor.

    Args:
        artefact: the hypervisor.
        tools: what the host's tools speak.
        suite: the Debian release of an emulated host; empty for a real one.

    Raises:
        ConfigurationError: they do not; says both versions and what to do.
    """
    if matches(artefact, tools):
        return
    wanted = Interfaces(artefact.domctl, artefact.sysctl)
    whose = f"{suite}'s tools ({XEN_OF_SUITE[suite]})" if suite else "the tools in dom0"
    raise ConfigurationError(
        f"{whose} do not drive this {artefact.version} hypervisor ({artefact.variant}):"
        f" they speak {tools}, it wants {wanted}",
        tried="the tree's public headers against what the host's tools put into their calls",
        todo="--xen-tools=build builds the tree's own tools and uses them for this variant; "
        + _elsewhere(wanted, suite),
    )


def _elsewhere(wanted: Interfaces, suite: str) -> str:
    """Where there are tools that match, other than in the tree itself."""
    named = [
        f"{other} ({XEN_OF_SUITE[other]})"
        for other, tools in TOOLS_OF_SUITE.items()
        if tools == wanted
    ]
    if suite and named:
        return f"or use a dom0 that has matching ones: --xen-suite={' or '.join(named)}"
    known = ", ".join(
        f"{other} has {XEN_OF_SUITE[other]}'s ({tools})" for other, tools in TOOLS_OF_SUITE.items()
    )
    if suite:
        return f"no --xen-suite has matching ones: {known}"
    return "or install the tools of that release in dom0"

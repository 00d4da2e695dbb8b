# SPDX-License-Identifier: MIT
"""Finds which interface versions dom0's tools use: runs in dom0, prints one line of JSON, and ends.

Line out:  {"sysctl": version, "domctl": version}; a version that was not seen is left out
Whatever fails goes to stderr, and ends it.

A child process makes one sysctl and one domctl through Xen's bindings, both of which only read. Its
parent reads each hypercall on its way into the kernel, so the result does not depend on whether Xen
accepts the call.

Plain Python 3.6, because dom0 may be older than the machine that runs the tests.
"""

import ctypes
import errno
import glob
import json
import os
import signal
import struct
import sys
from typing import Any, Dict

TRACEME, GETREGS, SETREGS, SYSCALL, SETOPTIONS = 0, 12, 13, 24, 0x4200
"""Requests of ptrace."""
TRACESYSGOOD = 1
"""Makes stops at system calls differ from signals."""
OPENAT, OPEN, IOCTL = 257, 2, 16
"""System calls, on x86-64."""
HYPERCALL = 0x305000
"""IOCTL_PRIVCMD_HYPERCALL"""
NAMES = {35: "sysctl", 36: "domctl"}
"""Hypercalls whose arguments begin with a version."""
BUFFERS = b"/dev/xen/hypercall"
RESULT, THIRD, SECOND, FIRST, NUMBER = 10, 12, 13, 14, 15
"""Indices in user_regs_struct of a system call's result, its arguments, and its number."""


def load_libc() -> Any:
    """The C library, for ptrace."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.restype = ctypes.c_long
    libc.ptrace.argtypes = [ctypes.c_long] * 4
    return libc


def load_bindings() -> Any:
    """Xen's bindings, preferably those of dom0 itself."""
    sys.path[:0] = glob.glob("/usr/lib/xen-*/lib/python") + glob.glob("/usr/lib*/xen/lib/python")
    try:
        import xen.lowlevel.xc  # type: ignore[import-not-found]
    except ImportError as error:
        sys.exit("no bindings: {}".format(error))
    return xen.lowlevel.xc


def start_calls(libc: Any, bindings: Any) -> int:
    """Start a child that makes both calls once it is traced."""
    child = os.fork()
    if child == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        libc.ptrace(TRACEME, 0, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        try:
            xc = bindings.xc()
            for call in xc.physinfo, lambda: xc.sched_credit_domain_get(0):
                try:
                    call()
                except Exception:  # noqa: S110
                    pass  # another release refuses the call, which was seen by then
        finally:
            os._exit(0)
    return child


class Watch:
    """Looks at each system call of a child, at its entry and at its exit."""

    def __init__(self, libc: Any, child: int) -> None:
        self.libc = libc
        self.child = child
        self.registers = (ctypes.c_ulonglong * 27)()
        self.entering = True
        self.hidden = False
        self.found: Dict[str, int] = {}

    def ptrace(self, request: int, data: int = 0) -> None:
        if self.libc.ptrace(request, self.child, 0, data) < 0:
            sys.exit("ptrace: {}".format(os.strerror(ctypes.get_errno())))

    def read(self, address: int, size: int) -> bytes:
        """Read a part of the child's memory."""
        with open("/proc/{}/mem".format(self.child), "rb", 0) as memory:
            memory.seek(address)
            return memory.read(size)

    def get(self, *places: int) -> Any:
        """Read some of the child's registers."""
        self.ptrace(GETREGS, ctypes.addressof(self.registers))
        return [self.registers[place] for place in places]

    def set(self, place: int, value: int) -> None:
        """Change one of the registers that `get` has read."""
        self.registers[place] = value
        self.ptrace(SETREGS, ctypes.addressof(self.registers))

    def follow(self) -> None:
        """Let the child run to its end."""
        os.waitpid(self.child, 0)
        self.ptrace(SETOPTIONS, TRACESYSGOOD)
        send = 0
        while True:
            self.ptrace(SYSCALL, send)
            status = os.waitpid(self.child, 0)[1]
            if not os.WIFSTOPPED(status):
                return
            send = os.WSTOPSIG(status)
            if send == signal.SIGTRAP | 0x80:
                send = 0
                self.look()

    def look(self) -> None:
        """Handle a stop of the child at the entry or exit of a system call."""
        if self.entering:
            self.enter()
        elif self.hidden:
            self.hidden = False
            self.get()
            self.set(RESULT, 2**64 - errno.ENOENT)
        self.entering = not self.entering

    def enter(self) -> None:
        number, first, second, third = self.get(NUMBER, FIRST, SECOND, THIRD)
        if number in (OPEN, OPENAT):
            path = second if number == OPENAT else first
            # The parent cannot read this device's buffers; without it the bindings use ordinary
            # memory.
            self.hidden = self.read(path, len(BUFFERS) + 1).rstrip(b"\0") == BUFFERS
            if self.hidden:
                self.set(NUMBER, 2**64 - 1)  # a number that is not a system call
        elif number == IOCTL and second & 0xFFFFFFFF == HYPERCALL:
            op, argument = struct.unpack("QQ", self.read(third, 16))
            if op in NAMES:
                self.found[NAMES[op]] = struct.unpack("II", self.read(argument, 8))[1]


def main() -> None:
    """Print the versions of both calls."""
    if os.uname().machine != "x86_64":
        sys.exit("dom0 is no x86-64 machine")
    libc = load_libc()
    watch = Watch(libc, start_calls(libc, load_bindings()))
    watch.follow()
    sys.stdout.write(json.dumps(watch.found) + "\n")


if __name__ == "__main__":
    main()

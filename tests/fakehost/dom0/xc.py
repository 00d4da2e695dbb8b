# SPDX-License-Identifier: MIT
"""Stands for Xen's bindings, `xen.lowlevel.xc`: a Xen with a dom0 and free memory, and no guests.

Plain Python 3.6, as dom0's Python may be no later one.

Calls that have a version in them make a real system call, which shows that to whoever traces it.
"""

import ctypes
import errno
from pathlib import Path
from typing import Any, Dict, List

STATE = Path("/run/lab/state")
HYPERCALL = 0x305000
SYSCTL, DOMCTL = 35, 36
VERSION = 0x15
MEMORY_KIB = 8 << 20
DOM0_KIB = 4 << 20
SCHEDULER_CREDIT2 = 6

_libc = ctypes.CDLL(None, use_errno=True)


def _hypercall(operation: int) -> None:
    """What libxc gives the kernel; with no device to give it to, the kernel refuses it."""
    operand = (ctypes.c_uint32 * 32)(1, VERSION)
    call = (ctypes.c_uint64 * 6)(operation, ctypes.addressof(operand))
    _libc.ioctl(-1, ctypes.c_ulong(HYPERCALL), call)


def _state(name: str) -> str:
    return (STATE / name).read_text().strip()


class xc:  # noqa: N801 - its name there
    def __init__(self) -> None:
        self.ring = "(XEN) Xen version 4.17.5 (Debian 4.17.5-1) debug=n\n"
        self.dumps = 0

    def xeninfo(self) -> Dict[str, Any]:
        options = _state("xen_options")
        return {
            "xen_major": 4, "xen_minor": 17, "xen_extra": ".5", "xen_commandline": options,
        }  # fmt: skip

    def physinfo(self) -> Dict[str, Any]:
        _hypercall(SYSCTL)
        free = int(_state("free"))
        return {
            "total_memory": MEMORY_KIB, "free_memory": free, "nr_cpus": 2, "nr_nodes": 1,
            "virt_caps": "pv",
        }  # fmt: skip

    def sched_credit_domain_get(self, _domid: int) -> Dict[str, int]:
        _hypercall(DOMCTL)
        return {}

    def sched_id_get(self) -> int:
        return SCHEDULER_CREDIT2

    def numainfo(self) -> Dict[str, List[int]]:
        return {"node_memfree": [int(_state("free")) >> 10]}

    def topologyinfo(self) -> Dict[str, List[int]]:
        return {"cpu_to_node": [0, 0]}

    def buildid(self) -> str:
        return _state("runs")

    def readconsolering(self) -> str:
        return self.ring

    def send_debug_keys(self, key: str) -> None:
        if key == "H":
            self.dumps += 1
            self.ring += f"'H' pressed -> dumping heap info (now = {self.dumps})\n"

    def domain_getinfo(self, first: int, _most: int) -> List[Dict[str, Any]]:
        if first:
            raise OSError(errno.ESRCH, "no such domain")
        dom0 = {
            "domid": 0, "handle": [0] * 16, "mem_kb": DOM0_KIB, "dying": 0, "shutdown": 0,
            "crashed": 0, "shutdown_reason": 0, "paused": 0, "cpu_time": 10**9,
        }  # fmt: skip
        return [dom0]

# SPDX-License-Identifier: MIT
"""Xen through its own Python bindings (`xen.lowlevel.xc`): its log, domains and memory.

Part of the agent. A call takes 0.1 ms, while an `xl` process takes 150 ms under emulation and would
disturb the measurements.

Plain Python 3.6, as the agent is.
"""

import errno
import glob
import re
import sys
import threading
from typing import Any, Dict, List, Optional, Tuple

Facts = Dict[str, Any]

HEAP_DUMP = re.compile(r"'H' pressed|heap\[node=|Node \d+ has \d+ unscrubbed")
UNSCRUBBED = re.compile(r"Node (\d+) has (\d+) unscrubbed pages")


def load_bindings() -> Any:
    """Xen's control library, from any folder that may have dom0's Python bindings."""
    # Appended, because PYTHONPATH may have the bindings of tools that were built for this Xen.
    sys.path += glob.glob("/usr/lib/xen-*/lib/python") + glob.glob("/usr/lib*/xen/lib/python")
    import xen.lowlevel.xc  # type: ignore[import-not-found]

    return xen.lowlevel.xc.xc()


class XenLog:
    """Xen's console ring; reading does not clear it, so other readers lose nothing.

    The ring is small and each heap dump fills some of it. So every read appends the new lines,
    without heap dumps, to a list.
    """

    def __init__(self, xc: Any) -> None:
        self.xc = xc
        self.lines: List[str] = []
        self.count = 0
        self.tail = ""

    def update(self) -> str:
        """Read the new text of the ring."""
        ring = self.xc.readconsolering()
        text: str = ring.decode(errors="replace") if isinstance(ring, bytes) else ring
        at = text.rfind(self.tail) if self.tail else -1
        new = text[at + len(self.tail) :] if at >= 0 else text
        # Longer than a heap dump, so that the mark contains the time in its first line; other lines
        # repeat.
        self.tail = text[-4000:]
        fresh = [line for line in new.splitlines() if line.strip() and not HEAP_DUMP.search(line)]
        self.lines = (self.lines + fresh)[-2000:]
        self.count += len(fresh)
        return new


class Xen:
    """Xen's memory, domains and log. Only one thread at a time uses debug keys and log."""

    def __init__(self, xc: Any) -> None:
        self.xc = xc
        self.lock = threading.Lock()
        self.log = XenLog(xc)

    def free_bytes(self) -> int:
        """Free memory as Xen counts it, which may include the backlog."""
        return int(self.xc.physinfo()["free_memory"]) * 1024

    def domain(self, domid: int) -> Optional[Facts]:
        """Xen's description of a domain; None if there is no such domain."""
        try:
            found: List[Facts] = self.xc.domain_getinfo(domid, 1)
        except Exception as error:
            if error.args[:1] == (errno.ESRCH,):
                return None  # the bindings' error if there is no domain from this number on
            raise
        return found[0] if found and found[0]["domid"] == domid else None

    def backlog(self) -> Dict[str, int]:
        """Unscrubbed pages by node, from debug key H's dump, Xen's only view of them."""
        dump = self.dump("H")
        start = dump.rfind("'H' pressed")
        if start < 0:
            raise RuntimeError("debug key H left no heap dump in Xen's log")
        return {node: int(pages) for node, pages in UNSCRUBBED.findall(dump[start:])}

    def dump(self, key: str) -> str:
        """Xen's output for a debug key."""
        with self.lock:
            self.log.update()
            self.xc.send_debug_keys(key)
            return self.log.update()

    def logged(self) -> Tuple[int, List[str]]:
        """The number of lines that the log had so far, without heap dumps, and the last of them."""
        with self.lock:
            self.log.update()
            return self.log.count, self.log.lines

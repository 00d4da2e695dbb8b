# SPDX-License-Identifier: MIT
"""Xen through its own Python bindings (`xen.lowlevel.xc`): its log, and looks at it.

Part of the agent. A look takes 0.1 ms, where an `xl` process takes 150 ms under emulation and
would disturb what it watches.

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
    """Xen's control library, wherever this dom0's tools put its Python bindings."""
    # At the end: tools that were built for this Xen come first, by PYTHONPATH.
    sys.path += glob.glob("/usr/lib/xen-*/lib/python") + glob.glob("/usr/lib*/xen/lib/python")
    import xen.lowlevel.xc  # type: ignore[import-not-found]

    return xen.lowlevel.xc.xc()


class XenLog:
    """Xen's console ring, read without clearing it: other readers lose nothing.

    The ring is small and each heap dump fills some of it, so every read moves what is new, heap
    dumps left out, into a list of our own.
    """

    def __init__(self, xc: Any) -> None:
        self.xc = xc
        self.lines: List[str] = []
        self.count = 0
        self.tail = ""

    def update(self) -> str:
        """The ring's text that had not been seen before."""
        ring = self.xc.readconsolering()
        text: str = ring.decode(errors="replace") if isinstance(ring, bytes) else ring
        at = text.rfind(self.tail) if self.tail else -1
        new = text[at + len(self.tail) :] if at >= 0 else text
        # Longer than a heap dump, so that it holds the time in its first line: the rest repeats.
        self.tail = text[-4000:]
        fresh = [line for line in new.splitlines() if line.strip() and not HEAP_DUMP.search(line)]
        self.lines = (self.lines + fresh)[-2000:]
        self.count += len(fresh)
        return new


class Xen:
    """What Xen shows. Debug keys and the log belong together: one thread at a time has them."""

    def __init__(self, xc: Any) -> None:
        self.xc = xc
        self.lock = threading.Lock()
        self.log = XenLog(xc)

    def free_bytes(self) -> int:
        """Free memory as Xen counts it: what waits for its scrub is free already."""
        return int(self.xc.physinfo()["free_memory"]) * 1024

    def domain(self, domid: int) -> Optional[Facts]:
        """What Xen says of a domain; None where there is none."""
        try:
            found: List[Facts] = self.xc.domain_getinfo(domid, 1)
        except Exception as error:
            if error.args[:1] == (errno.ESRCH,):
                return None  # the bindings' word for: no domain from this number on
            raise
        return found[0] if found and found[0]["domid"] == domid else None

    def backlog(self) -> Dict[str, int]:
        """Unscrubbed pages by node: the only view of them that Xen gives is debug key H's dump."""
        dump = self.dump("H")
        start = dump.rfind("'H' pressed")
        if start < 0:
            raise RuntimeError("debug key H left no heap dump in Xen's log")
        return {node: int(pages) for node, pages in UNSCRUBBED.findall(dump[start:])}

    def dump(self, key: str) -> str:
        """What Xen says when a debug key is pressed."""
        with self.lock:
            self.log.update()
            self.xc.send_debug_keys(key)
            return self.log.update()

    def logged(self) -> Tuple[int, List[str]]:
        """How many lines its log had so far, heap dumps left out, and the last of them."""
        with self.lock:
            self.log.update()
            return self.log.count, self.log.lines

# SPDX-License-Identifier: MIT
"""Finds the owners of machine frames: runs in dom0, answers one line of JSON with one, and ends.

Line in:   [domids, frames]
Line out:  {frame: domid} of all frames that one of these domains owns; not Xen's own or free ones
Whatever fails goes to stderr, and ends it.

Plain Python 3.6, because dom0 may be older than the machine that runs the tests.
"""

import ctypes
import json
import sys
from typing import Any, Dict, List

from pytest_xenscrub.dom0.sent.bindings import load_bindings

PARTS = ("bindings",)
"""Other modules of this folder that this program imports."""

MOST_FRAMES = 1024
"""Upper bound on the frames that Xen accepts in one call."""
TYPE_MASK = NOT_ITS_OWN = 0xF << 28
"""XEN_DOMCTL_PFINFO_LTAB_MASK, XEN_DOMCTL_PFINFO_XTAB"""


def load_library() -> Any:
    """Xen's control library: the one that its Python bindings are linked with."""
    load_bindings()
    library = ctypes.CDLL(sys.modules["xen.lowlevel.xc"].__file__, use_errno=True)
    library.xc_interface_open.restype = ctypes.c_void_p
    library.xc_get_pfn_type_batch.argtypes = [
        ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint, ctypes.c_void_p
    ]  # fmt: skip
    return library


def owners(library: Any, domids: List[int], frames: List[int]) -> Dict[int, int]:
    """Find which of these domains owns each of these frames."""
    handle = library.xc_interface_open(None, None, 0)
    if not handle:
        raise OSError(ctypes.get_errno(), "xc_interface_open")
    found: Dict[int, int] = {}
    for domid in domids:
        for start in range(0, len(frames), MOST_FRAMES):
            part = frames[start : start + MOST_FRAMES]
            # In: the frame. Out: the type of the page, if this domain owns it.
            kinds = (ctypes.c_ulong * len(part))(*part)
            if library.xc_get_pfn_type_batch(handle, domid, len(part), kinds):
                raise OSError(ctypes.get_errno(), "xc_get_pfn_type_batch")
            for mfn, kind in zip(part, kinds):  # noqa: B905 - `strict` is of Python 3.10
                if kind & TYPE_MASK != NOT_ITS_OWN:
                    found[mfn] = domid
    return found


def main() -> None:
    """Answer one question."""
    domids, frames = json.loads(sys.stdin.readline())
    sys.stdout.write(json.dumps(owners(load_library(), domids, frames)) + "\n")


if __name__ == "__main__":
    main()

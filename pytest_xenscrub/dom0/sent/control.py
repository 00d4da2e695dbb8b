# SPDX-License-Identifier: MIT
"""Asks Xen for something in a domain's name; runs in dom0, answers one line of JSON, and ends.

Arguments: claim DOMID PAGES   claim memory, so that the domain has so many pages in all; 0 for none
           virq DOMID NUMBER   let the domain handle a VIRQ of the whole host
Line out:  true where Xen agrees, false where it does not do that for this domain
Whatever else fails goes to stderr, and ends it.

Plain Python 3.6, because dom0 may be older than the machine that runs the tests.
"""

import ctypes
import errno
import json
import os
import sys
from typing import Any

from pytest_xenscrub.dom0.sent.bindings import load_bindings

PARTS = ("bindings",)
"""What of this folder it is made of, beside itself."""

CALLS = {"claim": "xc_domain_claim_pages", "virq": "xc_domain_set_virq_handler"}
REFUSALS = (errno.EINVAL, errno.ESRCH)
"""What Xen says of a domain for which it does not do that, and of one that it takes for gone."""


def load_library() -> Any:
    """Xen's control library: the one that its Python bindings are linked with."""
    load_bindings()
    library = ctypes.CDLL(sys.modules["xen.lowlevel.xc"].__file__, use_errno=True)
    library.xc_interface_open.restype = ctypes.c_void_p
    library.xc_domain_claim_pages.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_ulong]
    library.xc_domain_set_virq_handler.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int]
    return library


def ask(library: Any, what: str, domid: int, number: int) -> bool:
    """Whether Xen agrees."""
    handle = library.xc_interface_open(None, None, 0)
    if not handle:
        raise OSError(ctypes.get_errno(), "xc_interface_open")
    if getattr(library, CALLS[what])(handle, domid, number) == 0:
        return True
    error = ctypes.get_errno()
    if error not in REFUSALS:
        raise OSError(error, os.strerror(error), CALLS[what])
    return False


def main() -> None:
    """Ask one thing."""
    what, domid, number = sys.argv[1:]
    answer = ask(load_library(), what, int(domid), int(number))
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""Tells what a dom0 has and lacks, without changing anything there.

Arguments:  folders
Line out:   {"type": the hypervisor's, "capabilities", "features": lines of the kernel's about Xen,
             or "", "bindings": why Xen's bindings cannot be used, or "",
             "folders": {folder: free bytes; -1 if it cannot be written, -2 if it is missing}}

Plain Python 3.6, because dom0 may be older than the machine that looks.
"""

import json
import os
import sys
from typing import Any, Dict

from pytest_xenscrub.dom0.sent.bindings import load_bindings

Facts = Dict[str, Any]

TYPE = "/sys/hypervisor/type"
CAPABILITIES = "/proc/xen/capabilities"
FEATURES = "/sys/hypervisor/properties/features"


def first_line(path: str) -> str:
    """The first line of a file; empty without the file."""
    try:
        with open(path) as file:
            return file.readline().strip()
    except OSError:
        return ""


def bindings() -> str:
    """Why Xen cannot be asked through its bindings; empty if it can."""
    try:
        load_bindings().physinfo()
    except Exception as error:
        return "{}: {}".format(type(error).__name__, error)
    return ""


def room(folder: str) -> int:
    """Free bytes on the disk of a folder; -1 if it cannot be written, -2 without the folder."""
    if not os.path.isdir(folder):
        return -2
    if not os.access(folder, os.W_OK):
        return -1
    disk = os.statvfs(folder)
    return disk.f_bavail * disk.f_frsize


def main() -> None:
    facts = {
        "type": first_line(TYPE),
        "capabilities": first_line(CAPABILITIES),
        "features": first_line(FEATURES),
        "bindings": bindings(),
        "folders": {folder: room(folder) for folder in sys.argv[1:]},
    }  # type: Facts
    print(json.dumps(facts))


if __name__ == "__main__":
    main()

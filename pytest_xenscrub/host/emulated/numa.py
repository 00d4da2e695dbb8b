# SPDX-License-Identifier: MIT
"""NUMA nodes of an emulated machine: the first has all CPUs, the others have memory only.

All nodes' memory is in the one file that we lend to QEMU, in the order of the nodes: QEMU cuts it
up by sizes, as it did for every machine up to 5.0, where newer ones want a file for each node.
"""

from __future__ import annotations

from typing import Final

MACHINE: Final = "pc"
NUMA_MACHINE: Final = "pc-i440fx-5.0"
MOST_NODES: Final = 8
_STEP: Final = 128 << 20


def machine_type(nodes: int) -> str:
    """QEMU's machine for so many nodes."""
    return MACHINE if nodes == 1 else NUMA_MACHINE


def numa_options(nodes: int, memory_bytes: int, cpus: int) -> list[str]:
    """QEMU's options for so many nodes; none for a single one.

    Args:
        nodes: how many.
        memory_bytes: of all of them, bytes; the first gets what cannot be shared out evenly.
        cpus: of the first.
    """
    if nodes == 1:
        return []
    share = memory_bytes // nodes // _STEP * _STEP
    options = [
        "-numa", f"node,nodeid=0,cpus=0-{cpus - 1},mem={memory_bytes - share * (nodes - 1) >> 20}M"
    ]  # fmt: skip
    for node in range(1, nodes):
        options += ["-numa", f"node,nodeid={node},mem={share >> 20}M"]
    return options

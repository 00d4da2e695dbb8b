# SPDX-License-Identifier: MIT
"""NUMA nodes of an emulated machine: the first node has all CPUs, the others only memory.

The memory of all nodes is in one file, in the order of the nodes. QEMU divides it by the nodes'
sizes only with machine types up to 5.0; later ones need a file for each node.
"""

from __future__ import annotations

from typing import Final

MACHINE: Final = "pc"
NUMA_MACHINE: Final = "pc-i440fx-5.0"
MOST_NODES: Final = 8
_STEP: Final = 128 << 20


def machine_type(nodes: int) -> str:
    """QEMU's machine type for that number of nodes."""
    return MACHINE if nodes == 1 else NUMA_MACHINE


def numa_options(nodes: int, memory_bytes: int, cpus: int) -> list[str]:
    """QEMU's options for the nodes; none for a single node.

    Args:
        nodes: number of nodes.
        memory_bytes: memory of all nodes together, bytes; the first one gets the remainder.
        cpus: CPUs of the first node.
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

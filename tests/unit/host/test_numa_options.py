# SPDX-License-Identifier: MIT
from __future__ import annotations

from pytest_xenscrub.host.emulated.numa import machine_type, numa_options
from pytest_xenscrub.units import GIB, MIB


def test_one_node_is_no_numa() -> None:
    assert numa_options(1, 3 * GIB, 2) == []
    assert machine_type(1) == "pc"


def test_the_first_node_has_all_cpus_and_what_is_left_over() -> None:
    assert numa_options(3, 4 * GIB, 2) == [
        "-numa", f"node,nodeid=0,cpus=0-1,mem={4096 - 2 * 1280}M",
        "-numa", "node,nodeid=1,mem=1280M",
        "-numa", "node,nodeid=2,mem=1280M",
    ]  # fmt: skip


def test_all_memory_is_in_some_node() -> None:
    for nodes in range(2, 9):
        options = numa_options(nodes, 8 * GIB + MIB, 2)
        sizes = [int(o.rpartition("mem=")[2][:-1]) for o in options if "mem=" in o]
        assert sum(sizes) * MIB == 8 * GIB + MIB
        assert len(sizes) == nodes

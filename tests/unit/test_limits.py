# SPDX-License-Identifier: MIT
"""Memory and CPUs as a container of each kind shows them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.emulated import accel
from pytest_xenscrub.limits import Memory, available_memory, usable_cpus

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30
V2_MOUNT = "30 25 0:26 {top} /sys/fs/cgroup rw - cgroup2 cgroup rw\n"
V1_MOUNTS = (
    "31 30 0:27 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 30 0:28 {top} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
)


def machine(root: Path, cgroup: str, mounts: str, files: dict[str, str]) -> Path:
    """A machine with 16 GiB to spare, of which a process sees these groups."""
    files |= {
        "proc/meminfo": f"MemTotal: 1 kB\nMemAvailable: {16 * GIB // 1024} kB\n",
        "proc/self/cgroup": cgroup,
        "proc/self/mountinfo": mounts,
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_no_groups_is_no_limit(tmp_path: Path) -> None:
    root = machine(tmp_path, "", "", {})
    assert available_memory(root) == Memory(16 * GIB, "this machine")
    assert usable_cpus(root) == len(os.sched_getaffinity(0))


def test_version_2_in_a_container_of_its_own(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory.max": f"{4 * GIB}\n",
        "sys/fs/cgroup/memory.current": f"{2 * GIB}\n",
        "sys/fs/cgroup/memory.stat": f"anon 1\ninactive_file {GIB}\n",
        "sys/fs/cgroup/cpu.max": "50000 100000\n",
    }
    root = machine(tmp_path, "0::/\n", V2_MOUNT.format(top="/"), files)
    memory = available_memory(root)
    assert memory.available == 3 * GIB
    assert "the memory limit of this container" in memory.why
    assert usable_cpus(root) == 1


def test_version_2_limits_of_groups_above_count(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/user/run/memory.max": "max\n",
        "sys/fs/cgroup/user/run/cpu.max": "max 100000\n",
        "sys/fs/cgroup/user/memory.max": f"{3 * GIB}\n",
        "sys/fs/cgroup/user/memory.current": f"{GIB}\n",
        "sys/fs/cgroup/user/cpu.max": "100000 100000\n",
    }
    root = machine(tmp_path, "0::/user/run\n", V2_MOUNT.format(top="/"), files)
    assert available_memory(root).available == 2 * GIB
    assert usable_cpus(root) == 1


def test_version_1_told_by_its_path_on_the_machine(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * GIB}\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB}\n",
        "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 4096\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    cgroup = "4:memory:/docker/c0ffee\n2:cpu,cpuacct:/docker/c0ffee\n0::/\n"
    root = machine(tmp_path, cgroup, V1_MOUNTS.format(top="/docker/c0ffee"), files)
    assert available_memory(root).available == GIB + 4096
    assert usable_cpus(root) == 1


def test_version_1_without_limits(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": f"{GIB}\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n",
        "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
    }
    cgroup = "4:memory:/\n2:cpu,cpuacct:/\n"
    root = machine(tmp_path, cgroup, V1_MOUNTS.format(top="/"), files)
    assert available_memory(root) == Memory(16 * GIB, "this machine")
    assert usable_cpus(root) == len(os.sched_getaffinity(0))


def test_a_group_that_uses_more_than_it_may_has_nothing_left(tmp_path: Path) -> None:
    files = {
        "sys/fs/cgroup/memory.max": "4096\n",
        "sys/fs/cgroup/memory.current": "8192\n",
    }
    root = machine(tmp_path, "0::/\n", V2_MOUNT.format(top="/"), files)
    assert available_memory(root).available == 0


def test_this_very_machine_has_something() -> None:
    assert available_memory().available > 0
    assert usable_cpus() >= 1


def test_an_emulated_host_gets_what_the_container_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accel, "available_memory", lambda: Memory(6 * GIB, "a container"))
    assert accel.default_memory_bytes() == 3 * GIB
    assert accel.check_memory(6 * GIB) == 6 * GIB
    with pytest.raises(InfrastructureError, match=r"7\.0 GiB, but only 6\.0 GiB .* a container"):
        accel.check_memory(7 * GIB)

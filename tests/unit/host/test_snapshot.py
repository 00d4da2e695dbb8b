# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host import holes
from pytest_xenscrub.host.emulated.accel import KVM, TCG
from pytest_xenscrub.host.emulated.image import Image
from pytest_xenscrub.host.emulated.ram import Ram
from pytest_xenscrub.host.emulated.ram_choice import memory_for
from pytest_xenscrub.host.emulated.snapshot import KEEP, SnapshotStore, snapshot_key
from pytest_xenscrub.host.emulated.spec import MachineSpec

if TYPE_CHECKING:
    from pathlib import Path

MIB = 1 << 20
GIB = 1 << 30


def test_anything_that_differs_has_another_key(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "xen").write_text("stock")
    other = tmp_path / "other-xen"
    other.write_text("other")
    image, spec = Image(tmp_path / "a"), MachineSpec()
    keys = [
        snapshot_key(image, spec, TCG, "QEMU 7.2"),
        snapshot_key(Image(tmp_path / "b"), spec, TCG, "QEMU 7.2"),
        snapshot_key(image, replace(spec, memory_bytes=GIB), TCG, "QEMU 7.2"),
        snapshot_key(image, replace(spec, cpus=4), TCG, "QEMU 7.2"),
        snapshot_key(image, replace(spec, nodes=2), TCG, "QEMU 7.2"),
        snapshot_key(image, replace(spec, hypervisor=other), TCG, "QEMU 7.2"),
        snapshot_key(image, replace(spec, xen_cmdline="bootscrub=1"), TCG, "QEMU 7.2"),
        snapshot_key(image, replace(spec, ram_limit=GIB), TCG, "QEMU 7.2"),
        snapshot_key(image, spec, KVM, "QEMU 7.2"),
        snapshot_key(image, spec, TCG, "QEMU 10.0"),
    ]
    assert len(set(keys)) == len(keys)


def test_the_same_xen_at_another_place_has_the_same_key(tmp_path: Path) -> None:
    image = Image(tmp_path)
    (tmp_path / "xen").write_text("stock")
    (tmp_path / "copy").write_text("stock")
    spec = MachineSpec(hypervisor=tmp_path / "copy")
    assert snapshot_key(image, spec, TCG, "") == snapshot_key(image, MachineSpec(), TCG, "")


def test_a_snapshot_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path)

    def fail(folder: Path) -> None:
        (folder / "state").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        store.make("key", fail)
    assert store.find("key") is None
    assert list(tmp_path.iterdir()) == []
    store.make("key", lambda folder: (folder / "state").touch())
    found = store.find("key")
    assert found is not None
    assert (found / "state").exists()


def test_the_newest_are_kept(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path)
    for index in range(KEEP):
        folder = store.make(f"key{index}", lambda folder: (folder / "state").touch())
        age = time.time() - 1000 + index
        os.utime(folder, (age, age))
    store.find("key0")  # used, so the newest now
    store.make("new", lambda folder: (folder / "state").touch())
    assert store.find("key1") is None
    assert len(list(tmp_path.iterdir())) == KEEP
    assert store.find("key0") is not None


def filled(size: int) -> Ram:
    ram = Ram(size)
    os.pwrite(ram.fd, b"first", 0)
    os.pwrite(ram.fd, b"\xc2" * (2 * MIB), 2 * MIB)
    os.pwrite(ram.fd, os.urandom(100_000), 5 * MIB + 4096)
    os.pwrite(ram.fd, b"last", size - 4)
    return ram


def content(ram: Ram) -> bytes:
    return os.pread(ram.fd, ram.size, 0)


def test_ram_comes_back_as_it_was(tmp_path: Path) -> None:
    before, after = filled(8 * MIB), Ram(8 * MIB)
    before.save(tmp_path)
    after.load(tmp_path)
    assert content(after) == content(before)
    assert (tmp_path / "ram.bin").stat().st_size < MIB
    after.populate()
    after.close()
    after.close()
    before.close()


def test_sparse_ram_is_saved_and_loaded_as_sparse_as_it_was(tmp_path: Path) -> None:
    size = 64 * GIB
    before, after = Ram(size, sparse=True), Ram(size, sparse=True)
    at = (5, 3 * MIB - 7, 40 * GIB + 5 * MIB, size - 9)
    for offset in at:
        os.pwrite(before.fd, b"here", offset)
    before.save(tmp_path)
    after.load(tmp_path)
    for offset in at:
        assert os.pread(after.fd, 4, offset) == b"here"
    assert holes.used_bytes(before.fd) < MIB
    assert holes.used_bytes(after.fd) < MIB
    before.close()
    after.close()


@pytest.mark.parametrize("change", [-1, 1])
def test_ram_that_was_truncated_or_grew_is_noticed(tmp_path: Path, change: int) -> None:
    before, after = filled(8 * MIB), Ram(8 * MIB)
    before.save(tmp_path)
    saved = tmp_path / "ram.bin"
    os.truncate(saved, saved.stat().st_size + change)
    with pytest.raises(ValueError, match="saved RAM"):
        after.load(tmp_path)
    before.close()
    after.close()


def test_memory_is_half_of_what_is_available_in_sane_bounds() -> None:
    assert memory_for(100 * GIB) == 8 * GIB
    assert memory_for(10 * GIB + 5) == 5 * GIB
    assert memory_for(5 * GIB + 300 * MIB) == 2 * GIB + 512 * MIB
    with pytest.raises(InfrastructureError, match="too little memory"):
        memory_for(4 * GIB - 1)

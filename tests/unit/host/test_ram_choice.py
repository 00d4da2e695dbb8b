# SPDX-License-Identifier: MIT
"""How much RAM an emulated host has, and what it may take, by what is available."""

from __future__ import annotations

from pathlib import Path

import pytest

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.host.emulated import ram_choice
from pytest_xenscrub.host.emulated.accel import TCG
from pytest_xenscrub.host.emulated.image import Image
from pytest_xenscrub.host.emulated.ram_choice import HostRam, choose_ram
from pytest_xenscrub.host.emulated.spec import MachineSpec, qemu_command, xen_options
from pytest_xenscrub.limits import Memory
from pytest_xenscrub.units import GIB


@pytest.fixture(autouse=True)
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the user is told on a machine with 20 GiB to spare."""
    monkeypatch.setattr(ram_choice, "available_memory", lambda: Memory(20 * GIB, "a container"))
    lines: list[str] = []
    monkeypatch.setattr("builtins.print", lines.append)
    return lines


def choose(wanted: int | None, limit: int | None = None, share_with: int = 1) -> HostRam:
    return choose_ram(wanted, limit, say=print, share_with=share_with)


@pytest.mark.parametrize(
    ("wanted", "limit", "ram"),
    [
        (None, None, HostRam(8 * GIB, None)),
        (4 * GIB, None, HostRam(4 * GIB, None)),
        (10 * GIB, None, HostRam(10 * GIB, None)),
        (11 * GIB, None, HostRam(11 * GIB, 10 * GIB)),
        (64 * GIB, None, HostRam(64 * GIB, 10 * GIB)),
        (64 * GIB, 15 * GIB, HostRam(64 * GIB, 15 * GIB)),
        (12 * GIB, 15 * GIB, HostRam(12 * GIB, None)),
        (4 * GIB, 3 * GIB, HostRam(4 * GIB, 3 * GIB)),
        (None, 4 * GIB, HostRam(4 * GIB, None)),
    ],
)
def test_above_what_it_may_take_it_is_sparse(
    wanted: int | None, limit: int | None, ram: HostRam, said: list[str]
) -> None:
    assert choose(wanted, limit) == ram
    assert len(said) == (0 if ram.limit is None else 1)


def test_it_is_told_in_one_line(said: list[str]) -> None:
    choose(64 * GIB)
    (line,) = said
    assert "64.00 GiB" in line
    assert "10.00 GiB" in line
    assert "stands still" in line


def test_workers_share_the_default() -> None:
    assert choose(None, share_with=4) == HostRam(2 * GIB + GIB // 2, None)


def test_workers_share_what_sparse_ram_may_take() -> None:
    assert choose(64 * GIB, share_with=2) == HostRam(64 * GIB, 5 * GIB)
    assert choose(4 * GIB, share_with=2) == HostRam(4 * GIB, None)
    assert choose(8 * GIB, share_with=2) == HostRam(8 * GIB, 5 * GIB)
    assert choose(64 * GIB, 6 * GIB, share_with=2).limit == 6 * GIB


def test_workers_may_not_take_more_than_there_is_together() -> None:
    with pytest.raises(InfrastructureError, match=r"11\.00 GiB to each of 2 hosts, and 20\.00 GiB"):
        choose(64 * GIB, 11 * GIB, share_with=2)
    with pytest.raises(InfrastructureError, match=r"5\.00 GiB, half of .*, shared by 2 hosts"):
        choose(800 * GIB, share_with=2)


def test_workers_share_what_there_was_before_the_first_host() -> None:
    before = Memory(40 * GIB, "this machine")
    assert choose_ram(64 * GIB, None, say=print, share_with=4, memory=before).limit == 5 * GIB
    assert choose_ram(64 * GIB, 10 * GIB, say=print, share_with=4, memory=before).limit == 10 * GIB


def test_more_than_there_is_may_not_be_taken() -> None:
    with pytest.raises(InfrastructureError, match=r"20\.00 GiB are available by a container"):
        choose(64 * GIB, 21 * GIB)


def test_a_host_that_cannot_boot_is_not_started() -> None:
    with pytest.raises(InfrastructureError, match=r"9\.31 GiB of this machine to boot.* 9\.00 GiB"):
        choose(800 * GIB, 9 * GIB)
    assert choose(800 * GIB, 10 * GIB).limit == 10 * GIB


def test_sparse_ram_is_not_scrubbed_at_boot() -> None:
    dense, sparse = MachineSpec(), MachineSpec(ram_limit=GIB)
    assert "bootscrub" not in xen_options(dense)
    assert xen_options(sparse) == xen_options(dense) + " bootscrub=off"


def test_what_the_user_says_to_xen_comes_last() -> None:
    spec = MachineSpec(ram_limit=GIB, memory_bytes=512 * GIB, xen_cmdline="bootscrub=1 dom0_mem=2G")
    assert xen_options(spec).endswith("dom0_mem=3072M,max:3072M bootscrub=1 dom0_mem=2G")


def test_qemu_is_told_so_too() -> None:
    spec = MachineSpec(ram_limit=GIB)
    command = qemu_command(
        spec, Image(Path("/image")), "qemu", TCG, folder=Path("/run"), ram_fd=3, incoming=False
    )
    assert command[command.index("-append") + 1] == xen_options(spec)

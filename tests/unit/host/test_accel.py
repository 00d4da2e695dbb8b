# SPDX-License-Identifier: MIT
"""Which accelerator is used, and what becomes of one with which no Xen boots."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import InfrastructureError, XenFaultError
from pytest_xenscrub.host.emulated import accel
from pytest_xenscrub.host.emulated.accel import KVM, TCG, Accel, choose_accel, refuse_kvm
from pytest_xenscrub.host.emulated.host import EmulatedHost
from pytest_xenscrub.host.emulated.image import Image
from pytest_xenscrub.host.emulated.spec import MachineSpec

if TYPE_CHECKING:
    from pathlib import Path

HOST = "pytest_xenscrub.host.emulated.host"


@pytest.fixture(autouse=True)
def _kvm_comes_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(accel, "best_accel", lambda _: KVM)
    monkeypatch.setattr(accel, "qemu_version", lambda _: "1")


def choose(wanted: str) -> Accel:
    return choose_accel("qemu", wanted, lambda _: None)


def test_each_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose("auto") is KVM
    assert choose("kvm") is KVM
    assert choose("tcg") is TCG
    monkeypatch.setattr(accel, "best_accel", lambda _: TCG)
    assert choose("auto") is TCG
    with pytest.raises(InfrastructureError, match="--xen-accel=kvm asks for it"):
        choose("kvm")


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The accelerators that a machine was powered on with; none boots with KVM."""
    found: list[str] = []

    def power_on(self: EmulatedHost, _deadline: Deadline) -> None:
        found.append(self._accel.name)
        if self._accel is KVM:
            raise XenFaultError("Xen or its dom0 crashed while it booted")

    monkeypatch.setattr(EmulatedHost, "_power_on_as_is", power_on)
    monkeypatch.setattr(f"{HOST}.qemu_path", lambda: "qemu")
    monkeypatch.setattr(f"{HOST}.qemu_version", lambda _: "1")
    monkeypatch.setattr(f"{HOST}.snapshot_key", lambda *_: "key")
    return found


def start(tmp_path: Path, wanted: str, said: list[str]) -> EmulatedHost:
    host = EmulatedHost(MachineSpec(), Image(tmp_path), said.append, 60, wanted)
    try:
        host._power_on(Deadline.after(10, "boot"))
    finally:
        host.close()
    return host


def test_auto_falls_back_once_and_says_so(tmp_path: Path, tried: list[str]) -> None:
    said: list[str] = []
    assert start(tmp_path, "auto", said).kind == "emulated (TCG)"
    assert tried == ["KVM", "TCG"]
    assert "did not boot with KVM, so TCG is used" in said[0]
    start(tmp_path, "auto", said)
    assert tried == ["KVM", "TCG", "TCG"]
    assert "no Xen booted with KVM on this machine" in said[1]


def test_a_xen_that_boots_with_neither_says_nothing_of_kvm(
    tmp_path: Path, tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def power_on(self: EmulatedHost, _deadline: Deadline) -> None:
        tried.append(self._accel.name)
        raise XenFaultError("Xen or its dom0 crashed while it booted")

    monkeypatch.setattr(EmulatedHost, "_power_on_as_is", power_on)
    with pytest.raises(XenFaultError):
        start(tmp_path, "auto", [])
    assert tried == ["KVM", "TCG"]
    assert choose("auto") is KVM


def test_a_refusal_holds_for_this_start_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_kvm("qemu")
    assert choose("auto") is TCG
    assert choose("kvm") is KVM
    monkeypatch.setattr(accel, "qemu_version", lambda _: "another")
    assert choose("auto") is KVM


def test_a_cache_that_cannot_be_written_refuses_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    refuse_kvm("qemu")
    assert choose("auto") is KVM


def test_kvm_that_was_asked_for_does_not_fall_back(tmp_path: Path, tried: list[str]) -> None:
    with pytest.raises(XenFaultError):
        start(tmp_path, "kvm", [])
    assert tried == ["KVM"]

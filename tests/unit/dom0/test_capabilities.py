# SPDX-License-Identifier: MIT
"""Which types of guest a dom0 can start: xl and libxl are faked, the agent is real."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.dom0 import capabilities
from pytest_xenscrub.dom0.capabilities import Capabilities
from pytest_xenscrub.errors import (
    DeadlineExceededError,
    InfrastructureError,
    UndecidedError,
    XenHungError,
)

from .conftest import silent_dom0

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Connected

ALL = "xen-3.0-x86_64 hvm-3.0-x86_32 hvm-3.0-x86_32p hvm-3.0-x86_64"


class Machine:
    """A dom0 whose `xl info` and device model are chosen."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch

    def has(self, virt_caps: str, xen_caps: str = ALL, *, device_model: bool = True) -> None:
        xl = self._folder / "xl"
        xl.write_text(
            '#!/bin/sh\n[ "$1" = info ] || exit 1\n'
            f'case $2 in virt_caps) echo "{virt_caps}";; xen_caps) echo "{xen_caps}";; esac\n'
        )
        xl.chmod(0o755)
        self._monkeypatch.setenv("PATH", f"{self._folder}:{os.environ['PATH']}")
        found = "echo /usr/libexec/xen-qemu-system-i386" if device_model else "true"
        self._monkeypatch.setattr(capabilities, "_DEVICE_MODEL", found)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.mark.parametrize(("caps", "runs"), [("pv hvm hap", True), ("pv hvm", False)])
def test_pvh_guests_need_nested_paging(
    connect: Connected, machine: Machine, caps: str, *, runs: bool
) -> None:
    machine.has(caps, device_model=False)
    dom0 = connect()
    assert (dom0.runs("pv"), dom0.runs("pvh")) == (True, runs)
    dom0.capabilities.check_runs("pv")
    if not runs:
        with pytest.raises(InfrastructureError, match="no nested paging"):
            dom0.capabilities.check_runs("pvh")


@pytest.mark.parametrize(
    ("virt_caps", "xen_caps", "device_model", "says"),
    [
        ("pv hvm", ALL, True, "Xen has no nested paging"),
        ("pv hvm hap", "xen-3.0-x86_64", True, "this Xen has none"),
        ("pv hvm hap", ALL, False, "dom0 has no device model"),
    ],
)
def test_hvm_guests_need_nested_paging_hvm_and_a_device_model(
    connect: Connected, machine: Machine, virt_caps: str, xen_caps: str, says: str,
    *, device_model: bool,
) -> None:  # fmt: skip
    machine.has(virt_caps, xen_caps, device_model=device_model)
    dom0 = connect()
    assert not dom0.runs("hvm")
    with pytest.raises(InfrastructureError, match=says) as first:
        dom0.capabilities.check_runs("hvm")
    with pytest.raises(InfrastructureError) as again:
        dom0.capabilities.check_runs("hvm")
    # Each test that wants such a guest ends with it, and it is told in full once.
    assert again.value is first.value
    assert "--xen-guest-type=pv" in str(first.value)


def test_where_all_is_there_hvm_guests_run(connect: Connected, machine: Machine) -> None:
    machine.has("pv hvm hap")
    dom0 = connect()
    assert dom0.runs("hvm")
    dom0.capabilities.check_runs("hvm")


def test_the_device_model_is_the_one_that_libxl_names(tmp_path: Path) -> None:
    there, gone = tmp_path / "qemu-system-i386", tmp_path / "bin" / "qemu-system-i386"
    there.write_text("#!/bin/sh\n")
    there.chmod(0o755)
    libxl = tmp_path / "libxenlight.so.4.17"
    libxl.write_bytes(b"\0".join([b"\x7fELF", str(there).encode(), str(gone).encode(), b"\xff"]))
    script = capabilities._DEVICE_MODEL.replace("/usr/lib*/libxenlight.so.*", str(libxl), 1)
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(there)]


@pytest.mark.parametrize(("starved", "kind"), [(0.0, XenHungError), (600.0, UndecidedError)])
def test_xl_info_that_hangs_is_xens_unless_the_host_was_starved(
    starved: float, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="xl info"):
        Capabilities(silent_dom0(starved)).runs("pvh")


def test_a_look_for_a_device_model_that_hangs_is_not_xens() -> None:
    with pytest.raises(DeadlineExceededError, match="looking for a device model"):
        Capabilities(silent_dom0(0.0))._device_models()

# SPDX-License-Identifier: MIT
"""The emulated lab machine: what it makes of files with holes, and of a QEMU that fails."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any, NoReturn
from unittest.mock import MagicMock

import pytest

from pytest_xenscrub.errors import InfrastructureError, XenFaultError
from pytest_xenscrub.host.emulated.accel import TCG
from pytest_xenscrub.testing import bmc, lab, lab_disk

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline


@pytest.mark.parametrize("error", [XenFaultError("it panicked"), KeyboardInterrupt()])
def test_a_machine_that_does_not_come_up_is_switched_off(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine: Any = MagicMock()
    machine.wait_banner.side_effect = error
    monkeypatch.setattr(lab, "_DiskMachine", lambda *_, **__: machine)
    with pytest.raises(type(error)) as caught:
        lab._switch_on(machine, machine, "qemu", TCG, machine)
    assert caught.value is error
    machine.close.assert_called_once()


def test_a_power_command_whose_qemu_does_not_answer_fails_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    deadlines: list[Deadline] = []

    def refuse(_: Path, deadline: Deadline) -> NoReturn:
        deadlines.append(deadline)
        raise InfrastructureError("QEMU's monitor does not answer")

    monkeypatch.setattr(bmc, "Qmp", refuse)
    assert bmc.main([str(tmp_path / "bmc"), "cycle"]) == 1
    assert capsys.readouterr() == ("", "QEMU's monitor does not answer\n")
    assert not deadlines[0].blames_xen


def test_a_file_that_ends_in_a_hole_is_copied_whole(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    with source.open("wb") as file:
        file.write(b"data")
        os.truncate(file.fileno(), 1 << 20)
    lab_disk.place(source, target, 512)
    assert target.read_bytes() == bytes(512) + b"data" + bytes((1 << 20) - 4)


def test_a_disk_that_fails_is_no_hole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"data")

    def fail(*_: object) -> NoReturn:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "lseek", fail)
    with pytest.raises(OSError, match="Input/output error"):
        lab_disk.place(source, tmp_path / "target", 0)

# SPDX-License-Identifier: MIT
from __future__ import annotations

import sys
import tarfile
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.boot.tools_dom0 import _CANNOT_RUN
from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.dom0.program import run_program

from .conftest import LocalHost, as_host

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.host.protocol import CommandResult


def unpack(tmp_path: Path, name: str, content: bytes) -> tuple[CommandResult, Path]:
    """Run what runs in dom0 on a tarball with one file in it."""
    prefix = tmp_path / "opt" / "tools"
    prefix.parent.mkdir()
    (tmp_path / "file").write_bytes(content)
    tarball = tmp_path / "tools.tar.gz"
    with tarfile.open(tarball, "w:gz") as tar:
        tar.add(tmp_path / "file", arcname=f"{prefix}/{name}"[1:])
    host = LocalHost(sys.executable, {"PYTHONWARNINGS": "ignore"})
    done = run_program(
        as_host(host), "unpack_tools", str(prefix), str(tarball), deadline=Deadline.after(30, "it")
    )
    assert not tarball.exists()
    return done, prefix


def test_unpacked_tools_are_complete(tmp_path: Path) -> None:
    done, prefix = unpack(tmp_path, "lib/python/xen/lowlevel/xc.py", b"")
    assert (done.returncode, done.stderr) == (0, "")
    assert [path.name for path in prefix.parent.iterdir()] == ["tools"]
    assert (prefix / "lib/python/xen/lowlevel/xc.py").is_file()


@pytest.mark.parametrize("name", ["lib/libxen.so.1", "lib/python/xen/lowlevel/none.py"])
def test_tools_that_cannot_run_are_not_left_there(tmp_path: Path, name: str) -> None:
    done, prefix = unpack(tmp_path, name, b"no library")
    assert done.returncode == 1
    assert _CANNOT_RUN.search(done.stderr)
    assert not any(prefix.parent.iterdir())

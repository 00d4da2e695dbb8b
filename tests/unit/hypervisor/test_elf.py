# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.hypervisor.elf import build_id

from .conftest import elf_with_build_id

if TYPE_CHECKING:
    from pathlib import Path


def test_the_build_id_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "syms").write_bytes(elf_with_build_id(bytes(range(20))))
    assert build_id(tmp_path / "syms") == bytes(range(20)).hex()


@pytest.mark.parametrize(
    ("content", "why"),
    [(b"#!/bin/sh", "is not an ELF file"), (elf_with_build_id(b"x")[:70], "is not an ELF file")],
    ids=["script", "truncated"],
)
def test_what_is_no_such_file(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "syms").write_bytes(content)
    with pytest.raises(InfrastructureError, match=why):
        build_id(tmp_path / "syms")


def test_a_file_without_a_build_id(tmp_path: Path) -> None:
    other = elf_with_build_id(b"12345678").replace(b"GNU\0", b"Xen\0")
    (tmp_path / "syms").write_bytes(other)
    with pytest.raises(InfrastructureError, match="has no build id"):
        build_id(tmp_path / "syms")

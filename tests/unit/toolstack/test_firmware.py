# SPDX-License-Identifier: MIT
"""The guest's kernel as an HVM guest's firmware: what xl loads, and what it is told of it."""

from __future__ import annotations

import io
import shutil
from typing import TYPE_CHECKING
from uuid import UUID

import pytest
from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.guest import compile as compiling
from pytest_xenscrub.toolstack import firmware
from pytest_xenscrub.toolstack.protocol import DomainConfig
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

VIRT_BASE = 0xFFFFFFFF80000000
LAST_OF_ALL = 0x9F000
"""Where the domain builder writes a page of its own, below 1 MiB."""
needs_compiler = pytest.mark.skipif(
    shutil.which("gcc") is None or not compiling.has_headers(),
    reason="needs gcc and libxen-dev",
)


@pytest.fixture(scope="module")
def kernel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("kernel") / "kernel"
    compiling.compile_kernel(compiling.find_gcc(), path)
    return path


@needs_compiler
def test_firmware_is_the_same_image_in_32_bits(kernel: Path) -> None:
    before = ELFFile(io.BytesIO(kernel.read_bytes()))
    after = ELFFile(io.BytesIO(firmware.firmware(kernel.read_bytes())))
    (load,) = after.iter_segments()
    wanted = before.get_segment(0)
    assert (before.elfclass, after.elfclass, after["e_machine"]) == (64, 32, "EM_386")
    assert load["p_type"] == "PT_LOAD"
    assert load["p_paddr"] == load["p_vaddr"] == wanted["p_paddr"] == 0
    assert load["p_memsz"] == wanted["p_memsz"] < LAST_OF_ALL
    assert load.data() == wanted.data()


@needs_compiler
def test_firmware_starts_where_a_pvh_guest_does(kernel: Path) -> None:
    before = ELFFile(io.BytesIO(kernel.read_bytes()))
    after = ELFFile(io.BytesIO(firmware.firmware(kernel.read_bytes())))
    symbols = before.get_section_by_name(".symtab")
    assert isinstance(symbols, SymbolTableSection)
    (start,) = symbols.get_symbol_by_name("pvh_start") or []
    assert after["e_entry"] == start["st_value"] - VIRT_BASE


@needs_compiler
def test_firmware_has_no_note_of_xens(kernel: Path) -> None:
    """With one, libxc takes it for a kernel, and loads no module."""
    after = ELFFile(io.BytesIO(firmware.firmware(kernel.read_bytes())))
    assert (after.num_sections(), after.num_segments()) == (0, 1)


def test_what_is_no_kernel_is_no_firmware() -> None:
    with pytest.raises(InfrastructureError, match="cannot be firmware"):
        firmware.firmware(b"no ELF file")


def test_a_kernel_without_a_note_of_its_start_is_no_firmware() -> None:
    elf = bytearray(64)
    elf[:7] = b"\x7fELF\x02\x01\x01"
    with pytest.raises(InfrastructureError, match="where it starts without paging"):
        firmware.firmware(bytes(elf))


@pytest.mark.parametrize("line", ["", "run=0x1 do=fill"])
def test_the_module_is_a_command_line_and_never_empty(line: str) -> None:
    """An empty file is no BIOS to xl, and nothing else tells where the line ends."""
    config = DomainConfig("guest", UUID(int=1), line, 512 * MIB, 2, type="hvm")
    assert firmware.module(config) == line + "\0"

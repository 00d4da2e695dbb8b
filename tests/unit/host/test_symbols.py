# SPDX-License-Identifier: MIT
from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.host.symbols import Symbols

if TYPE_CHECKING:
    from pathlib import Path

# What dom0's kernel lists, shortened.
LISTING = """\
ffff82d040200000 T _start
ffff82d040200000 T _stext
ffff82d040204c80 T clear_page_sse2
ffff82d040204d00 t copy_page_sse2
ffff82d040204e00 D data_is_no_code
ffff82d040422ad0 T _einittext
"""


def test_an_address_is_of_the_function_that_begins_before_it() -> None:
    symbols = Symbols.from_listing(LISTING, "a listing")
    assert symbols.origin == "a listing"
    assert symbols.name(0xFFFF82D040204C80) == "clear_page_sse2"
    assert symbols.name(0xFFFF82D040204CFF) == "clear_page_sse2"
    assert symbols.name(0xFFFF82D040204E00) == "copy_page_sse2"
    assert symbols.name(0xFFFF82D040200000) == "_start"


@pytest.mark.parametrize("address", [0, 0xFFFF82D0401FFFFF, 0xFFFF82D040422AD0, 1 << 64])
def test_outside_of_the_code_nothing_has_a_name(address: int) -> None:
    assert Symbols.from_listing(LISTING, "a listing").name(address) == ""


@pytest.mark.parametrize("text", ["", "cat: /proc/xen/xensyms: No such file or directory\n"])
def test_no_listing_is_no_symbols(text: str) -> None:
    symbols = Symbols.from_listing(text, "a listing")
    assert not symbols
    assert symbols.origin == ""
    assert symbols.name(0xFFFF82D040204C80) == ""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_functions_of_an_elf_file_and_of_a_stripped_one(tmp_path: Path) -> None:
    source, elf = tmp_path / "a.s", tmp_path / "xen-syms"
    source.write_text(
        ".text\n.globl first\nlabel:\n.type first, @function\nfirst: nop\nnop\n"
        ".globl last\nlast: nop\n.data\nvalue: .quad 1\n"
    )
    link = ["gcc", "-nostdlib", "-static", "-Wl,-Ttext=0xffff82d040200000", "-Wl,-e,first"]
    subprocess.run([*link, "-o", elf, source], check=True)
    symbols = Symbols.from_elf(elf)
    assert symbols.origin == "xen-syms"
    assert symbols.name(0xFFFF82D040200001) == "first"
    assert symbols.name(0xFFFF82D040200002) in ("", "last")
    subprocess.run(["strip", elf], check=True)
    assert not Symbols.from_elf(elf)

# SPDX-License-Identifier: MIT
"""The page mapper against Xen's library faked: lines in, lines out."""

from __future__ import annotations

import ast
import ctypes
import errno
import hashlib
import mmap
from pathlib import Path
from typing import Any

import pytest

from pytest_xenscrub.dom0.sent import page_mapper as holder_module
from pytest_xenscrub.dom0.sent.page_mapper import PageMapper

PAGE = 4096


class FakeLibrary:
    """Maps a buffer of its own.

    Attributes:
        refused: the error of each page that cannot be mapped, by its frame.
    """

    def __init__(self) -> None:
        self.pages = ctypes.create_string_buffer(b"\xa5" * PAGE * 2, PAGE * 2)
        self.refused: dict[int, int] = {}
        self.calls: list[tuple[Any, ...]] = []

    def xenforeignmemory_open(self, logger: None, flags: int) -> int:
        return 1

    def xenforeignmemory_map(self, handle: int, domid: int, *rest: Any) -> int:
        _protection, count, frames, errors = rest
        for at in range(count):
            errors[at] = self.refused.get(frames[at], 0)
        self.calls.append(("map", domid, list(frames)))
        return ctypes.addressof(self.pages)

    def xenforeignmemory_unmap(self, handle: int, address: int, count: int) -> None:
        self.calls.append(("unmap", count))


@pytest.fixture
def library() -> FakeLibrary:
    return FakeLibrary()


def test_pages_are_mapped_read_and_released(library: FakeLibrary) -> None:
    mapper = PageMapper(library)
    assert mapper.answer("map 7 100 4294967296\n") == "ok"
    assert mapper.answer("hash\n") == f"ok {hashlib.sha256(library.pages.raw).hexdigest()}"
    assert mapper.answer("release\n") == "ok"
    assert mapper.answer("release\n") == "ok"
    assert library.calls == [("map", 7, [100, 1 << 32]), ("unmap", 2)]


def test_a_page_that_cannot_be_mapped(library: FakeLibrary) -> None:
    """The others are let go of: a mapping that is not whole would hold them unseen."""
    library.refused = {101: -errno.EINVAL}
    mapper = PageMapper(library)
    said = mapper.answer("map 7 100 101")
    assert said.startswith("error")
    assert "1 pages cannot be mapped" in said
    assert library.calls[-1] == ("unmap", 2)
    assert mapper.answer("hash").startswith("error LookupError")


def test_a_copy_outlives_the_mapping(library: FakeLibrary) -> None:
    mapper = PageMapper(library)
    assert mapper.answer("copy").startswith("error LookupError")
    assert [mapper.answer(line) for line in ("map 7 100", "copy", "release")] == ["ok"] * 3
    assert mapper.copies == [library.pages.raw[: mmap.PAGESIZE]]


def test_an_unknown_word(library: FakeLibrary) -> None:
    assert PageMapper(library).answer("sing").startswith("error KeyError")


def test_dom0s_python_may_be_old() -> None:
    source = Path(holder_module.__file__).read_text()
    ast.parse(source, feature_version=(3, 7))


def test_a_library_that_is_missing_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing() -> None:
        raise OSError("libxenforeignmemory.so.1: cannot open shared object file")

    monkeypatch.setattr(holder_module, "load_library", missing)
    holder_module.main()
    assert capsys.readouterr().out == (
        "error libxenforeignmemory.so.1: cannot open shared object file\n"
    )

# SPDX-License-Identifier: MIT
"""Tiny trees that look like Xen's to this project, and a compiler's worth of fake tools."""

from __future__ import annotations

import struct
import textwrap
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.hypervisor.cache import Cache

if TYPE_CHECKING:
    from pathlib import Path

PAGE_ALLOC = """\
/* nothing but what the tests patch */
void free_domheap_pages(struct page_info *pg, unsigned int order)
{
    struct domain *d = page_get_owner(pg);
    unsigned int i;

    free_heap_pages(pg, order, scrub);
}
"""

MAKEFILE = """\
export XEN_VERSION       = 4
export XEN_SUBVERSION    = 17
export XEN_EXTRAVERSION ?= .5$(XEN_VENDORVERSION)
defconfig:
\t@echo "CONFIG_X86=y" > .config
\t@echo "# CONFIG_DEBUG is not set" >> .config
\t@cat defaults >> .config
olddefconfig:
\t@sed -i /CONFIG_UNKNOWN/d .config
clean:
\t@rm -f xen xen.gz xen-syms
build:
\t@echo "gcc -c page_alloc.c"
\t@echo run >> ../builds
\t@! grep -n SYNTAX common/page_alloc.c || \
\t  { echo "common/page_alloc.c:9:1: error: expected ';'"; exit 1; }
\t@if grep -q SLEEP common/page_alloc.c; then sleep 60; fi
\t@cp common/syms xen-syms; cp common/syms xen; cp common/syms xen.gz
"""


def elf_with_build_id(build_id: bytes) -> bytes:
    """The smallest 64-bit ELF file with a note section."""
    note = struct.pack("<III", 4, len(build_id), 3) + b"GNU\0" + build_id
    header = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header += struct.pack("<HHIQQQIHHHHHH", 2, 62, 1, 0, 0, 64, 0, 64, 0, 0, 64, 1, 0)
    section = struct.pack("<IIQQQQIIQQ", 0, 7, 0, 0, 128, len(note), 0, 0, 4, 0)
    return header + section + note


def write_tree(top: Path) -> Path:
    """A folder that passes for a Xen source tree."""
    files = {
        "xen/Makefile": MAKEFILE,
        "xen/common/page_alloc.c": PAGE_ALLOC,
        "xen/include/public/domctl.h": "#define XEN_DOMCTL_INTERFACE_VERSION 0x00000015\n",
        "xen/include/public/sysctl.h": "#define XEN_SYSCTL_INTERFACE_VERSION 0x00000014\n",
        "xen/defaults": "CONFIG_DEFAULT=1\n",
        "Config.mk": "",
    }
    for name, text in files.items():
        path = top / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (top / "xen/common/syms").write_bytes(elf_with_build_id(bytes.fromhex("c0ffee00")))
    return top


def diff_of(old: str, new: str, name: str = "page_alloc.c") -> str:
    """A patch that turns one line of page_alloc.c into another."""
    return textwrap.dedent(f"""\
        --- a/xen/common/{name}
        +++ b/xen/common/{name}
        @@ -1,2 +1,2 @@
        -{old}
        +{new}
         void free_domheap_pages(struct page_info *pg, unsigned int order)
        """)


COMMENT = "/* nothing but what the tests patch */"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write_tree(tmp_path / "xen-tree")


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


@pytest.fixture
def deadline() -> Deadline:
    return Deadline.after(60, "test")


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs the build checks for, faked where the fake tree has no use for them."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("gcc", "flex", "bison"):
        script = folder / name
        script.write_text("#!/bin/sh\necho fake compiler\n")
        script.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    return folder

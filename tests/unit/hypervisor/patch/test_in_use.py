# SPDX-License-Identifier: MIT
"""What of a variant is in use is known, told and kept; a variant of which nothing is, is none."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor import tools
from pytest_xenscrub.hypervisor.choice import Xens
from pytest_xenscrub.hypervisor.interface import Interfaces
from pytest_xenscrub.hypervisor.patch import in_use
from pytest_xenscrub.hypervisor.tools_artefact import ToolsArtefact

from ..conftest import COMMENT, diff_of

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.hypervisor.variant import Variant

SPOKEN = Interfaces(domctl=0x15, sysctl=0x14)
XL = "tools/libs/light/libxl.c"
ARM = "xen/arch/arm/setup.c"

needs_make = pytest.mark.skipif(
    any(shutil.which(name) is None for name in ("make", "patch")),
    reason="make and patch are needed (apt-get install make patch)",
)


@pytest.fixture
def source(tree: Path, tools: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree with tools and another architecture, whose build writes lists of what it read."""
    assert tools.is_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in (XL, ARM, "xen/include/public/memory.h"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text("int a;\n")
    makefile = tree / "xen/Makefile"
    text = makefile.read_text()
    text += "\t@echo 'x: common/page_alloc.c include/xen/mm.h' > common/.page_alloc.o.d\n"
    makefile.write_text(text)
    return tree


def one_line(path: str) -> str:
    return f"--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-int a;\n+int b;\n"


HUNK = diff_of(COMMENT, "/* patched */")


class Run:
    """The Xens of a run, with what was said."""

    def __init__(self, source: Path, *texts: str, build_tools: bool = False) -> None:
        patch = source.parent / "mine.patch"
        patch.write_text("".join(texts))
        self.said: list[str] = []
        self.xens = Xens(
            [str(patch)], source=str(source), config=(), cmdline="", build_tools=build_tools,
            say=self.said.append, update=lambda _: None,
        )  # fmt: skip

    @property
    def line(self) -> str:
        """The one line on what is not in use."""
        (line,) = (line for line in self.said if "in use" in line)
        return line


@needs_make
def test_patch_of_the_hypervisor_is_all_in_use(source: Path) -> None:
    run = Run(source, HUNK)
    xen = run.xens.get("mine")
    assert xen.not_in_use == ()
    assert len(run.said) == 1
    assert run.xens.tools_for(xen, SPOKEN, "") is None


@needs_make
def test_tools_that_are_not_built_are_told(source: Path) -> None:
    run = Run(source, HUNK, one_line(XL))
    xen = run.xens.get("mine")
    assert xen.not_in_use == (XL,)
    assert run.line == (
        f"mine: not all of it is in use: dom0's own tools drive it: 1 file ({XL});"
        " --xen-tools=build builds and uses the tools too"
    )
    assert run.xens.tools_for(xen, SPOKEN, "") is None


@needs_make
def test_headers_that_dom0s_tools_share_are_told(source: Path) -> None:
    run = Run(source, one_line("xen/include/public/memory.h"))
    assert run.xens.get("mine").not_in_use == ()
    assert "dom0's own tools were built without: 1 file" in run.line


@needs_make
@pytest.mark.parametrize("path", [XL, "xen/include/public/memory.h"])
def test_tools_are_built_where_the_patch_touches_them(
    source: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    built = []

    def build(_builder: object, variant: Variant, **_: object) -> ToolsArtefact:
        built.append(variant.name)
        return ToolsArtefact(source, "/opt/x", "3.11", source, "4.17.5", 0x15, 0x14)

    monkeypatch.setattr(tools.ToolsBuilder, "build", build)
    run = Run(source, one_line(path), build_tools=True)
    xen = run.xens.get("mine")
    assert xen.not_in_use == ()
    assert run.xens.tools_for(xen, SPOKEN, "") is not None
    assert built == ["mine"]


@needs_make
def test_libvirt_uses_dom0s_own_libraries(source: Path) -> None:
    xen = Run(source, HUNK, one_line(XL), build_tools=True).xens.get("mine")
    assert xen.unused_with("xl") == ()
    assert xen.unused_with("libvirt") == (XL,)
    xen = Run(source, one_line(XL), build_tools=True).xens.get("mine")
    with pytest.raises(ConfigurationError, match="nothing of it is in use with libvirt"):
        xen.unused_with("libvirt")


@needs_make
@pytest.mark.parametrize(
    ("texts", "todo"), [((one_line(XL),), "--xen-tools=build"), ((one_line(ARM),), "stock")]
)
def test_variant_that_changes_only_unused_files_is_refused(
    source: Path, texts: tuple[str, ...], todo: str
) -> None:
    with pytest.raises(ConfigurationError, match="nothing of it would be in use") as raised:
        Run(source, *texts).xens.get("mine")
    assert todo in raised.value.todo


@needs_make
def test_what_is_not_compiled_is_told_each_time(source: Path) -> None:
    for _ in range(2):  # built, and from the cache
        run = Run(source, HUNK, one_line(ARM))
        assert run.xens.get("mine").not_in_use == (ARM,)
        assert f"not compiled here: 1 file ({ARM})" in run.line


def test_tools_that_are_built_are_in_use_and_others_are_not() -> None:
    paths = [XL, "tools/ocaml/xenstored/store.ml", "tools/Rules.mk", "xen/common/page_alloc.c"]
    assert in_use.not_in_use(paths, build_tools=True) == ["tools/ocaml/xenstored/store.ml"]
    assert in_use.not_in_use(paths, build_tools=False) == paths[:3]


@pytest.mark.parametrize(
    ("path", "listed", "compiled"),
    [
        ("xen/common/a.c", ".x.o.cmd: common/a.c \\\n", True),
        ("xen/common/a.c", ".x.o.d2: common/ba.c\n", False),
        ("xen/common/a.c", ".x.o.d: a.c\n", True),
        ("xen/arch/x86/include/asm/mm.h", ".x.o.d: b.c include/asm/mm.h\n", True),
        ("xen/include/xen/mm.h", ".x.o.d: b.c include/xen/smm.h\n", False),
        ("xen/Kconfig", ".x.o.d: b.c\n", True),
        ("xen/common/a.c", "", True),
    ],
)
def test_compilers_lists_tell_what_was_compiled(
    tmp_path: Path, path: str, listed: str, *, compiled: bool
) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    (tmp_path / path).touch()
    (tmp_path / "xen/common").mkdir(exist_ok=True)
    name, _, text = listed.partition(": ")
    if name:
        (tmp_path / "xen/common" / name).write_text(f"x.o: {text}")
    assert in_use.not_compiled([path], tmp_path) == ([] if compiled else [path])

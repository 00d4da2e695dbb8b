# SPDX-License-Identifier: MIT
from __future__ import annotations

import shutil
import tarfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError, MissingToolError
from pytest_xenscrub.hypervisor import tools as module
from pytest_xenscrub.hypervisor import tools_needs
from pytest_xenscrub.hypervisor.source import resolve_source
from pytest_xenscrub.hypervisor.tools import ToolsBuilder, touches_tools
from pytest_xenscrub.hypervisor.variant import Variant, load_variant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pytest_xenscrub.hypervisor.cache import Cache

needs_make = pytest.mark.skipif(
    any(shutil.which(name, path="/usr/bin:/bin") is None for name in ("make", "gcc", "patch")),
    reason="make, gcc and patch are needed (apt-get install make gcc patch)",
)

# configure hands its prefix on, as the real one does through config/Paths.mk.
CONFIGURE = """\
#!/bin/sh
echo "$PYTHON $PKG_CONFIG $*" > configured
for option; do case $option in --prefix=*) echo "P = ${option#--prefix=}" > paths.mk;; esac; done
"""
INCLUDE = "all:\n\techo headers > made\n"
PYTHON = """\
include ../../paths.mk
D = $(DESTDIR)$(P)/local/lib/xen
all:
install:
\tmkdir -p $(D)/lowlevel; touch $(D)/__init__.py
\techo "$(APPEND_LDFLAGS)" > $(D)/lowlevel/xc.cpython-311.so
"""
LIBS = """\
include ../../paths.mk
D = $(DESTDIR)$(P)
APPEND_LDFLAGS += -lz
all:
\t@grep -q headers ../include/made
\t@! grep -n BROKEN *.c || { echo "light.c:3:1: error: broken"; exit 1; }
\t@echo run >> ../../builds
install:
\tmkdir -p $(D)/lib/xen/bin $(D)/sbin $(D)/bin $(D)/include
\techo "$(APPEND_LDFLAGS)" > $(D)/lib/libxenctrl.so.4.17
\ttouch $(D)/lib/libxenctrl.a $(D)/include/xenctrl.h
\tcd $(D)/lib/xen/bin; touch xenconsole libxl-save-helper xen-init-dom0 init-xenstore-domain
\tcd $(D)/sbin; touch xl xenstored xenconsoled
\ttouch $(D)/bin/xenstore-ls
"""


@pytest.fixture
def tools_tree(tree: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that passes for a tree with tools, on a machine that has all packages."""
    for name, text in {
        "configure": CONFIGURE,
        "tools/include/Makefile": INCLUDE,
        "tools/libs/Makefile": LIBS,
        "tools/libs/light.c": "int nothing;\n",
        "tools/python/Makefile": PYTHON,
        "tools/ocaml/Makefile": "all:\n\tfalse\n",
    }.items():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(text)
    (tree / "configure").chmod(0o755)
    monkeypatch.setattr(module, "need_packages", lambda _deadline: "3.11")
    return tree


def builder(tree: Path, cache: Cache) -> ToolsBuilder:
    source = resolve_source(str(tree), cache=cache, deadline=Deadline.after(30, "source"))
    return ToolsBuilder(source, cache=cache)


def patch_of(tmp_path: Path, path: str, old: str, new: str) -> Variant:
    file = tmp_path / "mine.patch"
    file.write_text(f"--- a/{path}\n+++ b/{path}\n@@ -1 +1 @@\n-{old}\n+{new}\n")
    return load_variant(str(file))


DOMCTL = "#define XEN_DOMCTL_INTERFACE_VERSION 0x00000015"


@needs_make
def test_tools_are_built_once(tools_tree: Path, cache: Cache, deadline: Deadline) -> None:
    tools = builder(tools_tree, cache).build(deadline=deadline)
    assert (tools.version, tools.domctl, tools.sysctl) == ("4.17.5", 0x15, 0x14)
    assert tools.python == "3.11"
    assert tools.prefix.startswith("/opt/xenscrub-tools-")
    assert "$ make" in tools.log.read_text()
    stamp = tools.tarball.stat().st_mtime_ns
    assert builder(tools_tree, cache).build(deadline=deadline) == tools
    assert tools.tarball.stat().st_mtime_ns == stamp
    assert not any(cache.path("scratch").iterdir())


@needs_make
def test_tarball_has_what_runs_and_no_more(
    tools_tree: Path, cache: Cache, deadline: Deadline
) -> None:
    tools = builder(tools_tree, cache).build(deadline=deadline)
    with tarfile.open(tools.tarball) as tar:
        members = {"/" + member.name: member for member in tar.getmembers()}

        def linked(name: str) -> str:
            file = tar.extractfile(f"{tools.prefix[1:]}/lib/{name}")
            assert file is not None
            return file.read().decode().strip()

        assert linked("libxenctrl.so.4.17") == "-lz"
        bindings = linked("python/xen/lowlevel/xc.cpython-311.so")
        assert bindings == f"-Wl,-rpath,{tools.prefix}/lib"
    assert {name.removeprefix(tools.prefix) for name in members} == {
        "/sbin/xl", "/sbin/xenstored", "/sbin/xenconsoled", "/bin/xenstore-ls",
        "/lib/libxenctrl.so.4.17", "/lib/xen/bin/xenconsole", "/lib/xen/bin/libxl-save-helper",
        "/lib/xen/bin/xen-init-dom0", "/lib/python/xen/__init__.py",
        "/lib/python/xen/lowlevel/xc.cpython-311.so",
    }  # fmt: skip
    assert {(member.uid, member.uname) for member in members.values()} == {(0, "root")}


@needs_make
def test_parallel_runs_build_once(tools_tree: Path, cache: Cache, deadline: Deadline) -> None:
    # The count of builds has to outlive the scratch folder that they happen in.
    count = tools_tree.parent / "builds"
    makefile = tools_tree / "tools/libs/Makefile"
    makefile.write_text(makefile.read_text().replace("../../builds", str(count)))
    builders = [builder(tools_tree, cache) for _ in range(3)]
    threads = [threading.Thread(target=b.build, kwargs={"deadline": deadline}) for b in builders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count.read_text() == "run\n"


@needs_make
def test_tools_that_do_not_compile(tools_tree: Path, cache: Cache, deadline: Deadline) -> None:
    (tools_tree / "tools/libs/light.c").write_text("BROKEN\n")
    with pytest.raises(InfrastructureError, match="the tools do not compile") as raised:
        builder(tools_tree, cache).build(deadline=deadline)
    assert "light.c:3:1: error: broken" in raised.value.evidence["output"]
    assert "error: broken" in Path(raised.value.evidence["log"]).read_text()
    assert not list(cache.root.glob("tools-*/tools.json"))
    assert not any(cache.path("scratch").iterdir())


def test_tools_that_want_python_2(tools_tree: Path, cache: Cache, deadline: Deadline) -> None:
    makefile = tools_tree / "xen/Makefile"
    makefile.write_text(makefile.read_text().replace("= 17", "= 12"))
    with pytest.raises(ConfigurationError, match=r"4\.12\.5 are built with Python 2"):
        builder(tools_tree, cache).build(deadline=deadline)


@needs_make
def test_variant_that_changes_the_interface_has_tools_of_its_own(
    tools_tree: Path, tmp_path: Path, cache: Cache, deadline: Deadline
) -> None:
    variant = patch_of(tmp_path, "xen/include/public/domctl.h", DOMCTL, DOMCTL[:-2] + "99")
    build = builder(tools_tree, cache)
    plain, patched = build.build(deadline=deadline), build.build(variant, deadline=deadline)
    assert (plain.domctl, patched.domctl) == (0x15, 0x99)
    assert plain.prefix != patched.prefix


@needs_make
def test_variant_of_the_hypervisor_alone_shares_the_trees_tools(
    tools_tree: Path, tmp_path: Path, cache: Cache, deadline: Deadline
) -> None:
    variant = patch_of(tmp_path, "xen/common/page_alloc.c", "/* a */", "/* b */")
    build = builder(tools_tree, cache)
    assert build.build(variant, deadline=deadline) == build.build(deadline=deadline)


@needs_make
def test_variant_that_breaks_the_tools_is_the_users(
    tools_tree: Path, tmp_path: Path, cache: Cache, deadline: Deadline
) -> None:
    variant = patch_of(tmp_path, "tools/libs/light.c", "int nothing;", "BROKEN")
    with pytest.raises(ConfigurationError, match="do not compile"):
        builder(tools_tree, cache).build(variant, deadline=deadline)


@pytest.mark.parametrize(
    ("path", "own"),
    [
        ("xen/include/public/sysctl.h", True),
        ("xen/common/libelf/libelf-tools.c", True),
        ("tools/libs/light/libxl.c", True),
        ("xen/include/xen/mm.h", False),
        ("docs/tools/x", False),
    ],
)
def test_which_variants_touch_the_tools(tmp_path: Path, path: str, *, own: bool) -> None:
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).touch()
    assert touches_tools(patch_of(tmp_path, path, "a", "b"), tmp_path) is own


def test_semantic_patches_do_not_touch_the_tools() -> None:
    assert not touches_tools(load_variant("tasklet"), Path())


def test_all_missing_packages_are_in_one_line(
    cache: Cache, tree: Path, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = builder(tree, cache)
    there = set(tools_needs.PROGRAMS) - {"iasl", "autoconf", "autoheader"}
    monkeypatch.setattr(tools_needs, "_has", there.__contains__)
    monkeypatch.setattr(tools_needs, "FOUND_BY_AUTOTOOLS", "/nonesuch")

    def run(argv: Sequence[str], **_options: object) -> tuple[int, str]:
        if "import sysconfig" in argv[-1]:
            return 0, "3.11 /usr/include/python3.11\n"
        return int(argv[-1] in ("yajl/yajl_gen.h", "Python.h")), ""

    monkeypatch.setattr(tools_needs, "run", run)
    with pytest.raises(MissingToolError) as raised:
        build.build(deadline=deadline)
    assert raised.value.todo == (
        "apt-get install acpica-tools autoconf autotools-dev libyajl-dev python3-dev"
    )
    assert "yajl/yajl_gen.h" in raised.value.what

# SPDX-License-Identifier: MIT
from __future__ import annotations

import shutil
import threading
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import ConfigurationError, InfrastructureError, MissingToolError
from pytest_xenscrub.hypervisor.build import Builder
from pytest_xenscrub.hypervisor.elf import build_id
from pytest_xenscrub.hypervisor.source import resolve_source
from pytest_xenscrub.hypervisor.variant import AS_IS, STOCK, Variant, load_variant

from .conftest import COMMENT, diff_of

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.hypervisor.cache import Cache

pytestmark = [
    pytest.mark.usefixtures("tools"),
    pytest.mark.skipif(
        any(shutil.which(name) is None for name in ("make", "patch")),
        reason="make and patch are needed (apt-get install make patch)",
    ),
]


def builder(tree: Path, cache: Cache, *options: str) -> Builder:
    source = resolve_source(str(tree), cache=cache, deadline=Deadline.after(30, "source"))
    return Builder(source, cache=cache, options=options)


def patched(tmp_path: Path, new: str, old: str = COMMENT) -> Variant:
    file = tmp_path / "mine.patch"
    file.write_text(diff_of(old, new))
    return load_variant(str(file))


def kept_log(error: ConfigurationError | InfrastructureError, cache: Cache) -> str:
    logs = list(cache.path("failed").glob("*/build.log"))
    assert [str(log) for log in logs] == [error.evidence["log"]]
    return logs[0].read_text()


def scratch_is_empty(cache: Cache) -> bool:
    return not any(cache.path("scratch").iterdir())


def test_stock_is_built_once(tree: Path, cache: Cache, deadline: Deadline) -> None:
    first = builder(tree, cache).build(STOCK, deadline=deadline)
    assert first.build_id == build_id(first.symbols) == "c0ffee00"
    assert (first.version, first.debug, first.variant) == ("4.17.5", False, "stock")
    assert all(path.is_file() for path in (first.elf, first.gz, first.config, first.log))
    stamp = first.elf.stat().st_mtime_ns
    again = builder(tree, cache).build(STOCK, deadline=deadline)
    assert again == first
    assert again.elf.stat().st_mtime_ns == stamp
    assert scratch_is_empty(cache)


def test_variant_starts_from_what_stock_built(
    tree: Path, tmp_path: Path, cache: Cache, deadline: Deadline
) -> None:
    build = builder(tree, cache)
    artefact = build.build(patched(tmp_path, "/* patched */"), deadline=deadline)
    assert artefact.variant == "mine"
    # One build of the tree as it is, and one of the variant; the source has seen neither.
    assert len(list(cache.root.glob("*/artefact.json"))) == 2
    assert not (build.source.path / "builds").exists()
    assert COMMENT in (build.source.path / "xen/common/page_alloc.c").read_text()


def test_kconfig_option_is_part_of_the_build(tree: Path, cache: Cache, deadline: Deadline) -> None:
    plain = builder(tree, cache).build(STOCK, deadline=deadline)
    debug = builder(tree, cache, "DEBUG=y").build(STOCK, deadline=deadline)
    assert plain.elf != debug.elf
    assert debug.debug


def test_kconfig_option_that_does_not_stick(tree: Path, cache: Cache, deadline: Deadline) -> None:
    with pytest.raises(ConfigurationError, match="CONFIG_UNKNOWN=y"):
        builder(tree, cache, "UNKNOWN=y").build(STOCK, deadline=deadline)


def test_patch_that_does_not_apply_shows_the_hunk(
    tree: Path, tmp_path: Path, cache: Cache, deadline: Deadline
) -> None:
    variant = patched(tmp_path, "new", old="/* never was there */")
    with pytest.raises(ConfigurationError, match="does not apply") as raised:
        builder(tree, cache).build(variant, deadline=deadline)
    assert "-/* never was there */" in raised.value.evidence["hunk"]
    assert "FAILED" in kept_log(raised.value, cache)
    assert list(cache.path("failed").glob("*/xen_common_page_alloc.c.rej"))
    assert str(cache.path("failed")) in raised.value.todo


def test_patch_for_a_file_that_is_not_there(
    tree: Path, tmp_path: Path, cache: Cache, deadline: Deadline
) -> None:
    file = tmp_path / "mine.patch"
    file.write_text(diff_of(COMMENT, "x", name="nonesuch.c"))
    with pytest.raises(ConfigurationError, match="does not apply"):
        builder(tree, cache).build(load_variant(str(file)), deadline=deadline)


def test_compile_error_of_a_variant_is_the_users(
    tree: Path, tmp_path: Path, cache: Cache, deadline: Deadline
) -> None:
    with pytest.raises(ConfigurationError, match="does not compile") as raised:
        builder(tree, cache).build(patched(tmp_path, "SYNTAX"), deadline=deadline)
    assert "page_alloc.c:9:1: error: expected ';'" in raised.value.evidence["compiler"]
    assert "error: expected" in kept_log(raised.value, cache)
    assert scratch_is_empty(cache)


def test_compile_error_of_the_tree_is_infrastructure(
    tree: Path, cache: Cache, deadline: Deadline
) -> None:
    (tree / "xen/common/page_alloc.c").write_text("SYNTAX\n")
    with pytest.raises(InfrastructureError, match="does not compile"):
        builder(tree, cache).build(STOCK, deadline=deadline)


def test_build_that_is_cut_short_leaves_nothing_half_made(
    tree: Path, cache: Cache, deadline: Deadline
) -> None:
    file = tree / "xen/common/page_alloc.c"
    file.write_text("SLEEP\n")
    slow = builder(tree, cache)
    with pytest.raises(InfrastructureError, match="not done after"):
        slow.build(STOCK, deadline=Deadline.after(1, "build stock"))
    assert not list(cache.root.glob("*/artefact.json"))
    assert scratch_is_empty(cache)
    file.write_text("quick\n")
    builder(tree, cache).build(STOCK, deadline=deadline)


def test_parallel_runs_build_once(tree: Path, cache: Cache, deadline: Deadline) -> None:
    builders = [builder(tree, cache) for _ in range(3)]
    threads = [
        threading.Thread(target=each.build, args=(STOCK,), kwargs={"deadline": deadline})
        for each in builders
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (runs,) = cache.root.glob("*/tree/builds")
    assert runs.read_text() == "run\n"


def test_as_is_is_not_built(tree: Path, cache: Cache, deadline: Deadline) -> None:
    with pytest.raises(ConfigurationError, match="not built"):
        builder(tree, cache).build(AS_IS, deadline=deadline)


def test_missing_tools_are_named_with_their_packages(
    tree: Path, cache: Cache, deadline: Deadline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = builder(tree, cache)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingToolError) as raised:
        build.build(STOCK, deadline=deadline)
    assert raised.value.todo == "apt-get install bison flex gcc make python3"


def test_what_was_built_before_needs_no_compiler(
    tree: Path, cache: Cache, deadline: Deadline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = builder(tree, cache).build(STOCK, deadline=deadline)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert builder(tree, cache).build(STOCK, deadline=deadline) == built


@pytest.mark.skipif(shutil.which("spatch") is None, reason="coccinelle is not installed")
def test_semantic_patch_that_matches_nothing(
    tree: Path, tmp_path: Path, cache: Cache, deadline: Deadline
) -> None:
    file = tmp_path / "mine.cocci"
    file.write_text("@@ @@\n-nonesuch();\n")
    with pytest.raises(ConfigurationError, match="changes nothing"):
        builder(tree, cache).build(load_variant(str(file)), deadline=deadline)


@pytest.mark.skipif(shutil.which("spatch") is None, reason="coccinelle is not installed")
def test_invalid_semantic_patch(
    tree: Path, tmp_path: Path, cache: Cache, deadline: Deadline
) -> None:
    file = tmp_path / "mine.cocci"
    file.write_text("@@ nonsense\n")
    with pytest.raises(ConfigurationError, match="not a semantic patch") as raised:
        builder(tree, cache).build(load_variant(str(file)), deadline=deadline)
    assert raised.value.evidence["spatch"]


@pytest.mark.skipif(shutil.which("spatch") is None, reason="coccinelle is not installed")
def test_users_semantic_patch_is_tried_on_the_whole_hypervisor(
    tree: Path, tmp_path: Path, cache: Cache, deadline: Deadline
) -> None:
    file = tmp_path / "mine.cocci"
    file.write_text(
        "@@ expression a, b, c; @@\n-free_heap_pages(a, b, c)\n+free_heap_pages(a, b, SYNTAX)\n"
    )
    with pytest.raises(ConfigurationError, match="does not compile"):
        builder(tree, cache).build(load_variant(str(file)), deadline=deadline)


@pytest.mark.skipif(shutil.which("spatch") is None, reason="coccinelle is not installed")
def test_built_in_variant_on_a_tree_it_does_not_fit(
    tree: Path, cache: Cache, deadline: Deadline
) -> None:
    (tree / "xen/common/page_alloc.c").write_text("int nothing;\n")
    with pytest.raises(ConfigurationError, match="changes nothing"):
        builder(tree, cache).build(load_variant("sync"), deadline=deadline)


@pytest.mark.parametrize(
    ("name", "cleaned"),
    [("xen/include/xen/mm.h", True), ("Config.mk", True), ("xen/common/page_alloc.c", False)],
)
def test_all_is_compiled_anew_where_more_than_one_object_depends(
    tree: Path, tmp_path: Path, cache: Cache, deadline: Deadline, name: str, *, cleaned: bool
) -> None:
    (tree / name).parent.mkdir(parents=True, exist_ok=True)
    (tree / name).write_text("a\n")
    file = tmp_path / "mine.patch"
    file.write_text(f"--- a/{name}\n+++ b/{name}\n@@ -1 +1 @@\n-a\n+b\n")
    artefact = builder(tree, cache).build(load_variant(str(file)), deadline=deadline)
    assert artefact.touched == (name,)
    assert (" clean" in artefact.log.read_text()) is cleaned


def test_default_that_a_patch_changes_is_what_is_built(
    tree: Path, tmp_path: Path, cache: Cache, deadline: Deadline
) -> None:
    file = tmp_path / "mine.patch"
    text = "--- a/xen/defaults\n+++ b/xen/defaults\n@@ -1 +1 @@\n"
    file.write_text(f"{text}-CONFIG_DEFAULT=1\n+CONFIG_DEFAULT=2\n")
    build = builder(tree, cache, "MINE=y")
    assert "CONFIG_DEFAULT=1" in build.build(STOCK, deadline=deadline).config.read_text()
    config = build.build(load_variant(str(file)), deadline=deadline).config.read_text()
    assert "CONFIG_DEFAULT=2" in config
    assert "CONFIG_DEFAULT=1" not in config
    assert "CONFIG_MINE=y" in config


def test_machine_that_ran_out_of_something_is_not_the_patch(
    tree: Path, tmp_path: Path, cache: Cache, deadline: Deadline
) -> None:
    makefile = tree / "xen/Makefile"
    said = "gcc: fatal error: Killed signal terminated program cc1"
    makefile.write_text(makefile.read_text().replace("error: expected ';'", said))
    with pytest.raises(InfrastructureError, match="this machine could not build Xen"):
        builder(tree, cache).build(patched(tmp_path, "SYNTAX"), deadline=deadline)


def test_a_link_that_another_run_has_made_meanwhile_is_used(
    tree: Path, cache: Cache, deadline: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: "/usr/bin/ccache")
    builder = Builder(resolve_source(str(tree), cache=cache, deadline=deadline), cache=cache)
    links = cache.path("ccache-bin")
    links.mkdir(parents=True)
    (links / "gcc").touch()
    assert builder._environment(tree)["PATH"].startswith(f"{links}:")
    assert (links / "cc").is_symlink()

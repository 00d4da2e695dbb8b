# SPDX-License-Identifier: MIT
"""The variants applied to real trees: those in the cache, and those named by XENSCRUB_XEN_TREES.

Nothing is downloaded here: `XENSCRUB_XEN_TREES` is a list, separated by `:`, of folders and of
repositories as PATH#REV.
"""

from __future__ import annotations

import os
import shutil
from functools import cache as remember
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.hypervisor.apply import apply_variant
from pytest_xenscrub.hypervisor.cache import Cache
from pytest_xenscrub.hypervisor.source import resolve_source
from pytest_xenscrub.hypervisor.tree import SourceTree, describe_tree
from pytest_xenscrub.hypervisor.variant import load_variant

if TYPE_CHECKING:
    from pathlib import Path

TREES_VARIABLE = "XENSCRUB_XEN_TREES"


@remember
def trees() -> tuple[SourceTree, ...]:
    """All trees that are here, newest release last."""
    cache = Cache()
    found = [
        resolve_source(spec, cache=cache, deadline=Deadline.after(60, spec))
        for spec in os.environ.get(TREES_VARIABLE, "").split(":")
        if spec
    ]
    kept = cache.path("source")
    for folder in sorted(kept.iterdir()) if kept.is_dir() else []:
        if (folder / "xen" / "common" / "page_alloc.c").is_file():
            found.append(describe_tree(folder, spec=folder.name, origin=folder.name, digest=""))
    fit = {tree.release: tree for tree in found if tree.release >= (4, 10)}
    return tuple(fit[release] for release in sorted(fit))


@pytest.fixture(params=["debian", "another release"])
def real_tree(request: pytest.FixtureRequest) -> SourceTree:
    if shutil.which("spatch") is None:
        pytest.skip("coccinelle is not installed (apt-get install coccinelle)")
    debian = [tree for tree in trees() if tree.path.name.startswith("debian-")]
    if request.param == "debian":
        if not debian:
            pytest.skip("Debian's tree is not in the cache: build any variant once")
        return debian[-1]
    taken = {tree.release for tree in debian}
    others = [tree for tree in trees() if tree.release not in taken]
    if not others:
        pytest.skip(f"no tree of another release: name some in {TREES_VARIABLE}")
    return others[0]


@pytest.mark.parametrize("name", ["sync", "tasklet", "noscrub"])
def test_variant_applies(name: str, real_tree: SourceTree, tmp_path: Path) -> None:
    for part in ("page_alloc.c", "sysctl.c"):
        copy = tmp_path / "tree/xen/common" / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(real_tree.path / "xen/common" / part, copy)
    apply_variant(
        load_variant(name),
        tmp_path / "tree",
        log=tmp_path / "log",
        keep=tmp_path / "rejects",
        deadline=Deadline.after(60, name),
    )

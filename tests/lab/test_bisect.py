# SPDX-License-Identifier: MIT
"""`git bisect run` finds the commit of a Xen tree that breaks a scrubber."""

from __future__ import annotations

import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.hypervisor.apply import apply_variant
from pytest_xenscrub.hypervisor.cache import Cache
from pytest_xenscrub.hypervisor.source import resolve_source
from pytest_xenscrub.hypervisor.variant import load_variant

from .runs import TOP

if TYPE_CHECKING:
    from pathlib import Path

BISECT_SECONDS = 1800.0
BROKEN = "Free the pages of dying domains as they are"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(BISECT_SECONDS + 60)]


def git(repository: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=repository, text=True, check=True, capture_output=True
    )
    return done.stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Debian's Xen in five commits: the third does not compile, the last leaks."""
    deadline = Deadline.after(300, "Debian's Xen")
    tree = resolve_source("debian", cache=Cache(), deadline=deadline)
    top = tmp_path / "xen"
    shutil.copytree(tree.path, top, symlinks=True)
    git(top, "init", "-q")

    def commit(subject: str) -> None:
        git(top, "add", "-A", "-f")
        git(top, "commit", "-q", "-m", subject)

    commit("Import Xen")
    source = top / "xen/common/page_alloc.c"
    source.write_text(source.read_text() + "\n/* A remark. */\n")
    commit("Remark on the allocator")
    source.write_text(source.read_text() + "\n#error not finished\n")
    commit("Begin something else")
    source.write_text(source.read_text().replace("#error not finished\n", ""))
    commit("Finish something else")
    apply_variant(
        load_variant("noscrub"), top, log=tmp_path / "log", keep=tmp_path / "kept",
        deadline=Deadline.after(120, "noscrub"),
    )  # fmt: skip
    commit(BROKEN)
    return top


def test_bisect_run_names_the_commit_that_leaks(repository: Path) -> None:
    """The commit that does not compile is passed over."""
    command = [
        sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"{TOP}/tests/scrub",
        "-k", "destroyed_guest_leaves", "-m", "quick", "--xen-host=emulated",
        "--xen-host-memory=2304M", "--xen-variant=stock", f"--xen-source={repository}",
        "--xen-exit=bisect",
    ]  # fmt: skip
    git(repository, "bisect", "start", "HEAD", "HEAD~4")
    done = subprocess.run(
        ["git", "bisect", "run", *command], cwd=repository, text=True, capture_output=True,
        timeout=BISECT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is the first bad commit" in done.stdout
    assert git(repository, "log", "-1", "--format=%s", "refs/bisect/bad").strip() == BROKEN
    assert "RESIDUE" in done.stdout

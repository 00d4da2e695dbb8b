# SPDX-License-Identifier: MIT
"""`xenscrub bisect` and `git bisect run` find the commit of a Xen tree that breaks a scrubber."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.hypervisor.apply import apply_variant
from pytest_xenscrub.hypervisor.cache import Cache
from pytest_xenscrub.hypervisor.source import resolve_source
from pytest_xenscrub.hypervisor.variant import load_variant

from .runs import TOP

if TYPE_CHECKING:
    from collections.abc import Iterator

BISECT_SECONDS = 3600.0
FIRST = "Import Xen"
SLOW = "Scrub each page four times while it is freed"
LAST_THAT_SCRUBS = "Remark once more"
LEAKS = "Free the pages of dying domains as they are"
MAIN = "import sys; from pytest_xenscrub.command.main import main; sys.exit(main())"
SUITE = (
    f"{TOP}/tests/scrub", "-m", "quick", "--xen-host=emulated", "--xen-host-memory=2304M",
)  # fmt: skip
TEST = "destroyed_guest_leaves"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2 * BISECT_SECONDS)]


def git(repository: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=tester", "-c", "user.email=tester@example.org")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=repository, text=True, check=True, capture_output=True
    )
    return done.stdout


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Debian's Xen in seven commits: one does not compile, one slows, and the last one leaks."""
    folder = tmp_path_factory.mktemp("bisect")
    tree = resolve_source("debian", cache=Cache(), deadline=Deadline.after(300, "Debian's Xen"))
    top = folder / "xen"
    shutil.copytree(tree.path, top, symlinks=True)
    git(top, "init", "-q")
    source = top / "xen/common/page_alloc.c"
    clean = source.read_text()

    def commit(subject: str, text: str = "") -> None:
        if text:
            source.write_text(source.read_text() + text)
        git(top, "add", "-A", "-f")
        git(top, "commit", "-q", "-m", subject)

    def change(variant: str) -> None:
        apply_variant(
            load_variant(variant), top, log=folder / "log", keep=folder / variant[-10:],
            deadline=Deadline.after(120, variant),
        )  # fmt: skip

    commit(FIRST)
    commit("Remark on the allocator", "\n/* A remark. */\n")
    commit("Begin something else", "\n#error not finished\n")
    source.write_text(clean)
    commit("Finish something else", "\n/* Finished. */\n")
    change(str(Path(__file__).parent / "variants" / "scrubs_four_times.cocci"))
    commit(SLOW)
    commit(LAST_THAT_SCRUBS, "\n/* Another remark. */\n")
    source.write_text(clean)
    change("noscrub")
    commit(LEAKS)
    return top


def named(repository: Path, subject: str) -> str:
    return git(repository, "log", "--format=%H", f"--grep=^{subject}$").strip()


class Search:
    """A `xenscrub bisect` in a process group of its own, so that it can be interrupted alone."""

    def __init__(self, repository: Path, bad: str, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-c", MAIN, "bisect", f"--source={repository}",
                f"--good={named(repository, FIRST)}", f"--bad={named(repository, bad)}",
                "-k", TEST, *arguments, "--", *SUITE,
            ],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0,
        )  # fmt: skip
        self.told = ""

    def lines(self) -> Iterator[str]:
        assert self.process.stdout
        for line in self.process.stdout:
            self.told += line
            yield line

    def finish(self) -> int:
        """How it ends, once it has told everything."""
        for _ in self.lines():
            pass
        return self.process.wait(timeout=60)


def commands_of_group(group: int) -> str:
    return subprocess.run(
        ["pgrep", "-a", "-g", str(group)], capture_output=True, text=True, check=False
    ).stdout


def test_the_commit_that_leaks(repository: Path) -> None:
    """Interrupted in the middle of a run it ends its host, and then goes on where it was."""
    search = Search(repository, LEAKS)
    for line in search.lines():
        if ": good" in line:
            break
    next(search.lines())  # the next one is being built, and run
    time.sleep(10)
    os.killpg(search.process.pid, signal.SIGINT)
    assert search.finish() == 130, search.told
    assert "qemu" not in commands_of_group(search.process.pid)
    judged = set(re.findall(r"^(\w+): (?:good|bad|skip)$", search.told, re.MULTILINE))
    assert judged

    search = Search(repository, LEAKS)
    assert search.finish() == 0, search.told
    told = search.told
    assert not [name for name in judged if f"{name}: building and running it" in told]
    assert f"    {LEAKS}\n" in told[told.index("the first bad commit is") :]
    assert "RESIDUE: judged 1 of 1" in told
    assert re.search(r"verdict +clean +RESIDUE", told), told
    assert f"--xen-source={repository}#{named(repository, LEAKS)[:12]}" in told
    assert git(repository, "status", "--porcelain") == ""
    assert len(git(repository, "worktree", "list").splitlines()) == 1


def test_the_commit_that_slows(repository: Path) -> None:
    """All of its tests pass: it is slower than the good commit by more than their noise."""
    search = Search(repository, LAST_THAT_SCRUBS, "--fail-if=destroy:median:30%")
    assert search.finish() == 0, search.told
    told = search.told[search.told.index("the first bad commit is") :]
    assert f"    {SLOW}\n" in told
    assert re.search(r"verdict +clean +clean", told), told
    assert re.search(r"destroy, s .* worse, more than noise", told), told


def test_bisect_run_names_the_commit_that_leaks(repository: Path) -> None:
    """The commit that does not compile is passed over."""
    command = [
        sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *SUITE, "-k", TEST,
        "--xen-variant=stock", f"--xen-source={repository}", "--xen-exit=bisect",
    ]  # fmt: skip
    git(repository, "bisect", "start", "HEAD", named(repository, FIRST))
    done = subprocess.run(
        ["git", "bisect", "run", *command], cwd=repository, text=True, capture_output=True,
        timeout=BISECT_SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "is the first bad commit" in done.stdout
    assert git(repository, "log", "-1", "--format=%s", "refs/bisect/bad").strip() == LEAKS
    assert "RESIDUE" in done.stdout

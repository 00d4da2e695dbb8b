# SPDX-License-Identifier: MIT
from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.patch.unified import parse

from .mail_texts import HUNK

if TYPE_CHECKING:
    from pathlib import Path

GIT = "diff --git a/x b/x\n"
NAMES = "--- a/x\n+++ b/x\n"


def read(text: str) -> list[tuple[str, str, int]]:
    return [(diff.old, diff.new, len(diff.hunks)) for diff in parse(text.encode(), "mine")]


def test_what_git_writes_is_read_whole(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        author = ["-c", "user.name=A", "-c", "user.email=a@b"]
        argv = ["git", *author, *words]
        return subprocess.run(argv, cwd=tmp_path, check=True, capture_output=True, text=True).stdout

    git("init", "-q")
    lines = "".join(f"{n}\n" for n in range(40))
    for name in ("changed", "gone", "moved", "mode", "end"):
        (tmp_path / name).write_text(f"{name}\n{lines}")
    git("add", "-A")
    git("commit", "-qm", "first")
    (tmp_path / "changed").write_text(
        f"changed\n{lines}".replace("\n5\n", "\n\n").replace("35", "x")
    )
    (tmp_path / "gone").unlink()
    (tmp_path / "moved").rename(tmp_path / "there")
    (tmp_path / "mode").chmod(0o755)
    (tmp_path / "new").write_text("--- a\n+++ b\n@@ -1 +1 @@\n")
    (tmp_path / "empty").touch()
    (tmp_path / "end").write_text(f"end\n{lines}last")
    git("add", "-A")
    assert sorted(read(git("diff", "--cached", "-M"))) == [
        ("", "b/empty", 0), ("", "b/new", 1), ("a/changed", "b/changed", 2), ("a/end", "b/end", 1),
        ("a/gone", "", 1), ("a/mode", "b/mode", 0), ("a/moved", "b/there", 0),
    ]  # fmt: skip


def test_an_indented_diff_in_a_message_is_text() -> None:
    quoted = "".join(f"    {line}\n" for line in HUNK.splitlines())
    assert read(f"It was\n\n{quoted}\n{HUNK}") == read(HUNK)


@pytest.mark.parametrize(
    "epoch", ["1970-01-01 00:00:00.000000000 +0000", "Thu Jan  1 00:00:00 1970"]
)
def test_diff_writes_files_that_are_not_there_with_an_old_date(epoch: str) -> None:
    new = f"--- a/x\t{epoch}\n+++ b/x\t2024-01-01 00:00:00\n@@ -0,0 +1 @@\n+x\n"
    gone = f"--- a/x\t2024-01-01 00:00:00\n+++ b/x\t{epoch}\n@@ -1 +0,0 @@\n-x\n"
    assert read(new) == [("", "b/x", 1)]
    assert read(gone) == [("a/x", "", 1)]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (f"{NAMES}@@ -1,2 +1,2 @@\n-a\n+b\n", "ends within a hunk"),
        (f"{NAMES}@@ -1 +1 @@\n-a\n+b\n+c\n", "more lines than its header"),
        (f"{NAMES}@@ -1 +1 @@ int f(int a,\nint b)\nx\n-a\n+b\n", "wrapped by a mailer"),
        (f"{NAMES}@@ -1 +1,2 @@\n-a\n+b(c,\nd);\n+e\n", "wrapped by a mailer"),
        (f"{NAMES}@@ -1 +1 @@\n-a\n+b(c,\nd);\n", "wrapped by a mailer"),
        ("@@ -1 +1 @@\n-a\n+b\n", "belongs to no file"),
        (f"{NAMES}@@ -1 +1 @@\n-a\n+b\n@@ -9,2 +9,2\n@@ f()\n-c\n+d\n", "not whole"),
        (f"{NAMES}@@ -1 +1 @@\n-a\n+b\n\n@@ -9 +9\n-c\n+d\n", "not whole"),
        (f"{NAMES}@@ -1 +1 @@\n-a\n+b\n\n@ -9 +9 @@\n-c\n+d\n", "not whole"),
        (f"{NAMES}@@ -1 +1 @@\n-a\n+b\n\n+c\n", "more lines than its header"),
        (f"{NAMES}@@ -1 +1 @@\n-a\n+b\n\n c\n\n-d\n", "more lines than its header"),
        (f"{NAMES} @@ -1 +1 @@\n-a\n+b\n", "without its hunks"),
        (f"{GIT}{NAMES}", "without its hunks"),
        (f"{GIT}index 1..2 100644\n", "without its hunks"),
        (GIT, "without a change"),
        ('diff --git "a/\\303" "b/\\303"\n', "blanks or quotes"),
        (f"{GIT}new file mode 160000\n", "submodule"),
        ("diff --cc x\nindex 1,2..3\n", "combined diff"),
        ("*** a/x\tdate\n--- b/x\tdate\n***************\n*** 1 ****\n", "context diff"),
        ("Only in b/xen/common: new.c\n", "without -N"),
        ("3c3\n< a\n---\n> b\n", "without context"),
    ],
)
def test_what_is_not_whole_is_refused(text: str, match: str) -> None:
    with pytest.raises(ConfigurationError, match=match):
        parse(text.encode(), "mine")


@pytest.mark.parametrize(
    "end",
    [
        *("", "\n", "-- \n2.39.5\n\n", "\\ No newline at end of file\n", HUNK),
        *("\nThanks,\nA\n", "_____________\nlist\n", "\n-- \nA\n", "\n--\nA\n", "\n---\n"),
    ],
)
def test_what_may_follow_on_a_hunk(end: str) -> None:
    assert len(parse(f"{NAMES}@@ -1 +1 @@\n-a\n+b\n{end}".encode(), "mine")) == 1 + (end == HUNK)


def test_function_in_a_header_may_be_wrapped() -> None:
    (diff,) = parse(f"{NAMES}@@ -1 +1 @@ int f(int a,\nint b)\n-a\n+b\n".encode(), "mine")
    assert diff.hunks[0].old == b"a\n"

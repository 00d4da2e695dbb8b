# SPDX-License-Identifier: MIT
"""Patches on real trees with the real `patch`: what is applied is what was meant, or nothing."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.apply import Applied, apply_variant
from pytest_xenscrub.hypervisor.variant import load_variant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline

    Edit = Callable[[Path], object]

pytestmark = pytest.mark.skipif(shutil.which("patch") is None, reason="patch is needed")

FILES = {
    "xen/common/page_alloc.c": "".join(f"line {n};\n" for n in range(60)),
    "xen/common/kernel.c": "".join(f"kernel {n};\n" for n in range(20)),
    "xen/Makefile": "xen:\n\ttrue\n",
    "xen/tools/check.sh": "#!/bin/sh\nexit 0\n",
    "tools/libs/light/libxl.c": "int libxl;\n",
    "tools/configure.ac": "AC_INIT\n",
    "Makefile": "all:\n\ttrue\n",
    "CHANGELOG.md": "# Changes\n",
    "docs/misc/xen-command-line.pandoc": "# Options\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    for name, text in FILES.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_text(text)
    return top


class Bench:
    """A tree, patches made from it with git or diff, and what comes of applying them."""

    def __init__(self, tree: Path, folder: Path, deadline: Deadline) -> None:
        self.tree, self.folder, self.deadline = tree, folder, deadline

    def diff(self, *edits: Edit, options: tuple[str, ...] = (), within: str = "") -> str:
        """What git says of a copy of the tree after some edits."""
        copy = self.folder / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(self.tree, copy)

        def git(*words: str) -> str:
            argv = ["git", "-c", "user.name=A", "-c", "user.email=a@b", *words]
            where = copy / within
            return subprocess.run(
                argv, cwd=where, check=True, capture_output=True, text=True
            ).stdout

        git("init", "-q", str(copy))
        git("-C", str(copy), "add", "-A")
        git("commit", "-qm", "as it is")
        for edit in edits:
            edit(copy)
        git("-C", str(copy), "add", "-A")
        return git("diff", "--cached", "-M", *options)

    def apply(self, *texts: str, levels: str = "") -> Applied:
        """Apply patches to the tree."""
        series = self.folder / "mine"
        shutil.rmtree(series, ignore_errors=True)
        series.mkdir()
        for number, text in enumerate(texts):
            (series / f"{number}.patch").write_text(text)
        listed = "".join(f"{number}.patch {levels}\n" for number in range(len(texts)))
        (series / "series").write_text(listed)
        scratch = self.folder / "scratch"
        scratch.mkdir(exist_ok=True)
        return apply_variant(
            load_variant(str(series)), self.tree, log=scratch / "build.log",
            keep=self.folder / "kept", deadline=self.deadline,
        )  # fmt: skip

    def text(self, name: str) -> str:
        return (self.tree / name).read_text()


@pytest.fixture
def bench(tree: Path, tmp_path: Path, deadline: Deadline) -> Bench:
    return Bench(tree, tmp_path, deadline)


def edit(name: str, old: str, new: str) -> Edit:
    """Change a text in a file."""

    def run(top: Path) -> None:
        text = (top / name).read_text()
        assert old in text
        (top / name).write_text(text.replace(old, new, 1))

    return run


PAGE_ALLOC = "xen/common/page_alloc.c"
SCRUB = ("line 30;", "scrub;")
scrub = edit(PAGE_ALLOC, *SCRUB)


# -- levels ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "within"),
    [((), ""), (("--no-prefix",), ""), (("--relative",), "xen"),
     (("--relative", "--no-prefix"), "xen"), (("--src-prefix=i/", "--dst-prefix=w/"), "")],
)  # fmt: skip
def test_level_is_the_one_at_which_names_are_there(
    bench: Bench, options: tuple[str, ...], within: str
) -> None:
    applied = bench.apply(bench.diff(scrub, options=options, within=within))
    assert applied == Applied((PAGE_ALLOC,), ())
    assert "scrub;" in bench.text(PAGE_ALLOC)


@pytest.mark.parametrize(
    "names", [("xen-4.17.orig/", "xen-4.17/"), ("", ""), ("a/", "b/"), ("old/", "new/")]
)
def test_what_diff_writes_is_applied(bench: Bench, names: tuple[str, str]) -> None:
    old, new = (f"{top}xen/common/kernel.c" for top in names)
    text = f"diff -ru {old} {new}\n--- {old}\t2024-01-01\n+++ {new}\t2024-01-01\n"
    bench.apply(f"{text}@@ -1,2 +1,2 @@\n-kernel 0;\n+one;\n kernel 1;\n")
    assert bench.text("xen/common/kernel.c").startswith("one;\nkernel 1;")


def test_copy_beside_the_tree_is_not_the_file_that_is_meant(bench: Bench) -> None:
    names = "--- xen/common/kernel.c.orig\t2024-01-01\n+++ xen/common/kernel.c\t2024-01-01\n"
    bench.apply(f"{names}@@ -1,2 +1,2 @@\n-kernel 0;\n+one;\n kernel 1;\n")
    assert bench.text("xen/common/kernel.c").startswith("one;")


def test_file_of_two_levels_is_told_by_what_is_in_it(bench: Bench) -> None:
    bench.apply(
        bench.diff(edit("xen/Makefile", "xen:", "more:"), options=("--relative",), within="xen")
    )
    assert bench.text("xen/Makefile").startswith("more:")
    assert bench.text("Makefile") == FILES["Makefile"]


def test_names_that_mean_two_files_are_refused_with_both(bench: Bench) -> None:
    (bench.tree / "Makefile").write_text(FILES["xen/Makefile"])
    patch = bench.diff(edit("Makefile", "xen:", "more:"))
    with pytest.raises(ConfigurationError, match="two sets of files") as raised:
        bench.apply(patch)
    assert raised.value.tried == "Makefile / xen/Makefile"
    bench.apply(patch, levels="-p1")
    assert bench.text("Makefile").startswith("more:")


def test_names_that_are_nowhere_say_what_was_tried(bench: Bench) -> None:
    patch = bench.diff(scrub).replace("page_alloc", "nonesuch")
    with pytest.raises(ConfigurationError, match="names files that are not there") as raised:
        bench.apply(patch)
    assert "-p1: no xen/common/nonesuch.c; -p0: no a/xen/common/nonesuch.c" in raised.value.tried
    assert "-p0 in xen/: " in raised.value.tried


def test_names_that_lead_out_of_the_tree_are_refused(bench: Bench) -> None:
    (bench.folder / "x").write_text("a\n")
    with pytest.raises(ConfigurationError, match="not there"):
        bench.apply("--- a/../x\n+++ b/../x\n@@ -1 +1 @@\n-a\n+b\n")


# -- what is not built -----------------------------------------------------------------------------


def test_what_nothing_is_built_from_is_left_out_and_counted(bench: Bench) -> None:
    docs = "docs/misc/xen-command-line.pandoc"
    patch = bench.diff(scrub, edit(docs, "#", "##"), edit("CHANGELOG.md", "#", "##"))
    (bench.tree / "CHANGELOG.md").write_text("another\n")
    shutil.rmtree(bench.tree / "docs")
    applied = bench.apply(patch)
    assert applied.paths == (PAGE_ALLOC,)
    assert applied.notes == (
        f"left out, as nothing is built from it: 2 files (CHANGELOG.md, {docs})",
    )
    assert "scrub;" in bench.text(PAGE_ALLOC)


def test_what_autoconf_makes_is_left_out_where_the_tree_lacks_it(bench: Bench) -> None:
    (bench.tree / "tools/configure").write_text("#!/bin/sh\n")
    edits = edit("tools/configure", "sh", "bash"), edit("tools/configure.ac", "INIT", "X")
    patch = bench.diff(*edits)
    (bench.tree / "tools/configure").unlink()
    assert bench.apply(patch).paths == ("tools/configure.ac",)


def test_patch_of_documents_alone_is_stock(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="so it is stock"):
        bench.apply(bench.diff(edit("CHANGELOG.md", "#", "##")))


def test_what_is_built_is_never_left_out(bench: Bench) -> None:
    docs = edit("docs/misc/xen-command-line.pandoc", "#", "##")
    patch = bench.diff(edit("tools/libs/light/libxl.c", "int", "long"), docs)
    (bench.tree / "tools/libs/light/libxl.c").write_text("another\n")
    with pytest.raises(ConfigurationError, match="does not apply"):
        bench.apply(patch)


# -- kinds of changes ------------------------------------------------------------------------------


def test_renames_modes_new_and_deleted_files(bench: Bench) -> None:
    def edits(top: Path) -> None:
        (top / "xen/common/kernel.c").rename(top / "xen/common/moved.c")
        (top / "xen/tools/check.sh").chmod(0o755)
        (top / "xen/common/empty.h").touch()
        (top / "xen/arch").mkdir()
        (top / "xen/arch/new.c").write_text("int a;\n")
        (top / "xen/link.c").symlink_to("common/moved.c")
        (top / "tools/libs/light/libxl.c").unlink()

    bench.apply(bench.diff(scrub, edits))
    assert bench.text("xen/common/moved.c") == FILES["xen/common/kernel.c"]
    assert not (bench.tree / "xen/common/kernel.c").exists()
    assert (bench.tree / "xen/tools/check.sh").stat().st_mode & 0o100
    assert bench.text("xen/common/empty.h") == ""
    assert bench.text("xen/arch/new.c") == "int a;\n"
    assert (bench.tree / "xen/link.c").is_symlink()
    assert not (bench.tree / "tools/libs/light/libxl.c").exists()


def test_rename_with_changes_and_a_file_that_a_later_patch_changes(bench: Bench) -> None:
    def move(top: Path) -> None:
        (top / "xen/common/kernel.c").rename(top / "xen/common/moved.c")
        edit("xen/common/moved.c", "kernel 3;", "three;")(top)
        (top / "xen/common/new.c").write_text("int a;\n")

    first = bench.diff(move)
    copy = "--- a/xen/common/new.c\n+++ b/xen/common/new.c\n@@ -1 +1 @@\n-int a;\n+int b;\n"
    bench.apply(first, copy)
    assert "three;" in bench.text("xen/common/moved.c")
    assert bench.text("xen/common/new.c") == "int b;\n"


def copy(old: str, new: str) -> Edit:
    """Copy a file, as it is now."""
    return lambda top: shutil.copy(top / old, top / new)


COPIES = ("-C", "--find-copies-harder")


@pytest.mark.parametrize("name", ["aaa.c", "zzz.c"], ids=["before-source", "behind-source"])
@pytest.mark.parametrize("changed", [False, True], ids=["as-it-was", "changed"])
def test_copy_of_a_file_that_the_patch_changes_is_of_the_file_as_it_was(
    bench: Bench, name: str, changed: bool
) -> None:
    new = f"xen/common/{name}"
    edits = [copy(PAGE_ALLOC, new), scrub]
    if changed:
        edits.append(edit(new, "line 3;", "three;"))
    patch = bench.diff(*edits, options=COPIES)
    assert "copy from" in patch
    bench.apply(patch)
    wanted = FILES[PAGE_ALLOC]
    assert bench.text(new) == (wanted.replace("line 3;", "three;") if changed else wanted)
    assert "scrub;" in bench.text(PAGE_ALLOC)


@pytest.mark.parametrize("changed", [False, True], ids=["as-it-was", "changed"])
def test_copy_in_a_log_is_of_the_file_as_the_commit_before_left_it(
    bench: Bench, changed: bool
) -> None:
    new = "xen/common/zzz.c"
    first = bench.diff(scrub)
    more = [edit(new, "line 3;", "three;")] if changed else []
    whole = bench.diff(scrub, copy(PAGE_ALLOC, new), *more)
    scrub(bench.tree)
    second = bench.diff(copy(PAGE_ALLOC, new), *more, options=COPIES)
    (bench.tree / PAGE_ALLOC).write_text(FILES[PAGE_ALLOC])
    assert "copy from" in second
    assert "copy from" not in whole
    bench.apply(f"commit 1\n\n{first}\ncommit 2\n\n{second}")
    assert "scrub;" in bench.text(new)
    assert ("three;" in bench.text(new)) is changed


def test_files_that_change_places(bench: Bench) -> None:
    """`patch` takes the two for moved already: refused, and `git diff --no-renames` works."""
    one, other = PAGE_ALLOC, "xen/common/kernel.c"

    def swap(top: Path) -> None:
        (top / one).rename(top / "xen/third")
        (top / other).rename(top / one)
        (top / "xen/third").rename(top / other)

    patch = bench.diff(swap, options=("-B",))
    assert patch.count("rename from") == 2
    with pytest.raises(ConfigurationError, match=r"did not do all of it[\s\S]*--no-renames"):
        bench.apply(patch)
    assert set(bench.apply(bench.diff(swap, options=("--no-renames",))).paths) == {one, other}
    assert bench.text(one) == FILES[other]
    assert bench.text(other) == FILES[one]


def test_file_that_takes_the_place_of_one_that_moves(bench: Bench) -> None:
    one, other, new = PAGE_ALLOC, "xen/common/kernel.c", "xen/common/zzz.c"

    def move(top: Path) -> None:
        (top / one).rename(top / new)
        (top / other).rename(top / one)

    patch = bench.diff(move, options=("-B",))
    assert patch.count("rename from") == 2
    bench.apply(patch)
    assert bench.text(new) == FILES[one]
    assert bench.text(one) == FILES[other]
    assert not (bench.tree / other).exists()


def test_file_that_becomes_a_link(bench: Bench) -> None:
    def link(top: Path) -> None:
        (top / "xen/common/kernel.c").unlink()
        (top / "xen/common/kernel.c").symlink_to("page_alloc.c")

    bench.apply(bench.diff(link))
    assert bench.text("xen/common/kernel.c") == FILES[PAGE_ALLOC]


def test_patch_and_its_revert_are_stock(bench: Bench) -> None:
    patch = bench.diff(scrub)
    scrub(bench.tree)
    back = bench.diff(edit(PAGE_ALLOC, *reversed(SCRUB)))
    (bench.tree / PAGE_ALLOC).write_text(FILES[PAGE_ALLOC])
    with pytest.raises(ConfigurationError, match=r"each file is what it was, so it is stock"):
        bench.apply(patch, back)


def test_modes_alone_are_stock(bench: Bench) -> None:
    patch = bench.diff(lambda top: (top / "xen/tools/check.sh").chmod(0o755))
    with pytest.raises(ConfigurationError, match=r"each file is what it was, so it is stock"):
        bench.apply(patch)


def test_only_files_that_are_not_as_they_were_count_as_changed(bench: Bench) -> None:
    modes = bench.diff(scrub, lambda top: (top / "xen/tools/check.sh").chmod(0o755))
    assert bench.apply(modes).paths == (PAGE_ALLOC,)


def test_binary_change_is_refused_where_it_is_built_from(bench: Bench) -> None:
    def edits(top: Path) -> None:
        (top / "xen/blob").write_bytes(bytes(range(256)))
        (top / "docs/picture.png").write_bytes(bytes(range(256)))

    with pytest.raises(ConfigurationError, match=r"binary change of xen/blob"):
        bench.apply(bench.diff(scrub, edits, options=("--binary",)))

    def picture(top: Path) -> None:
        (top / "docs/picture.png").write_bytes(bytes(range(256)))

    assert bench.apply(bench.diff(scrub, picture, options=("--binary",))).paths == (PAGE_ALLOC,)


def test_file_that_is_to_be_made_and_is_there(bench: Bench) -> None:
    def new(top: Path) -> None:
        (top / "xen/common/new.c").write_text("int a;\n")

    patch = bench.diff(new)
    (bench.tree / "xen/common/new.c").write_text("int other;\n")
    with pytest.raises(ConfigurationError, match="does not apply"):
        bench.apply(patch)
    assert bench.text("xen/common/new.c") == "int other;\n"


# -- where hunks go --------------------------------------------------------------------------------


def test_hunk_at_another_line_is_said(bench: Bench) -> None:
    patch = bench.diff(scrub)
    text = bench.text(PAGE_ALLOC)
    (bench.tree / PAGE_ALLOC).write_text("new;\n" * 7 + text)
    (note,) = bench.apply(patch).notes
    assert note == "0.patch: 1 hunk was found +7 lines off (page_alloc.c)"
    assert bench.text(PAGE_ALLOC).count("scrub;") == 1


def test_hunk_that_moved_and_fits_twice_is_refused(bench: Bench) -> None:
    patch = bench.diff(scrub)
    text = bench.text(PAGE_ALLOC)
    (bench.tree / PAGE_ALLOC).write_text("new;\n" * 7 + text + text)
    with pytest.raises(ConfigurationError, match=r"hunk 1 of .* fits at 2 places"):
        bench.apply(patch)


def test_hunk_that_fits_twice_is_taken_where_its_neighbour_went(bench: Bench) -> None:
    text, top = bench.text(PAGE_ALLOC), "a;\nb;\nc;\nfirst;\n"
    (bench.tree / PAGE_ALLOC).write_text(f"{top}{text}{text}")
    patch = bench.diff(edit(PAGE_ALLOC, "first;", "1;"), scrub)
    (bench.tree / PAGE_ALLOC).write_text(f"x;\nx;\n{top}{text}{text}")
    assert "2 hunks were found +2 lines off" in bench.apply(patch).notes[0]
    assert bench.text(PAGE_ALLOC).index("scrub;") < len(text)


def test_fuzz_is_refused_and_named(bench: Bench) -> None:
    patch = bench.diff(scrub)
    edit(PAGE_ALLOC, "line 27;", "other;")(bench.tree)
    before = bench.text(PAGE_ALLOC)
    with pytest.raises(ConfigurationError, match="does not apply") as raised:
        bench.apply(patch)
    assert "with fuzz 1 it would, which is a guess" in raised.value.todo
    assert "+scrub;" in raised.value.evidence["hunk"]
    assert bench.text(PAGE_ALLOC) == before


def test_patch_that_is_there_already_is_told_as_such(bench: Bench) -> None:
    patch = bench.diff(scrub)
    scrub(bench.tree)
    with pytest.raises(ConfigurationError, match="this tree has it already") as raised:
        bench.apply(patch)
    assert "a verdict on it would be one on the tree as it is" in raised.value.todo


def test_indented_diff_in_a_message_is_not_applied(bench: Bench) -> None:
    other = bench.diff(edit(PAGE_ALLOC, "line 50;", "quoted;"))
    quoted = "".join(f"    {line}\n" for line in other.splitlines())
    bench.apply(f"Not as\n\n{quoted}\nbut\n{bench.diff(scrub)}")
    assert "scrub;" in bench.text(PAGE_ALLOC)
    assert "quoted;" not in bench.text(PAGE_ALLOC)


def test_hunk_without_context_is_refused(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="has no context"):
        bench.apply(bench.diff(scrub, options=("-U0",)))


def test_patches_in_one_file_build_on_each_other(bench: Bench) -> None:
    def new(top: Path) -> None:
        (top / "xen/common/new.c").write_text("int a;\n")

    first = bench.diff(new)
    new(bench.tree)
    second = bench.diff(edit("xen/common/new.c", "int a;", "int b;"))
    (bench.tree / "xen/common/new.c").unlink()
    bench.apply(first + second)
    assert bench.text("xen/common/new.c") == "int b;\n"


def test_a_series_that_cannot_be_placed_names_its_variant(bench: Bench) -> None:
    with pytest.raises(ConfigurationError, match="variant mine: "):
        bench.apply("--- a/nowhere/x.c\n+++ b/nowhere/x.c\n@@ -1 +1 @@\n-a\n+b\n")

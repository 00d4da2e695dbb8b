# SPDX-License-Identifier: MIT
"""Splits a patch that changes a file several times into diffs that do not.

In one diff of git, all old files are those of the tree before it: a copy is of the unchanged
source, and two files may swap their names. `patch` does the same for one diff in one input. A file
with several diffs, such as the output of `git log -p`, refers to the trees in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_xenscrub.hypervisor.patch.placing import PlacedFile


def steps(files: Sequence[PlacedFile], existed: Callable[[str], bool]) -> list[list[PlacedFile]]:
    """The files of each diff, in order.

    Args:
        files: the changes of a patch.
        existed: tells whether a path existed before the patch.
    """
    found: list[list[PlacedFile]] = []
    made: set[str] = set()
    for file in files:
        there = existed(file.old) or file.old in made
        if not found or _is_next_diff(file, found[-1], existed=there):
            made |= {each.new for each in (found[-1] if found else ())}
            found.append([])
        found[-1].append(file)
    return found


def _is_next_diff(file: PlacedFile, diff: Sequence[PlacedFile], *, existed: bool) -> bool:
    """Whether a file's change starts another diff.

    Args:
        file: the change.
        diff: the files of the diff so far.
        existed: whether its old file existed before that diff.
    """
    if not (file.diff.git and diff[-1].diff.git):
        touched = {path for each in diff for path in (each.old, each.new)}
        return bool(touched & {file.old, file.new} - {""})
    made = {each.new for each in diff if each.new}
    deleted = {each.old for each in diff if not each.new}
    if file.new in made or (file.old or file.new) in deleted:
        return True
    earlier = next((each for each in diff if file.old and each.new == file.old), None)
    if earlier is None:
        return False
    return not existed or _is_of_result(file, earlier)


def _is_of_result(file: PlacedFile, earlier: PlacedFile) -> bool:
    """Whether a change is of an earlier change's result, and not of the file before both."""
    before, after = _blobs(earlier)
    source, _ = _blobs(file)
    if source and before and after:
        length = min(len(source), len(before), len(after))
        if before[:length] != after[:length]:
            return source[:length] == after[:length]
    # An unchanged copy does not name its source's content; in a log, text separates the diffs.
    return file.diff.apart


def _blobs(file: PlacedFile) -> tuple[str, str]:
    """The names that git gives a file's content, before and after; empty without them."""
    index = dict(file.diff.extended).get("index", "")
    before, _, after = index.partition(" ")[0].partition("..")
    return before, after

# SPDX-License-Identifier: MIT
"""Cuts a patch that comes back to a file into diffs that do not.

All that one diff of git says of old files is of the tree before it: a copy is one of the source
as it was, and two files may change places. `patch` keeps to that, for one diff in one input. A file
with several diffs one behind the other, such as `git log -p` makes, means the tree in between.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pytest_xenscrub.hypervisor.patch.placing import PlacedFile


def steps(files: Sequence[PlacedFile], existed: Callable[[str], bool]) -> list[list[PlacedFile]]:
    """The files of each diff, in order.

    Args:
        files: what a patch changes.
        existed: whether a path was there before the patch.
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
        file: what it may go with.
        diff: the files of the diff so far.
        existed: whether its old file was there before that diff.
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
    """Whether a change is of what an earlier change left, and not of what that one was made of."""
    before, after = _blobs(earlier)
    source, _ = _blobs(file)
    if source and before and after:
        length = min(len(source), len(before), len(after))
        if before[:length] != after[:length]:
            return source[:length] == after[:length]
    # A copy without changes does not name what it is of; in a log, text is between diffs.
    return file.diff.apart


def _blobs(file: PlacedFile) -> tuple[str, str]:
    """What git calls the content of a file before and after; empty where it does not say."""
    index = dict(file.diff.extended).get("index", "")
    before, _, after = index.partition(" ")[0].partition("..")
    return before, after

# SPDX-License-Identifier: MIT
"""Turns a copy of a tree into a variant, or reports which hunk or rule does not apply."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.build_errors import telling_lines
from pytest_xenscrub.hypervisor.patch.gnu_patch import Patcher, head
from pytest_xenscrub.hypervisor.patch.placing import place
from pytest_xenscrub.hypervisor.process import need, run
from pytest_xenscrub.hypervisor.variant import Change, Kind, Variant

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline

PROGRAM = {Kind.SEMANTIC: "spatch", Kind.PATCHES: "patch"}
"""The program that applies each kind of variant."""
_SHOWN = 4
"""Number of files that are named; further ones are only counted."""


@dataclass(frozen=True)
class Applied:
    """What a variant changed in a tree.

    Attributes:
        paths: changed files that something is built from.
        notes: parts that were left out, or applied at another place, a line each.
    """

    paths: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def apply_variant(
    variant: Variant, tree: Path, *, log: Path, keep: Path, deadline: Deadline
) -> Applied:
    """Apply a variant to a copy of a tree.

    Args:
        variant: the variant.
        tree: top of the copy.
        log: file that gets the programs' output.
        keep: folder for rejected hunks; made when there are any.
        deadline: limit.

    Raises:
        ConfigurationError: the variant does not apply; the evidence shows the hunk.
        MissingToolError: `patch` or `spatch` is not installed.
    """
    if variant.kind is not Kind.SEMANTIC:
        return _apply_patches(variant, tree, log, keep, deadline)
    for path, text in variant.adds:
        (tree / path).write_bytes(text)
    started = _stamps(tree)
    for change in variant.changes:
        _apply_semantic(variant, change, tree, log, deadline)
    for path, expected in variant.expects:
        if expected not in (tree / path).read_text(encoding="utf-8", errors="replace"):
            raise ConfigurationError(
                f"variant {variant.name}: a rule of its semantic patch found nothing in {path}",
                tried=f"expected afterwards: {expected}",
                todo="this Xen is older than 4.10, or changes this code already: "
                "give a unified diff made for it",
                evidence={"log": str(log)},
            )
    changed = sorted(path for path, stamp in _stamps(tree).items() if started.get(path) != stamp)
    return Applied(tuple(str(path.relative_to(tree)) for path in changed))


def _apply_patches(
    variant: Variant, tree: Path, log: Path, keep: Path, deadline: Deadline
) -> Applied:
    """Apply a series; all parts that something is built from must apply."""
    need("patch", purpose=f"variant {variant.name}")
    before: dict[str, bytes | None] = {}
    left_out: dict[str, None] = {}
    notes: list[str] = []
    try:
        placed = place(variant.changes, tree)
    except ConfigurationError as error:
        error.what = f"variant {variant.name}: {error.what}"
        raise
    for number, patch in enumerate(placed):
        left_out |= dict.fromkeys(patch.left_out)
        for path in (path for each in patch.files for path in (each.old, each.new) if path):
            before.setdefault(path, _content(tree / path))
        if patch.files:
            text = log.with_name(f"{number:04}.patch")
            patcher = Patcher(variant.name, patch, tree, text, log=log, keep=keep)
            notes += patcher.apply(deadline)
    changed = tuple(path for path, was in before.items() if _content(tree / path) != was)
    if not changed:
        raise _is_stock(variant, list(before), list(left_out))
    if left_out:
        notes.append(f"left out, as nothing is built from it: {shown(list(left_out))}")
    return Applied(changed, tuple(notes))


def _content(path: Path) -> bytes | None:
    """The content of a file for a build: its bytes, or its link's target; None without a file."""
    if path.is_symlink():
        return b"link to " + bytes(path.readlink())
    return path.read_bytes() if path.is_file() else None


def _is_stock(variant: Variant, same: list[str], left_out: list[str]) -> ConfigurationError:
    """The error for a series that changes nothing that is built."""
    if same:
        what = "all of it applies, and each file is what it was"
        todo = "a patch and its revert, or modes alone, are no change: take one out"
    else:
        what = "nothing is built from what it changes"
        todo = "give a patch of the hypervisor or its tools"
    return ConfigurationError(
        f"variant {variant.name}: {what}, so it is stock",
        tried=shown(same or left_out),
        todo=f"{todo}, or give --xen-variant=stock",
    )


def shown(paths: list[str]) -> str:
    """The number of files, and the names of the first few."""
    more = ", ..." if len(paths) > _SHOWN else ""
    files = "file" if len(paths) == 1 else "files"
    return f"{len(paths)} {files} ({', '.join(paths[:_SHOWN])}{more})"


def _apply_semantic(
    variant: Variant, change: Change, tree: Path, log: Path, deadline: Deadline
) -> None:
    """Apply one semantic patch with Coccinelle."""
    need("spatch", purpose=f"variant {variant.name}")
    rules = log.with_name(change.name)
    rules.write_bytes(change.text)
    targets = list(variant.files) or ["--no-includes", "--dir", "xen"]
    argv = [
        "spatch",
        "--no-show-diff",
        "--very-quiet",
        "--in-place",
        "--sp-file",
        str(rules),
        *targets,
    ]
    started = _stamps(tree)
    status, output = run(argv, deadline=deadline, cwd=tree, log=log)
    if status:
        raise ConfigurationError(
            f"variant {variant.name}: {change.name} is not a semantic patch that works here",
            tried=" ".join(argv),
            todo="run it by hand without --very-quiet",
            evidence={"spatch": telling_lines(output)},
        )
    if _stamps(tree) == started:
        raise ConfigurationError(
            f"variant {variant.name}: {change.name} changes nothing in this tree",
            tried=" ".join(argv),
            todo="check that its function and metavariables fit this release",
            evidence={"spatch": head(output)},
        )


def _stamps(tree: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of each C file, which show changes."""
    found = {}
    for path in (tree / "xen").rglob("*.[ch]"):
        status = path.lstat()
        found[path] = (status.st_mtime_ns, status.st_size)
    return found

# SPDX-License-Identifier: MIT
"""Turns a copy of a tree into a variant, or says which hunk or rule did not fit."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.process import need, run
from pytest_xenscrub.hypervisor.variant import Change, Kind, Variant

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline

PROGRAM = {Kind.SEMANTIC: "spatch", Kind.PATCHES: "patch"}
"""What applies a variant."""
_SHOWN_LINES = 40


def apply_variant(
    variant: Variant, tree: Path, *, log: Path, keep: Path, deadline: Deadline
) -> None:
    """Apply a variant to a tree of its own.

    Args:
        variant: what to apply.
        tree: top of a copy that may be changed.
        log: file that what the programs say is added to.
        keep: folder for rejected hunks; made when there are any.
        deadline: until when it must be done.

    Raises:
        ConfigurationError: it does not apply; the evidence shows the hunk.
        MissingToolError: `patch` or `spatch` is not there.
    """
    for path, text in variant.adds:
        (tree / path).write_bytes(text)
    for number, change in enumerate(variant.changes):
        if variant.kind is Kind.SEMANTIC:
            _apply_semantic(variant, change, tree, log, deadline)
        else:
            _apply_patch(variant, change, number, tree=tree, log=log, keep=keep, deadline=deadline)
    for path, expected in variant.expects:
        if expected not in (tree / path).read_text(encoding="utf-8", errors="replace"):
            raise ConfigurationError(
                f"variant {variant.name}: a rule of its semantic patch found nothing in {path}",
                tried=f"expected afterwards: {expected}",
                todo="this Xen is older than 4.10, or changes this code already: "
                "give a unified diff made for it",
                evidence={"log": str(log)},
            )


def _apply_patch(
    variant: Variant,
    change: Change,
    number: int,
    *,
    tree: Path,
    log: Path,
    keep: Path,
    deadline: Deadline,
) -> None:
    """Apply one patch with GNU patch."""
    need("patch", purpose=f"variant {variant.name}")
    text = log.with_name(f"{number:04}.patch")
    text.write_bytes(change.text)
    argv = [
        *("patch", f"-p{change.strip}", "--forward", "--batch", "--no-backup-if-mismatch"),
        f"--input={text}",
    ]
    before = set(tree.rglob("*.rej"))
    status, output = run(argv, deadline=deadline, cwd=tree, log=log)
    if status == 0:
        return
    rejects = sorted(set(tree.rglob("*.rej")) - before)
    keep.mkdir(parents=True, exist_ok=True)
    hunks = []
    for reject in rejects:
        name = str(reject.relative_to(tree)).replace("/", "_")
        shutil.copy(reject, keep / name)
        hunks.append(reject.read_text(encoding="utf-8", errors="replace"))
    shutil.copy(text, keep)
    raise ConfigurationError(
        f"variant {variant.name}: {change.name} does not apply to this tree",
        tried=" ".join(argv),
        todo=f"refresh it for this tree; log and rejected hunks are kept in {keep}",
        evidence={
            "patch": _head(output),
            "hunk": _head("\n".join(hunks)),
        },
    )


def _apply_semantic(
    variant: Variant, change: Change, tree: Path, log: Path, deadline: Deadline
) -> None:
    """Apply one semantic patch with Coccinelle."""
    need("spatch", purpose=f"variant {variant.name}")
    rules = log.with_name("rules.cocci")
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
            evidence={"spatch": _head(output)},
        )
    if _stamps(tree) == started:
        raise ConfigurationError(
            f"variant {variant.name}: {change.name} changes nothing in this tree",
            tried=" ".join(argv),
            todo="check that its function and metavariables fit this release",
            evidence={"spatch": _head(output)},
        )


def _stamps(tree: Path) -> dict[Path, tuple[int, int]]:
    """Size and time of each C file, by which a change shows."""
    found = {}
    for path in (tree / "xen").rglob("*.[ch]"):
        status = path.lstat()
        found[path] = (status.st_mtime_ns, status.st_size)
    return found


def _head(text: str) -> str:
    """As much of a text as fits into an error."""
    lines = text.strip().splitlines()
    more = [f"... {len(lines) - _SHOWN_LINES} more lines"] if len(lines) > _SHOWN_LINES else []
    return "\n".join(lines[:_SHOWN_LINES] + more)

# SPDX-License-Identifier: MIT
"""`Artefact`: the files of a hypervisor that was built, and the record beside them."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from pytest_xenscrub.hypervisor.elf import build_id
from pytest_xenscrub.hypervisor.patch.in_use import not_compiled
from pytest_xenscrub.hypervisor.tree import describe_tree

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pytest_xenscrub.hypervisor.apply import Applied
    from pytest_xenscrub.hypervisor.kconfig import KconfigOption
    from pytest_xenscrub.hypervisor.tree import SourceTree
    from pytest_xenscrub.hypervisor.variant import Variant

_RECORD = "artefact.json"


@dataclass(frozen=True)
class Artefact:
    """A hypervisor that was built.

    Attributes:
        elf: the uncompressed hypervisor, for a multiboot loader such as QEMU's.
        gz: the compressed hypervisor, for a boot folder.
        build_id: the build id in the ELF file, which `xl info` must show when this Xen runs.
        config: the `.config` of the build.
        symbols: `xen-syms`, for `addr2line` and gdb.
        log: the log of the build.
        version: Xen's version, such as "4.17.5".
        debug: whether this is a debug build: with assertions, and scrubbing with 0xC2.
        variant: the variant's name.
        domctl: version of the domctl interface that the toolstack must use.
        sysctl: version of the sysctl interface that the toolstack must use.
        touched: files that the variant changes and that something is built from.
        not_compiled: files of `touched` that this configuration does not compile.
        notes: parts of the variant that were left out, or applied elsewhere, a line each.
    """

    elf: Path
    gz: Path
    build_id: str
    config: Path
    symbols: Path
    log: Path
    version: str
    debug: bool
    variant: str
    domctl: int
    sysctl: int
    touched: tuple[str, ...] = ()
    not_compiled: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def is_complete(kept: Path) -> bool:
    """Whether a folder has a complete artefact, whose record is written last."""
    return (kept / _RECORD).is_file()


def load_artefact(kept: Path) -> Artefact:
    """Load an artefact from its record."""
    record: dict[str, Any] = json.loads((kept / _RECORD).read_text(encoding="utf-8"))
    return Artefact(
        elf=kept / "xen",
        gz=kept / "xen.gz",
        build_id=record["build_id"],
        config=kept / "config",
        symbols=kept / "xen-syms",
        log=kept / "build.log",
        version=record["version"],
        debug=record["debug"],
        variant=record["variant"],
        domctl=record["domctl"],
        sysctl=record["sysctl"],
        # Older records lack these keys.
        touched=tuple(record.get("touched", ())),
        not_compiled=tuple(record.get("not_compiled", ())),
        notes=tuple(record.get("notes", ())),
    )


def collect_artefact(
    tree: Path,
    ready: Path,
    log: Path,
    *,
    source: SourceTree,
    variant: Variant,
    applied: Applied,
    options: Sequence[KconfigOption],
) -> None:
    """Collect the files of a build that are kept.

    Args:
        tree: the tree that was built.
        ready: the folder for the files.
        log: the build's output.
        source: the tree without the variant.
        variant: the variant that was built.
        applied: what the variant changed.
        options: the Kconfig options that were asked for.
    """
    ready.mkdir()
    xen = tree / "xen"
    # A tree with separate build folders has only links here.
    for name in ("xen", "xen.gz", "xen-syms"):
        shutil.copy2(xen / name, ready / name)
    shutil.copy2(xen / ".config", ready / "config")
    shutil.copy2(log, ready / "build.log")
    # The interface versions come from the built tree, because a patch may have changed them.
    built = describe_tree(tree, spec=source.spec, origin=source.origin, digest=source.digest)
    config = (ready / "config").read_text(encoding="utf-8")
    record = {
        "build_id": build_id(ready / "xen-syms"),
        "version": source.version,
        "debug": "CONFIG_DEBUG=y\n" in config,
        "variant": variant.name,
        "domctl": built.domctl,
        "sysctl": built.sysctl,
        "origin": source.origin,
        "options": [asdict(option) for option in options],
        "touched": applied.paths,
        "not_compiled": not_compiled(applied.paths, tree),
        "notes": applied.notes,
    }
    (ready / _RECORD).write_text(json.dumps(record, indent=1), encoding="utf-8")

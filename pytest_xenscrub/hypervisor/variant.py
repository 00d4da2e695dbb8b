# SPDX-License-Identifier: MIT
"""`--xen-variant=NAME|FILE`: the variants of Xen, each with one way of scrubbing."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

from pytest_xenscrub.errors import ConfigurationError
from pytest_xenscrub.hypervisor.defect import PREFIX, defect_path

_HOW_APPLIED = b"no fuzz, only what is built, copies of what was there, Kconfig's own defaults"
"""Part of a patch's digest. Change it when patches are applied differently, which may build another
Xen."""

VARIANTS = Path(__file__).parent / "variants"


class Kind(Enum):
    """How a variant is made."""

    AS_IS = "as-is"
    """The Xen that the host runs; nothing is built."""
    STOCK = "stock"
    """The unchanged tree."""
    SEMANTIC = "semantic patch"
    PATCHES = "patches"


@dataclass(frozen=True)
class Change:
    """One text to apply: a patch, or a semantic patch.

    Attributes:
        name: its name in errors.
        text: its bytes.
        strip: number of leading path components to strip, if a `series` file says so; patches only.
        damage: what the format of its mail does to patches; for errors.
    """

    name: str
    text: bytes
    strip: int | None = None
    damage: str = ""


@dataclass(frozen=True)
class Variant:
    """A Xen built with one way of scrubbing.

    Attributes:
        name: its name in the table, in file names and in boot entries.
        kind: how it is made.
        defers: whether it leaves unscrubbed pages after a destroy; None if unknown.
        changes: what is applied, in order.
        files: files of the tree that a semantic patch is applied to; empty for all of `xen/`.
        adds: files that are copied into the tree, by their path in it.
        expects: for each file, a text that must be in it afterwards, because a semantic patch whose
            rule does not match is silent.
        notes: what was left out or reordered in a patch or series, a line each.
    """

    name: str
    kind: Kind
    defers: bool | None
    changes: tuple[Change, ...] = ()
    files: tuple[str, ...] = ()
    adds: tuple[tuple[str, bytes], ...] = ()
    expects: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def builds(self) -> bool:
        """Whether there is anything to build."""
        return self.kind is not Kind.AS_IS

    @property
    def digest(self) -> str:
        """Digest of what is applied; variants with the same digest build the same Xen."""
        digest = hashlib.sha256(self.kind.value.encode())
        for change in self.changes:
            # A semantic patch has no level; this default keeps the digests of builds that are in
            # the cache.
            strip = 1 if self.kind is Kind.SEMANTIC else change.strip
            digest.update(f"change\0{strip}\0".encode() + hashlib.sha256(change.text).digest())
        if self.kind is Kind.PATCHES:
            digest.update(_HOW_APPLIED)
        for path, text in self.adds:
            digest.update(f"adds\0{path}\0".encode() + hashlib.sha256(text).digest())
        digest.update("\0".join(self.files).encode())
        return digest.hexdigest()


AS_IS = Variant("as-is", Kind.AS_IS, None)
"""The Xen that the host runs."""
STOCK = Variant("stock", Kind.STOCK, True)
"""The unchanged tree, which scrubs in the idle loop."""

_PAGE_ALLOC = "xen/common/page_alloc.c"
_SYSCTL = "xen/common/sysctl.c"


def _semantic(path: Path) -> Change:
    return Change(path.name, path.read_bytes())


def _sync() -> Variant:
    """Scrubs pages while they are freed, as before 4.10."""
    return Variant(
        "sync",
        Kind.SEMANTIC,
        defers=False,
        changes=(_semantic(VARIANTS / "sync.cocci"),),
        files=(_PAGE_ALLOC,),
        expects=((_PAGE_ALLOC, "if (scrub)"), (_PAGE_ALLOC, "free_heap_pages(pg, order, false)")),
    )


def _noscrub() -> Variant:
    """Does not scrub dying domains' pages: the control."""
    return Variant(
        "noscrub",
        Kind.SEMANTIC,
        defers=False,
        changes=(_semantic(VARIANTS / "noscrub.cocci"),),
        files=(_PAGE_ALLOC,),
        expects=((_PAGE_ALLOC, "scrub && !(d && d->is_dying)"),),
    )


def _tasklet() -> Variant:
    """Scrubs in tasklets on all CPUs, paced by timers."""
    adds = [
        (f"xen/common/{name}", VARIANTS / name) for name in ("scrub_tasklet.c", "scrub_tasklet.h")
    ]
    return Variant(
        "tasklet",
        Kind.SEMANTIC,
        defers=True,
        changes=(_semantic(VARIANTS / "tasklet.cocci"),),
        files=(_PAGE_ALLOC, _SYSCTL),
        adds=tuple((name, path.read_bytes()) for name, path in adds),
        expects=(
            (_PAGE_ALLOC, '#include "scrub_tasklet.c"'),
            (_PAGE_ALLOC, "scrub_tasklet_defer(pg, order)"),
            (_PAGE_ALLOC, "static void scrub_tasklet_clear("),
            (_PAGE_ALLOC, "pg = scrub_tasklet_alloc("),
            (_PAGE_ALLOC, "total_avail_pages + scrub_tasklet_pages()"),
            (_PAGE_ALLOC, "node_need_scrub[i] + scrub_tasklet_node_pages(i)"),
            (_SYSCTL, "pi->scrub_pages = scrub_tasklet_pages()"),
        ),
    )


BUILT_IN = {
    "as-is": lambda: AS_IS,
    "stock": lambda: STOCK,
    "sync": _sync,
    "tasklet": _tasklet,
    "noscrub": _noscrub,
}
"""The built-in variants; their files are read on first use."""


def load_variant(spec: str) -> Variant:
    """Load the variant of a NAME or FILE.

    Args:
        spec: `as-is`, `stock`, `sync`, `tasklet`, `noscrub`; `defect:NAME`; or the path of a
            unified diff, a mail or mailbox, a `.cocci` file, or a folder with a patch series
            (quilt's `series` file, the files of `git format-patch`, or a maildir).

    Raises:
        ConfigurationError: there is no such name or file, the file has no patch, or a part of it
            can be neither used nor left out.
    """
    if spec in BUILT_IN:
        return BUILT_IN[spec]()
    if spec.startswith(PREFIX):
        path = defect_path(spec)
        return Variant(path.stem, Kind.SEMANTIC, None, (_semantic(path),))
    path = Path(spec).expanduser()
    try:
        variant = _from_path(path, spec)
    except OSError as error:
        raise ConfigurationError(
            f"--xen-variant={spec[:200]} cannot be read: {error.strerror or error}",
            todo="give a file or folder that this user may read",
        ) from error
    # Names go into boot entries and file names, but mails are often saved under their subject.
    name = re.sub(r"[^\w.+-]+", "-", variant.name).strip("-") or "patch"
    if name in BUILT_IN:
        raise ConfigurationError(
            f"--xen-variant={spec}: {name!r} is the name of a variant of our own",
            todo="rename the file: two variants of one name would be taken for each other",
        )
    return replace(variant, name=name)


def _from_path(path: Path, spec: str) -> Variant:
    if not path.exists():
        raise ConfigurationError(
            f"--xen-variant={spec}: neither a variant's name nor a file",
            tried=str(path.absolute()),
            todo=f"give one of {', '.join(BUILT_IN)}, or a patch, mailbox, series folder or .cocci",
        )
    if path.suffix == ".cocci":
        return Variant(path.stem, Kind.SEMANTIC, None, (_semantic(path),))
    from pytest_xenscrub.hypervisor.patch.load import read_patches  # noqa: PLC0415 - not for names

    return read_patches(path, spec)

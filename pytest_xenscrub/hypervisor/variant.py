# SPDX-License-Identifier: MIT
"""`--xen-variant=NAME|FILE`: the ways of scrubbing that a Xen can be built with."""

from __future__ import annotations

import email
import email.policy
import hashlib
import mailbox
import re
import shlex
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from pytest_xenscrub.errors import ConfigurationError

VARIANTS = Path(__file__).parent / "variants"


class Kind(Enum):
    """How a variant comes about."""

    AS_IS = "as-is"
    """Whatever the host runs; nothing is built."""
    STOCK = "stock"
    """The tree as it is."""
    SEMANTIC = "semantic patch"
    PATCHES = "patches"


@dataclass(frozen=True)
class Change:
    """One text to apply: a patch, or a semantic patch.

    Attributes:
        name: how errors call it.
        text: its bytes.
        strip: leading components of its paths that are not the tree's; patches only.
    """

    name: str
    text: bytes
    strip: int = 1


@dataclass(frozen=True)
class Variant:
    """A Xen built with one way of scrubbing.

    Attributes:
        name: for the table, file names and boot entries.
        description: one line on what it does.
        kind: how it comes about.
        defers: whether unscrubbed pages are left after a destroy; `None` where nobody knows.
        changes: what is applied, in this order.
        files: files of the tree that a semantic patch is for; all of `xen/` where empty.
        adds: files dropped into the tree, by their path in it.
        expects: for each file, what must be in it afterwards: a semantic patch whose rule does
            not match says nothing.
    """

    name: str
    description: str
    kind: Kind
    defers: bool | None
    changes: tuple[Change, ...] = ()
    files: tuple[str, ...] = ()
    adds: tuple[tuple[str, bytes], ...] = ()
    expects: tuple[tuple[str, str], ...] = ()

    @property
    def builds(self) -> bool:
        """Whether there is anything to build."""
        return self.kind is not Kind.AS_IS

    @property
    def digest(self) -> str:
        """Names what is applied; two variants of one digest build the same."""
        digest = hashlib.sha256(self.kind.value.encode())
        for change in self.changes:
            digest.update(b"change\0%d\0" % change.strip + hashlib.sha256(change.text).digest())
        for path, text in self.adds:
            digest.update(f"adds\0{path}\0".encode() + hashlib.sha256(text).digest())
        digest.update("\0".join(self.files).encode())
        return digest.hexdigest()


AS_IS = Variant("as-is", "whatever the host runs", Kind.AS_IS, None)
STOCK = Variant("stock", "the tree as it is: scrubs in the idle loop", Kind.STOCK, True)

_PAGE_ALLOC = "xen/common/page_alloc.c"
_SYSCTL = "xen/common/sysctl.c"


def _semantic(path: Path) -> Change:
    return Change(path.name, path.read_bytes())


def _sync() -> Variant:
    return Variant(
        "sync",
        "scrubs pages while they are freed, as before 4.10",
        Kind.SEMANTIC,
        defers=False,
        changes=(_semantic(VARIANTS / "sync.cocci"),),
        files=(_PAGE_ALLOC,),
        expects=((_PAGE_ALLOC, "if (scrub)"), (_PAGE_ALLOC, "free_heap_pages(pg, order, false)")),
    )


def _noscrub() -> Variant:
    return Variant(
        "noscrub",
        "does not scrub dying domains' pages: the control",
        Kind.SEMANTIC,
        defers=False,
        changes=(_semantic(VARIANTS / "noscrub.cocci"),),
        files=(_PAGE_ALLOC,),
        expects=((_PAGE_ALLOC, "scrub && !(d && d->is_dying)"),),
    )


def _tasklet() -> Variant:
    adds = [
        (f"xen/common/{name}", VARIANTS / name) for name in ("scrub_tasklet.c", "scrub_tasklet.h")
    ]
    return Variant(
        "tasklet",
        "scrubs in tasklets on all CPUs, paced by timers",
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
"""The variants that have a name of ours; what they are made of is read when they are asked for."""


def load_variant(spec: str) -> Variant:
    """The variant that NAME or FILE means.

    Args:
        spec: `as-is`, `stock`, `sync`, `tasklet`, `noscrub`; or the path of a unified diff, a
            mailbox, a `.cocci` file, or a folder with a patch series (quilt's `series` file, or
            the files of `git format-patch`).

    Raises:
        ConfigurationError: there is no such name or file, or there is no patch in it.
    """
    if spec in BUILT_IN:
        return BUILT_IN[spec]()
    path = Path(spec).expanduser()
    if not path.exists():
        raise ConfigurationError(
            f"--xen-variant={spec}: neither a variant's name nor a file",
            tried=str(path.absolute()),
            todo=f"give one of {', '.join(BUILT_IN)}, or a patch, mailbox, series folder or .cocci",
        )
    if path.suffix == ".cocci":
        return Variant(
            path.stem, f"{path.name}, a semantic patch", Kind.SEMANTIC, None, (_semantic(path),)
        )
    changes = _read_series(path) if path.is_dir() else _read_patches(path)
    if not changes:
        raise ConfigurationError(
            f"--xen-variant={spec}: there is no patch in it",
            tried="a unified diff, a mailbox, a folder with `series` or *.patch",
            todo="give what `git diff`, `git format-patch` or quilt makes",
        )
    count = f"{len(changes)} patches" if len(changes) > 1 else "a patch"
    name = path.name if path.is_dir() else path.stem
    return Variant(name, f"{path.name}: {count}", Kind.PATCHES, None, tuple(changes))


def _read_series(folder: Path) -> list[Change]:
    """Quilt's order where there is a `series` file, the order of names otherwise."""
    series = folder / "series"
    if not series.is_file():
        files = sorted(p for p in folder.iterdir() if p.suffix in (".patch", ".diff", ".mbox"))
        return [change for file in files for change in _read_patches(file)]
    changes: list[Change] = []
    for line in series.read_text(encoding="utf-8").splitlines():
        words = shlex.split(line, comments=True)
        if not words:
            continue
        if not (folder / words[0]).is_file():
            raise ConfigurationError(f"{series} names {words[0]}, which is not there")
        # Quilt's only option in a series file: how many components to strip.
        strips = [int(word[2:]) for word in words[1:] if re.fullmatch(r"-p\d+", word)]
        for change in _read_patches(folder / words[0]):
            changes.append(Change(change.name, change.text, (strips or [change.strip])[0]))
    return changes


def _read_patches(path: Path) -> list[Change]:
    """The patches in one file; mails are decoded, and skipped if they carry none."""
    text = path.read_bytes()
    if not text.startswith(b"From "):
        return [Change(path.name, text, _strip_of(text))] if _is_patch(text) else []
    messages = []
    with closing(mailbox.mbox(path, create=False)) as box:
        mails = [message.as_bytes() for message in box]
    for index, raw in enumerate(mails):
        mail = email.message_from_bytes(raw, policy=email.policy.default)
        part = mail.get_body(("plain",))
        content = part.get_payload(decode=True) if part else b""
        assert isinstance(content, bytes)  # noqa: S101
        # A mailbox quotes lines that look like the start of the next mail.
        content = re.sub(rb"^>(>*From )", rb"\1", content, flags=re.M)
        content = content.replace(b"\r\n", b"\n")
        if _is_patch(content):
            subject = " ".join(str(mail.get("Subject", "")).split())
            number = re.search(r"\[[^]]*?(\d+)/\d+\]", subject)
            order = (int(number[1]) if number else index, index)
            messages.append((order, Change(subject or path.name, content, _strip_of(content))))
    return [change for _, change in sorted(messages, key=lambda item: item[0])]


def _is_patch(text: bytes) -> bool:
    """Whether there is a hunk, or a change that needs none: a rename, a mode, a new empty file."""
    return re.search(rb"^(@@ -\d|diff --git )", text, re.M) is not None


def _strip_of(text: bytes) -> int:
    """1 for paths as git writes them, 0 for paths that start in the tree itself."""
    names = re.findall(rb"^(?:---|\+\+\+) ([^\t\n]+)", text, re.M)
    roots = {name.split(b"/")[0] for name in names if name.strip() != b"/dev/null"}
    return 0 if roots and roots <= {b"xen", b"tools", b"Config.mk", b"config", b"docs"} else 1

# SPDX-License-Identifier: MIT
"""The guest's kernel: the wheel's own, or, in a checkout, built on first use and kept in a cache.

A checkout has no kernel, and the one of a wheel no longer counts once its sources have changed.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from pathlib import Path
from typing import Final

from pytest_xenscrub.cache_folder import cache_root, writing
from pytest_xenscrub.guest.compile import (
    compile_kernel,
    digest,
    find_gcc,
    gcc_version,
    has_headers,
)

KERNEL: Final = "xenscrub-guest"
SHIPPED: Final = Path(__file__).parent / "built"
"""Folder of the kernel that the wheel's build hook has built."""
ORIGIN: Final = "built-from"
"""File beside that kernel: the digest of its sources in one line, after that the gcc."""


def build_kernel(cache: Path | None = None) -> Path:
    """The guest's kernel as an ELF file; compiled only if this very one was never built before.

    Safe against other processes that build it at the same time, and against being killed.

    Args:
        cache: folder for builds; by default one of the user's cache folder.

    Returns:
        Path of the ELF file, to be given to a toolstack as `kernel`.

    Raises:
        MissingToolError: it has to be built, and gcc or the headers of Xen are not installed.
        InfrastructureError: it does not compile, or the cache cannot be written.
    """
    if (kept := _kept(cache)) is not None:
        return kept
    gcc = find_gcc()
    return _built((cache or _default_cache()) / f"{digest()}-{_compiler(gcc)}", gcc)


def missing_for_kernel(cache: Path | None = None) -> dict[str, str]:
    """What `build_kernel` needs and is not there, each with Debian's package of it.

    Nothing is missing for the kernel of a wheel, nor for one that was built before.
    """
    if _kept(cache) is not None:
        return {}
    missing = {} if shutil.which("gcc") else {"gcc": "gcc"}
    return missing if has_headers() else {**missing, "xen/xen.h": "libxen-dev"}


def _default_cache() -> Path:
    return cache_root() / "guest"


def _kept(cache: Path | None) -> Path | None:
    """A kernel of these very sources: the wheel's own, or one that was built before.

    Where gcc is not installed, that is one of any gcc. The wheel's needs no cache.
    """
    sources = digest()
    if _shipped_from() == sources:
        return SHIPPED / KERNEL
    gcc = shutil.which("gcc")
    compiler = "*" if gcc is None else _compiler(gcc)
    folder = cache or _default_cache()
    return min(folder.glob(f"{sources}-{compiler}/{KERNEL}"), default=None)


def _shipped_from() -> str:
    """The digest of the sources that the wheel's kernel was built from; empty in a checkout."""
    try:
        return (SHIPPED / ORIGIN).read_text().partition("\n")[0]
    except FileNotFoundError:
        return ""


def _compiler(gcc: str) -> str:
    return hashlib.sha256(gcc_version(gcc).encode()).hexdigest()[:8]


def _built(folder: Path, gcc: str) -> Path:
    """Build the kernel, and keep it in that folder."""
    kernel = folder / KERNEL
    with writing(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=folder.parent) as temporary:
            done = Path(temporary) / "done"
            done.mkdir()
            compile_kernel(gcc, done / KERNEL)
            try:
                done.rename(folder)
            except OSError:
                # Somebody else was faster; what is there is whole, and the same.
                if not kernel.is_file():
                    raise
    return kernel

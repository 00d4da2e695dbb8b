# SPDX-License-Identifier: MIT
"""The guest's kernel: shipped in a wheel; in a checkout built on first use and kept in a cache.

A wheel's kernel counts only as long as its sources are unchanged.
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
"""Folder of a wheel's kernel, which the wheel's build hook fills."""
ORIGIN: Final = "built-from"
"""File beside that kernel: the digest of the kernel's sources in the first line, then gcc's
version."""


def build_kernel(cache: Path | None = None) -> Path:
    """The guest's kernel as an ELF file; compiled only if the same kernel was never built before.

    Other processes may build the kernel at the same time, and the process may be killed: the cache
    never holds a half-built kernel.

    Args:
        cache: folder for builds; by default one in the user's cache folder.

    Returns:
        Path of the ELF file, which toolstacks get as `kernel`.

    Raises:
        MissingToolError: the kernel must be built, and gcc or Xen's headers are not installed.
        InfrastructureError: the kernel does not compile, or the cache cannot be written.
    """
    if (kept := _kept(cache)) is not None:
        return kept
    gcc = find_gcc()
    return _built((cache or _default_cache()) / f"{digest()}-{_compiler(gcc)}", gcc)


def missing_for_kernel(cache: Path | None = None) -> dict[str, str]:
    """What `build_kernel` needs and this machine lacks, with Debian's packages.

    Nothing is missing if a wheel's kernel or an earlier build can be used.
    """
    if _kept(cache) is not None:
        return {}
    missing = {} if shutil.which("gcc") else {"gcc": "gcc"}
    return missing if has_headers() else {**missing, "xen/xen.h": "libxen-dev"}


def _default_cache() -> Path:
    return cache_root() / "guest"


def _kept(cache: Path | None) -> Path | None:
    """A kernel of the present sources: the wheel's, or an earlier build; None without one.

    Without gcc, an earlier build by any gcc will do. A wheel's kernel needs no cache.
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
    """Build the kernel into a folder of the cache."""
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
                # Another process was faster; its kernel is complete, and has the same bytes.
                if not kernel.is_file():
                    raise
    return kernel

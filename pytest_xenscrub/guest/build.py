# SPDX-License-Identifier: MIT
"""Builds the guest's kernel with gcc, on first use, and keeps it in the user's cache folder."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

import platformdirs

from pytest_xenscrub.errors import InfrastructureError, MissingToolError

SOURCES: Final = Path(__file__).parent / "kernel"
LINKER_SCRIPT: Final = "kernel.lds"
KERNEL: Final = "xenscrub-guest"
GCC_TIMEOUT: Final = 120.0  # s, for each run of gcc

COMPILE: Final = [
    "-I.",
    "-O2",
    "-std=gnu11",
    "-ffreestanding",
    "-fno-builtin",
    "-fno-pic",
    "-fno-pie",
    "-mcmodel=kernel",
    "-mno-red-zone",
    "-mgeneral-regs-only",
    "-fno-stack-protector",
    "-fcf-protection=none",
    "-fno-asynchronous-unwind-tables",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-Wno-sign-compare",
]
LINK: Final = [
    "-static",
    "-nostdlib",
    "-no-pie",
    f"-Wl,-T,{LINKER_SCRIPT}",
    "-Wl,-z,max-page-size=4096,-z,noexecstack,--build-id=none,--no-warn-rwx-segments",
]


def build_kernel(cache: Path | None = None) -> Path:
    """The guest's kernel as an ELF file; compiled if this very one was never built before.

    Safe against other processes that build it at the same time, and against being killed.

    Args:
        cache: folder for builds; by default one of the user's cache folder.

    Returns:
        Path of the ELF file, to be given to a toolstack as `kernel`.

    Raises:
        MissingToolError: gcc or the headers of Xen are not installed.
        InfrastructureError: it does not compile, or the cache cannot be written.
    """
    gcc = _gcc()
    cache = cache or platformdirs.user_cache_path("pytest-xenscrub") / "guest"
    folder = cache / _key(gcc)
    kernel = folder / KERNEL
    if kernel.is_file():
        return kernel
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".building-", dir=cache) as temporary:
            built = Path(temporary) / "done"
            built.mkdir()
            _compile(gcc, built / KERNEL)
            try:
                built.rename(folder)
            except OSError:
                # Somebody else was faster; what is there is whole, and the same.
                if not kernel.is_file():
                    raise
    except OSError as error:
        raise InfrastructureError(
            f"the guest's kernel cannot be stored: {error}", tried=str(folder)
        ) from error
    return kernel


def _gcc() -> str:
    gcc = shutil.which("gcc")
    if gcc is None:
        raise MissingToolError(
            "gcc is not installed; the guest's kernel is built with it",
            tried="gcc",
            todo="apt install gcc libxen-dev",
        )
    return gcc


def _run(gcc: str, *args: str) -> str:
    try:
        done = subprocess.run(
            [gcc, *args],
            cwd=SOURCES,
            capture_output=True,
            text=True,
            timeout=GCC_TIMEOUT,
            check=False,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(
            f"gcc did not end within {GCC_TIMEOUT:.0f} s", tried=f"gcc {' '.join(args)}"
        ) from error
    if done.returncode == 0:
        return done.stdout
    if "xen/" in done.stderr and "No such file or directory" in done.stderr:
        raise MissingToolError(
            "the headers of Xen are not installed; the guest's kernel is built with them",
            tried="#include <xen/xen.h>",
            todo="apt install libxen-dev",
        )
    raise InfrastructureError(
        f"the guest's kernel does not build: gcc returned {done.returncode}",
        tried=f"gcc {' '.join(args)}",
        evidence={"gcc": done.stderr},
    )


@functools.cache
def _gcc_version(gcc: str) -> str:
    return _run(gcc, "--version")


def _key(gcc: str) -> str:
    """Names a build by all that goes into it, but the headers: their layout is an ABI."""
    digest = hashlib.sha256()
    for part in (_gcc_version(gcc), *COMPILE, *LINK):
        digest.update(part.encode() + b"\0")
    for path in sorted(SOURCES.rglob("*")):
        if path.is_file():
            name = str(path.relative_to(SOURCES))
            digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _compile(gcc: str, kernel: Path) -> None:
    # Relative names: they end up in the messages of the kernel.
    files = (path for path in SOURCES.rglob("*") if path.suffix in (".c", ".S"))
    sources = sorted(str(path.relative_to(SOURCES)) for path in files)
    _run(gcc, *COMPILE, *LINK, "-o", str(kernel), *sources)

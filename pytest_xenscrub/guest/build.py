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

from pytest_xenscrub.cache_folder import cache_root, writing
from pytest_xenscrub.errors import InfrastructureError, MissingToolError

SOURCES: Final = Path(__file__).parent / "kernel"
LINKER_SCRIPT: Final = "kernel.lds"
KERNEL: Final = "xenscrub-guest"
GCC_TIMEOUT: Final = 120.0  # s, for each run of gcc

COMPILE: Final = [
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
    cache = cache or _default_cache()
    if shutil.which("gcc") is None and (kept := _built_before(cache)) is not None:
        return kept
    gcc = _gcc()
    folder = cache / f"{_sources_key()}-{_compiler_key(gcc)}"
    kernel = folder / KERNEL
    if kernel.is_file():
        return kernel
    with writing(folder):
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
    return kernel


def missing_for_kernel(cache: Path | None = None) -> dict[str, str]:
    """What is not there to build the guest's kernel, and Debian's package of each.

    Nothing is missing for a kernel that was built before.
    """
    cache = cache or _default_cache()
    gcc = shutil.which("gcc")
    if gcc is None:
        return {} if _built_before(cache) else {"gcc": "gcc", **_missing_headers(None)}
    if (cache / f"{_sources_key()}-{_compiler_key(gcc)}" / KERNEL).is_file():
        return {}
    return _missing_headers(gcc)


def _missing_headers(gcc: str | None) -> dict[str, str]:
    missing = {"xen/xen.h": "libxen-dev"}
    if gcc is None:
        return {} if Path("/usr/include/xen/xen.h").is_file() else missing
    command = [gcc, "-ffreestanding", "-fsyntax-only", "-xc", "-include", "stdint.h"]
    done = subprocess.run(
        [*command, "-include", "xen/xen.h", "/dev/null"],
        capture_output=True,
        timeout=GCC_TIMEOUT,
        check=False,
    )
    return missing if done.returncode else {}


def _default_cache() -> Path:
    return cache_root() / "guest"


def _built_before(cache: Path) -> Path | None:
    """A kernel of these very sources, whichever compiler made it."""
    return next(iter(sorted(cache.glob(f"{_sources_key()}-*/{KERNEL}"))), None)


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


def _sources_key() -> str:
    """Names a build by what goes into it, but the headers: their layout is an ABI."""
    digest = hashlib.sha256()
    for part in (*COMPILE, *LINK):
        digest.update(part.encode() + b"\0")
    for path in sorted(SOURCES.iterdir()):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _compiler_key(gcc: str) -> str:
    return hashlib.sha256(_gcc_version(gcc).encode()).hexdigest()[:8]


def _compile(gcc: str, kernel: Path) -> None:
    sources = sorted(path.name for path in SOURCES.iterdir() if path.suffix in (".c", ".S"))
    # Relative names: they end up in the messages of the kernel.
    _run(gcc, *COMPILE, *LINK, "-o", str(kernel), *sources)

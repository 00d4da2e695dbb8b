# SPDX-License-Identifier: MIT
"""Compiles the guest's kernel: the same sources and gcc give the same bytes in any folder.

This module imports only the standard library and `errors`, because the wheel's build hook uses it,
too.
"""

from __future__ import annotations

import functools
import hashlib
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Final

from pytest_xenscrub.errors import InfrastructureError, MissingToolError

SOURCES: Final = Path(__file__).parent / "kernel"
LINKER_SCRIPT: Final = "kernel.lds"
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
    # No local symbols: gcc names an assembled file by a random number.
    "-Wl,--discard-all",
]


def digest() -> str:
    """Digest of the kernel's sources and compiler options.

    Leaves out Xen's headers, because their layout is an ABI.
    """
    summed = hashlib.sha256()
    for part in (*COMPILE, *LINK):
        summed.update(part.encode() + b"\0")
    for path in sorted(SOURCES.rglob("*")):
        if path.is_file():
            name = path.relative_to(SOURCES).as_posix()
            summed.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    return summed.hexdigest()[:16]


def find_gcc() -> str:
    """The path of gcc.

    Raises:
        MissingToolError: gcc is not installed.
    """
    gcc = shutil.which("gcc")
    if gcc is None:
        raise MissingToolError(
            "gcc is not installed; the guest's kernel is built with it",
            tried="gcc",
            todo="apt install gcc libxen-dev",
        )
    return gcc


@functools.cache
def gcc_version(gcc: str) -> str:
    """The version that this gcc prints."""
    return _run(gcc, "--version")


def has_headers() -> bool:
    """Whether gcc finds Xen's headers, or would if gcc were installed."""
    gcc = shutil.which("gcc")
    if gcc is None:
        return Path("/usr/include/xen/xen.h").is_file()
    command = [gcc, "-E", "-xc", "-include", "xen/xen.h", "/dev/null"]
    return _gcc(command).returncode == 0


def compile_kernel(gcc: str, kernel: Path) -> None:
    """Compile and link all sources.

    Args:
        gcc: path of the compiler.
        kernel: the ELF file to write.

    Raises:
        MissingToolError: Xen's headers are not installed.
        InfrastructureError: the kernel does not compile.
    """
    files = (path for path in SOURCES.rglob("*") if path.suffix in (".c", ".S"))
    # Relative names, because they appear in the kernel's messages.
    sources = sorted(path.relative_to(SOURCES).as_posix() for path in files)
    _run(gcc, *COMPILE, *LINK, "-o", str(kernel), *sources)


def _gcc(
    command: list[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run gcc, whatever its exit status."""
    try:
        return subprocess.run(
            command,
            cwd=SOURCES,
            capture_output=True,
            text=True,
            timeout=GCC_TIMEOUT,
            check=False,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        raise InfrastructureError(
            f"gcc did not end within {GCC_TIMEOUT:.0f} s", tried=shlex.join(command)
        ) from error


def _run(gcc: str, *args: str) -> str:
    done = _gcc([gcc, *args], {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C"})
    if done.returncode == 0:
        return done.stdout
    if "xen/" in done.stderr and "No such file or directory" in done.stderr:
        raise MissingToolError(
            "the headers of Xen are not installed; the guest's kernel is built with them",
            tried="#include <xen/xen.h>",
            todo="apt install gcc libxen-dev",
        )
    raise InfrastructureError(
        f"the guest's kernel does not build: gcc returned {done.returncode}",
        tried=f"gcc {' '.join(args)}",
        evidence={"gcc": done.stderr},
    )

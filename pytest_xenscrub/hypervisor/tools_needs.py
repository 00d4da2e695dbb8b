# SPDX-License-Identifier: MIT
"""What this machine needs to build Xen's tools, and what it lacks."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import MissingToolError
from pytest_xenscrub.hypervisor.process import run

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline

# The build must use the distribution's Python, because dom0's Debian has no other: dom0 could not
# load bindings for a Python of pyenv or of a venv.
PYTHON = "/usr/bin/python3"
PATH = "/usr/bin:/bin:/usr/sbin:/sbin"
FOUND_BY_AUTOTOOLS = "/usr/share/misc"

PROGRAMS = {
    "autoconf": "autoconf",
    "autoheader": "autoconf",
    "bison": "bison",
    "flex": "flex",
    "gcc": "gcc",
    "iasl": "acpica-tools",
    "make": "make",
    "perl": "perl",
    "python3": "python3",
    "strip": "binutils",
}
HEADERS = {
    "Python.h": "python3-dev",
    "curses.h": "libncurses-dev",
    "uuid/uuid.h": "uuid-dev",
    "yajl/yajl_gen.h": "libyajl-dev",
    "zlib.h": "zlib1g-dev",
}
"""Headers and libraries that the build needs, with their Debian packages."""


def need_packages(deadline: Deadline) -> str:
    """Check that everything is installed, before any work begins; gives the Python version, "3.11".

    Raises:
        MissingToolError: something is missing; the error has one line for apt-get.
    """
    missing, python = _look(deadline)
    if missing:
        raise MissingToolError(
            f"building Xen's tools: not found on this machine: {', '.join(sorted(missing))}",
            todo=f"apt-get install {' '.join(sorted(set(missing.values())))}",
        )
    return python


def missing_packages(deadline: Deadline) -> dict[str, str]:
    """What this machine lacks to build Xen's tools, with Debian's packages."""
    return _look(deadline)[0]


def _look(deadline: Deadline) -> tuple[dict[str, str], str]:
    missing = {name: package for name, package in PROGRAMS.items() if not _has(name)}
    if not os.path.isfile(f"{FOUND_BY_AUTOTOOLS}/config.guess"):  # noqa: PTH113
        missing["config.guess"] = "autotools-dev"
    python = ""
    if not missing.keys() & {"gcc", "python3"}:
        python, header_folder = _python(deadline)
        missing |= _missing_headers(header_folder, deadline)
        status, _ = run([PYTHON, "-c", "import distutils.core"], deadline=deadline)
        if status:
            missing["distutils"] = "python3-setuptools"
    return missing, python


def _has(program: str) -> bool:
    return shutil.which(program, path=PATH) is not None


def _python(deadline: Deadline) -> tuple[str, str]:
    """Version of the distribution's Python, and the folder of its header files."""
    code = "import sysconfig as s; print(s.get_python_version(), s.get_path('include'))"
    _, output = run([PYTHON, "-c", code], deadline=deadline)
    version, _, folder = output.strip().partition(" ")
    return version, folder


def _missing_headers(python_folder: str, deadline: Deadline) -> dict[str, str]:
    """The headers that the compiler does not find, with their packages."""
    argv = ["gcc", "-I", python_folder, "-fsyntax-only", "-xc", "/dev/null", "-include"]
    return {
        header: package
        for header, package in HEADERS.items()
        if run([*argv, header], deadline=deadline, env={"PATH": PATH})[0]
    }

# SPDX-License-Identifier: MIT
"""Builds releases that are older than this machine's compiler and Python."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import MissingToolError
from pytest_xenscrub.hypervisor.process import run

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline

NEWER_WARNINGS = ("address", "array-bounds", "array-parameter")
"""Warnings that later compilers brought, or give for more than they did, and old Xen has."""
_STRICT_SINCE = (4, 17)
"""The first release that came after gcc 12: from here on, all of Xen's own -Werror counts."""
_PYTHON_2 = re.compile(r"^\s*print [^(]", re.M)


def compiler_for(release: tuple[int, int], deadline: Deadline) -> list[str]:
    """Make's argument for a compiler whose newer warnings do not end the build of an old release.

    Such warnings are still printed, and all others are still errors. They are named in `CC`, as no
    variable of make's gets them to each compilation of all releases. `-Wno-error=NAME` beats a
    `-Werror` wherever that stands.
    """
    if release >= _STRICT_SINCE:
        return []
    # A compiler refuses the name of a warning that it does not have.
    _, known = run(["gcc", "--help=warnings"], deadline=deadline)
    names = [name for name in NEWER_WARNINGS if re.search(rf"^\s*-W{name}(?![\w-])", known, re.M)]
    flags = " ".join(f"-Wno-error={name}" for name in names)
    return [f"CC=gcc {flags}"] if flags else []


def python_for(tree: Path, deadline: Deadline) -> dict[str, str]:
    """The Python that a tree's scripts are written for, as a variable of the environment.

    Without it, releases before 4.14 call `python`, which a machine may not have.

    Raises:
        MissingToolError: that is Python 2, and there is none.
    """
    if "PYTHON" in os.environ:
        return {}
    script = tree / "xen" / "tools" / "compat-build-source.py"
    if not script.is_file() or not _PYTHON_2.search(script.read_text(encoding="utf-8")):
        return {"PYTHON": "python3"}
    for name in ("python2", "python2.7"):
        # A name may be there that stands for nothing, such as pyenv's.
        if shutil.which(name) and run([name, "-V"], deadline=deadline)[0] == 0:
            return {"PYTHON": name}
    raise MissingToolError(
        "building Xen: the scripts of this tree are for Python 2: not found on this machine",
        tried="python2, python2.7",
        todo="install Python 2.7 (pyenv install 2.7) and give it as PYTHON=PATH in the environment,"
        " or use a later commit",
    )

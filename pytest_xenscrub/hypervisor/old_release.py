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
"""Warnings that newer compilers added or extended, and that old releases of Xen cause."""
_STRICT_SINCE = (4, 17)
"""The first release after gcc 12; from it on, all warnings of Xen's own -Werror are errors."""
_PYTHON_2 = re.compile(r"^\s*print [^(]", re.M)


def compiler_for(release: tuple[int, int], deadline: Deadline) -> list[str]:
    """Make's argument for a compiler whose newer warnings do not end the build of an old release.

    Such warnings are still printed, and all others are still errors. The options are in `CC`,
    because no other variable of make reaches each compilation in all releases. `-Wno-error=NAME`
    wins over `-Werror` at any place.
    """
    if release >= _STRICT_SINCE:
        return []
    # A compiler rejects the name of a warning that it does not know.
    _, known = run(["gcc", "--help=warnings"], deadline=deadline)
    names = [name for name in NEWER_WARNINGS if re.search(rf"^\s*-W{name}(?![\w-])", known, re.M)]
    flags = " ".join(f"-Wno-error={name}" for name in names)
    return [f"CC=gcc {flags}"] if flags else []


def python_for(tree: Path, deadline: Deadline) -> dict[str, str]:
    """The Python for a tree's scripts, as an environment variable.

    Without it, releases before 4.14 call `python`, which a machine may not have.

    Raises:
        MissingToolError: the scripts need Python 2, which is not installed.
    """
    if "PYTHON" in os.environ:
        return {}
    script = tree / "xen" / "tools" / "compat-build-source.py"
    if not script.is_file() or not _PYTHON_2.search(script.read_text(encoding="utf-8")):
        return {"PYTHON": "python3"}
    for name in ("python2", "python2.7"):
        # A name in PATH may not work, such as pyenv's placeholders.
        if shutil.which(name) and run([name, "-V"], deadline=deadline)[0] == 0:
            return {"PYTHON": name}
    raise MissingToolError(
        "building Xen: the scripts of this tree are for Python 2: not found on this machine",
        tried="python2, python2.7",
        todo="install Python 2.7 (pyenv install 2.7) and give it as PYTHON=PATH in the environment,"
        " or use a later commit",
    )

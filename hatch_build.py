# SPDX-License-Identifier: MIT
"""Builds the guest's kernel into the wheel, so that who installs the wheel needs no compiler.

An editable install gets none: there the kernel is built from its sources when it is first used.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.config import BuilderConfig
from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GuestKernelHook(BuildHookInterface[BuilderConfig]):
    """Adds `pytest_xenscrub/guest/built`: the kernel, and from what it was built."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the kernel before the wheel is packed."""
        if self.target_name != "wheel" or version == "editable":
            return
        sys.path.insert(0, self.root)
        from pytest_xenscrub.errors import XenScrubError  # noqa: PLC0415 - from the folder built
        from pytest_xenscrub.guest import compile  # noqa: A004, PLC0415 - as above

        self._folder = tempfile.TemporaryDirectory(prefix="xenscrub-kernel-")
        kernel, origin = (Path(self._folder.name, name) for name in ("kernel", "origin"))
        try:
            gcc = compile.find_gcc()
            compile.compile_kernel(gcc, kernel)
        except XenScrubError as error:
            evidence = "".join(f"\n{text}" for text in error.evidence.values())
            self.app.abort(f"pytest-xenscrub: {error.what}: {error.todo}{evidence}")
        kernel.chmod(0o644)
        origin.write_text(f"{compile.digest()}\n{compile.gcc_version(gcc)}")
        built = "pytest_xenscrub/guest/built"
        build_data["force_include"] |= {
            str(kernel): f"{built}/xenscrub-guest",
            str(origin): f"{built}/built-from",
        }

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """Remove what was built, now that the wheel has it."""
        if hasattr(self, "_folder"):
            self._folder.cleanup()

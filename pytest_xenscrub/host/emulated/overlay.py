# SPDX-License-Identifier: MIT
"""The disk of an emulated machine: an overlay for dom0's writes, on the image or a saved disk."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from typing import TYPE_CHECKING

from pytest_xenscrub.errors import InfrastructureError
from pytest_xenscrub.units import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.host.emulated.image import Image

_OVERLAY_BYTES = 256 * MIB


def need_room(folder: Path) -> None:
    """Check that there is disk space: write errors in dom0 would not be Xen's fault.

    Raises:
        InfrastructureError: there is too little.
    """
    free = shutil.disk_usage(folder).free
    if free < _OVERLAY_BYTES:
        raise InfrastructureError(
            f"{free // MIB} MiB are free for what dom0 writes to its disk,"
            f" and {_OVERLAY_BYTES // MIB} MiB are needed",
            tried=str(folder),
            todo="make room there, or set TMPDIR to another folder",
        )


def make_overlay(image: Image, snapshot: Path | None, folder: Path) -> None:
    """Make `disk.qcow2` in a folder, an overlay of the image's disk or a saved machine's.

    Raises:
        InfrastructureError: qemu-img failed.
    """
    backing, form = (image.disk, "raw") if snapshot is None else (snapshot / "disk.qcow2", "qcow2")
    command = [
        "qemu-img", "create", "-q", "-f", "qcow2", "-b", str(backing), "-F", form,
        str(folder / "disk.qcow2"),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise InfrastructureError(
            "the overlay of the emulated host's disk could not be made",
            tried=shlex.join(command),
            evidence={"qemu-img": done.stderr},
        )

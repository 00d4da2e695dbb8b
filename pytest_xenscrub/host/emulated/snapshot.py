# SPDX-License-Identifier: MIT
"""Saved machines: finds the one that equals a wanted machine, and removes old ones."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_xenscrub.cache_folder import cache_root
from pytest_xenscrub.host.emulated.numa import numa_options
from pytest_xenscrub.host.emulated.spec import DOM0_OPTIONS, MachineSpec, xen_options

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.host.emulated.accel import Accel
    from pytest_xenscrub.host.emulated.image import Image

KEEP = 6
_FORMAT = 2


def file_hash(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def snapshot_key(image: Image, spec: MachineSpec, accel: Accel, qemu_version: str) -> str:
    """The key of the saved machine that equals the wanted one; without it, a machine must boot."""
    parts = {
        "format": _FORMAT,
        "image": str(image.folder),
        "xen": file_hash(spec.hypervisor or image.hypervisor),
        # QEMU's saved state does not contain the path of dom0's kernel, but the options must be the
        # same.
        "options": [
            xen_options(spec), DOM0_OPTIONS,
            *numa_options(spec.nodes, spec.memory_bytes, spec.cpus),
        ],
        "memory": spec.memory_bytes,
        "cpus": spec.cpus,
        "accel": [accel.name, accel.cpu],
        "qemu": qemu_version,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:20]


class SnapshotStore:
    """The saved machines of this user's cache."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root or cache_root() / "snapshot"

    def find(self, key: str) -> Path | None:
        """The saved machine of that key, marked as used just now; None without one."""
        folder = self.root / key
        if not folder.is_dir():
            return None
        with contextlib.suppress(OSError):
            os.utime(folder)
        return folder

    def lock_path(self, key: str) -> Path:
        """The lock for booting and saving a machine of that key."""
        return self.root / f"{key}.lock"

    def make(self, key: str, save: Callable[[Path], None]) -> Path:
        """Let `save` fill a folder, and make it the saved machine of that key. Atomic."""
        self.root.mkdir(parents=True, exist_ok=True)
        for old in self.root.glob(f"{key}.tmp-*"):
            shutil.rmtree(old, ignore_errors=True)
        work = Path(tempfile.mkdtemp(prefix=f"{key}.tmp-", dir=self.root))
        try:
            save(work)
            for file in work.iterdir():
                file.chmod(0o400)
            self.drop(key)
            work.rename(self.root / key)
        finally:
            shutil.rmtree(work, ignore_errors=True)
        self.prune()
        return self.root / key

    def drop(self, key: str) -> None:
        """Remove a saved machine; a run that uses it has its files open, and goes on."""
        shutil.rmtree(self.root / key, ignore_errors=True)

    def prune(self) -> None:
        """Remove all saved machines but the newest."""
        folders = [p for p in self.root.iterdir() if p.is_dir() and ".tmp-" not in p.name]
        folders.sort(key=lambda path: path.stat().st_mtime, reverse=True)
        for folder in folders[KEEP:]:
            self.drop(folder.name)

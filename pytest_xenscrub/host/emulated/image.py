# SPDX-License-Identifier: MIT
"""The emulated host's disk: a Debian dom0, made once by mmdebstrap, and kept in the cache."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_xenscrub.cache_folder import cache_root, need_room
from pytest_xenscrub.errors import MissingToolError
from pytest_xenscrub.host.emulated.build_once import build_once
from pytest_xenscrub.host.emulated.bzimage import unpack_kernel
from pytest_xenscrub.host.emulated.image_recipe import (
    DISK_BYTES,
    RECIPE,
    apt_sources,
    packages,
    recipe_hash,
)
from pytest_xenscrub.host.emulated.step import (
    AS_ROOT_OF_ITS_OWN,
    check_namespaces,
    run_step,
    search_path,
)

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.telling import Say

_TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
}
_TOOLS_UNPRIVILEGED = {"newuidmap": "uidmap"}

_BUILD_BYTES = 3 << 30
"""Disk space that a build needs: a tree, an archive of the tree, and the disk."""


@dataclass(frozen=True)
class Image:
    """A finished image: a folder of the cache whose content never changes.

    Attributes:
        folder: the folder; its name is the suite and a hash of the recipe.
    """

    folder: Path

    @property
    def disk(self) -> Path:
        """The root file system, ext4, raw: only used as a backing file."""
        return self.folder / "disk.img"

    @property
    def kernel(self) -> Path:
        """dom0's kernel; unpacked if possible, because an emulated Xen unpacks slowly."""
        unpacked = self.folder / "vmlinux"
        return unpacked if unpacked.exists() else self.folder / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """dom0's initramfs."""
        return self.folder / "initrd"

    @property
    def hypervisor(self) -> Path:
        """The suite's own Xen, as an uncompressed ELF file."""
        return self.folder / "xen"

    @property
    def key(self) -> Path:
        """The private key that dom0's root accepts."""
        return self.folder / "key"

    @property
    def host_key(self) -> str:
        """dom0's public ssh host key: type and key."""
        return " ".join((self.folder / "hostkey.pub").read_text().split()[:2])


def _image_folder(suite: str, *, device_model: bool) -> Path:
    what = f"{suite}-hvm" if device_model else suite
    return cache_root() / "image" / f"{what}-{recipe_hash(suite, device_model=device_model)}"


def missing_for_image(suite: str, *, device_model: bool = False) -> dict[str, str]:
    """What this machine lacks to build the image of `suite`, with Debian's packages.

    Nothing is missing for an image that the cache has.
    """
    if _image_folder(suite, device_model=device_model).is_dir():
        return {}
    tools = _TOOLS if os.geteuid() == 0 else _TOOLS | _TOOLS_UNPRIVILEGED
    path = search_path()
    return {tool: pkg for tool, pkg in tools.items() if shutil.which(tool, path=path) is None}


def ensure_image(suite: str, *, say: Say, deadline: Deadline, device_model: bool = False) -> Image:
    """The image of `suite`; built now unless the cache has it.

    Args:
        suite: Debian release.
        say: gets a line for the user when something takes long.
        deadline: limit of the build.
        device_model: whether dom0 has a device model, which HVM guests need; such an image is
            separate.

    Raises:
        MissingToolError: a program that builds the image is not installed.
        InfrastructureError: the build failed, or is not possible here.
        DeadlineExceededError: the build took too long.
    """
    folder = _image_folder(suite, device_model=device_model)
    if folder.is_dir():
        with contextlib.suppress(OSError):
            os.utime(folder)
        return Image(folder)
    if missing := missing_for_image(suite, device_model=device_model):
        raise MissingToolError(
            f"the emulated host's image cannot be built, not installed: {', '.join(missing)}",
            todo=f"apt-get install {' '.join(sorted(set(missing.values())))}",
        )
    check_namespaces()
    need_room(folder.parent, _BUILD_BYTES, f"building the image of a Debian {suite} dom0")
    build_once(
        folder,
        lambda work: _build(suite, packages(suite, device_model=device_model), work, say, deadline),
        say=say,
        deadline=deadline,
    )
    return Image(folder)


def _build(suite: str, included: list[str], work: Path, say: Say, deadline: Deadline) -> None:
    recipe = work / "recipe"
    shutil.copytree(RECIPE, recipe, ignore=shutil.ignore_patterns("__pycache__", "*.pyc"))
    for name in ("key", "hostkey"):
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "xenscrub", "-f", name]
        run_step(command, work, f"{name} of the image", say, deadline)
    for name in ("key.pub", "hostkey", "hostkey.pub"):
        shutil.copy(work / name, recipe / name)
    (work / "out").mkdir()
    sources = apt_sources(suite)
    essential = (
        'mkdir -p "$1/etc/initramfs-tools"; '
        'echo "update_initramfs=no" > "$1/etc/initramfs-tools/update-initramfs.conf"'
    )
    hooks = (
        'mkdir "$1/xenscrub"',
        f"sync-in {shlex.quote(str(recipe))} /xenscrub",
        'chroot "$1" sh /xenscrub/customize',
        f"sync-out /xenscrub/out {shlex.quote(str(work / 'out'))}",
        'rm -rf "$1/xenscrub"',
    )
    command = ["mmdebstrap", "--mode=auto", "--variant=minbase", "--dpkgopt=force-confold"]
    command += [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "man", "locale")]
    command += [f"--include={','.join(included)}", f"--essential-hook={essential}"]
    command += [f"--customize-hook={hook}" for hook in hooks]
    # The archive goes through stdout: a file made in a user namespace would have another owner.
    command += [suite, "-", *(sources or [])]
    run_step(command, work, f"Debian {suite} dom0", say, deadline, stdout=work / "root.tar")
    pack = (
        "mkdir root && tar -C root --exclude='./dev/*' -xf root.tar && "
        f"mke2fs -q -t ext4 -L xenscrub -d root disk.img {DISK_BYTES >> 10} && rm -rf root"
    )
    shell = ["sh", "-c", pack]
    if os.geteuid() != 0:
        shell = [*AS_ROOT_OF_ITS_OWN, *shell]
    run_step(shell, work, "file system of the image", say, deadline)
    for name in ("vmlinuz", "initrd", "xen"):
        shutil.copyfile(work / "out" / name, work / name)
    unpacked = unpack_kernel((work / "vmlinuz").read_bytes())
    if unpacked is not None:
        (work / "vmlinux").write_bytes(unpacked)
    shutil.rmtree(recipe)
    shutil.rmtree(work / "out", ignore_errors=True)
    for name in ("root.tar", "hostkey", "log"):
        (work / name).unlink(missing_ok=True)
    (work / "key").chmod(0o600)
    work.chmod(0o700)

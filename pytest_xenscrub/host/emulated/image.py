# SPDX-License-Identifier: MIT
"""The emulated host's disk: a Debian dom0 made by mmdebstrap, once, and kept in the cache."""

from __future__ import annotations

import contextlib
import hashlib
import lzma
import os
import shlex
import shutil
import struct
import subprocess
import tempfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from pytest_xenscrub.cache_folder import cache_root, need_room, writing
from pytest_xenscrub.errors import ConfigurationError, MissingToolError
from pytest_xenscrub.host.emulated.step import (
    AS_ROOT_OF_ITS_OWN,
    check_namespaces,
    run_step,
    search_path,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.telling import Say

RECIPE = Path(__file__).parent / "recipe"
KEEP = 3
DISK_BYTES = 3 << 30
_FORMAT = 1
"""To be raised where `_build` makes something else of the same recipe."""
XEN_OF_SUITE = {"bookworm": "4.17", "trixie": "4.20"}
PACKAGES = (
    "linux-image-amd64",
    "openssh-server",
    "kmod",
    "iproute2",
    "procps",
    "python3",
    "libvirt-daemon-system",
    "libvirt-daemon-driver-xen",
    "libvirt-clients",
    "netcat-openbsd",
    "busybox-static",
    "cpio",
    "xz-utils",
)
_TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "mke2fs": "e2fsprogs",
    "ssh-keygen": "openssh-client",
    "unshare": "util-linux",
}
_TOOLS_UNPRIVILEGED = {"newuidmap": "uidmap"}

_BUILD_BYTES = 3 << 30
"""What a build takes while it runs: a tree, an archive of it, and the disk."""


@dataclass(frozen=True)
class Image:
    """A finished image: a folder of the cache whose content never changes.

    Attributes:
        folder: where it is; its name is suite and hash of the recipe.
    """

    folder: Path

    @property
    def disk(self) -> Path:
        """The root file system, ext4, raw: only ever a backing file."""
        return self.folder / "disk.img"

    @property
    def kernel(self) -> Path:
        """dom0's kernel; unpacked where that is possible, as Xen unpacks slowly when emulated."""
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


def packages(suite: str) -> list[str]:
    """The Debian packages of a dom0 of `suite`.

    Raises:
        ConfigurationError: the suite is not known.
    """
    version = XEN_OF_SUITE.get(suite)
    if version is None:
        raise ConfigurationError(
            f"no recipe for a dom0 of {suite!r}", todo=f"use one of: {', '.join(XEN_OF_SUITE)}"
        )
    return [f"xen-hypervisor-{version}-amd64", f"xen-utils-{version}", *PACKAGES]


def recipe_hash(suite: str) -> str:
    """Name of what would be built now: any change of the recipe changes it."""
    digest = hashlib.sha256()
    for text in (suite, *packages(suite), str(DISK_BYTES), str(_FORMAT)):
        digest.update(text.encode() + b"\0")
    for path in sorted(RECIPE.iterdir()):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def apt_sources(suite: str) -> list[str]:
    """`deb` lines of this machine's own mirror for `suite`; empty where it has none."""
    command = [
        "apt-get", "indextargets", "--format",
        "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages",
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return []
    wanted = (suite, f"{suite}-updates", f"{suite}-security")
    lines: dict[str, str] = {}
    for line in done.stdout.splitlines():
        fields = line.split()
        if len(fields) == 3 and fields[1] in wanted and fields[2] == "main":  # noqa: PLR2004
            # mmdebstrap finds the key that signs it by itself.
            lines[f"{fields[0]} {fields[1]}"] = f"deb {fields[0]} {fields[1]} main"
    return list(lines.values()) if any(f" {suite} main" in v for v in lines.values()) else []


@contextmanager
def locked(path: Path, deadline: Deadline, say: Say) -> Iterator[None]:
    """Hold a lock file; say so where another run has it.

    Raises:
        CacheUnusableError: the cache cannot be written.
        DeadlineExceededError: it was not let go in time.
    """
    lock = FileLock(path)
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
    except Timeout:
        say(f"another run holds {path.name}: waiting")
        try:
            lock.acquire(timeout=deadline.remaining)
        except Timeout:
            raise deadline.error(lock=str(path)) from None
    try:
        yield
    finally:
        lock.release()


def _image_folder(suite: str) -> Path:
    return cache_root() / "image" / f"{suite}-{recipe_hash(suite)}"


def missing_for_image(suite: str) -> dict[str, str]:
    """What is not there to build the image of `suite`, and Debian's package of each.

    Nothing is missing for an image that the cache has.
    """
    if _image_folder(suite).is_dir():
        return {}
    tools = _TOOLS if os.geteuid() == 0 else _TOOLS | _TOOLS_UNPRIVILEGED
    path = search_path()
    return {tool: pkg for tool, pkg in tools.items() if shutil.which(tool, path=path) is None}


def ensure_image(suite: str, *, say: Say, deadline: Deadline) -> Image:
    """The image of `suite`, built now if the cache does not have it.

    Raises:
        MissingToolError: a program that builds it is not installed.
        InfrastructureError: the build failed, or cannot be done here.
        DeadlineExceededError: the build took too long.
    """
    folder = _image_folder(suite)
    if folder.is_dir():
        with contextlib.suppress(OSError):
            os.utime(folder)
        return Image(folder)
    if missing := missing_for_image(suite):
        raise MissingToolError(
            f"the emulated host's image cannot be built, not installed: {', '.join(missing)}",
            todo=f"apt-get install {' '.join(sorted(set(missing.values())))}",
        )
    check_namespaces()
    need_room(folder.parent, _BUILD_BYTES, f"building the image of a Debian {suite} dom0")
    build_once(
        folder,
        lambda work: _build(suite, work, say, deadline),
        say=say,
        deadline=deadline,
    )
    return Image(folder)


def build_once(
    folder: Path, build: Callable[[Path], None], *, say: Say, deadline: Deadline
) -> None:
    """Have `build` fill a folder of the cache unless it is there: whole, or not at all.

    Raises:
        DeadlineExceededError: another run that builds it took too long.
    """
    with locked(folder.parent / f"{folder.name}.lock", deadline, say):
        if folder.is_dir():
            with contextlib.suppress(OSError):
                os.utime(folder)
            return
        _sweep(folder.parent, f"{folder.name}.tmp-")
        with writing(folder):
            work = Path(tempfile.mkdtemp(prefix=f"{folder.name}.tmp-", dir=folder.parent))
            try:
                build(work)
                work.rename(folder)
                _prune(folder.parent)
            finally:
                shutil.rmtree(work, ignore_errors=True)


def _sweep(parent: Path, prefix: str) -> None:
    """Remove what killed builds left; the caller holds the lock."""
    for old in parent.glob(f"{prefix}*"):
        shutil.rmtree(old, ignore_errors=True)


def _prune(parent: Path) -> None:
    """Remove the images that were not used for longest; who runs from one has its files open."""
    images = [path for path in parent.iterdir() if path.is_dir() and ".tmp-" not in path.name]
    images.sort(key=lambda path: path.stat().st_mtime, reverse=True)
    for old in images[KEEP:]:
        shutil.rmtree(old, ignore_errors=True)


def _build(suite: str, work: Path, say: Say, deadline: Deadline) -> None:
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
    command += [f"--include={','.join(packages(suite))}", f"--essential-hook={essential}"]
    command += [f"--customize-hook={hook}" for hook in hooks]
    # The archive goes through our own stdout: in a user namespace the file would not be ours.
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


def unpack_kernel(image: bytes) -> bytes | None:
    """The ELF file inside a bzImage, or None where it is packed in a way that we cannot read."""
    if image[0x202:0x206] != b"HdrS":
        return None
    sectors = image[0x1F1] or 4
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = (sectors + 1) * 512 + offset
    payload = image[start : start + length]
    try:
        if payload.startswith(b"\xfd7zXZ"):
            unpacked = lzma.LZMADecompressor().decompress(payload)
        elif payload.startswith(b"\x1f\x8b"):
            unpacked = zlib.decompressobj(31).decompress(payload)
        else:
            return None
    except (lzma.LZMAError, zlib.error):
        return None
    return unpacked if unpacked.startswith(b"\x7fELF") else None

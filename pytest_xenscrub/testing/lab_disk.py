# SPDX-License-Identifier: MIT
"""The lab machine's disk: the emulated host's root file system in a partition, with GRUB.

Needs no mounts and no root: the file system is copied into its partition, and debugfs adds the
files.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import struct
import subprocess
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_xenscrub.cache_folder import cache_root
from pytest_xenscrub.errors import InfrastructureError, MissingToolError
from pytest_xenscrub.host.emulated.build_once import build_once
from pytest_xenscrub.host.emulated.image_recipe import DISK_BYTES
from pytest_xenscrub.host.emulated.spec import DOM0_OPTIONS, XEN_OPTIONS
from pytest_xenscrub.host.emulated.step import run_step, search_path

if TYPE_CHECKING:
    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.host.emulated.image import Image
    from pytest_xenscrub.telling import Say

RECIPE = Path(__file__).parent / "lab_recipe"
MODULES = Path("/usr/lib/grub/i386-pc")
_FORMAT = 1
"""Increase this number when `_build` makes another disk of the same recipe."""
_SECTOR = 512
_START = 1 << 20
"""Begin of the partition, bytes; GRUB's core image is before it."""
_BOOT_CODE = 440
"""Size of the code in the first sector, bytes; the partition table follows."""
_TOOLS = {
    "grub-mkimage": "grub-common",
    "grub-editenv": "grub-common",
    "debugfs": "e2fsprogs",
    "cp": "coreutils",
    "ldd": "libc-bin",
}


def ensure_lab_disk(image: Image, *, say: Say, deadline: Deadline) -> Path:
    """The disk of a lab machine with the dom0 of `image`; made now unless the cache has it.

    Returns:
        A raw disk image with an MBR; only used as a backing file.

    Raises:
        MissingToolError: GRUB, or a program that makes the disk, is not installed.
        InfrastructureError: the disk could not be made.
        DeadlineExceededError: it took too long.
    """
    _check_tools()
    name = f"{image.folder.name}-{_recipe_hash()}"
    folder = cache_root() / "lab" / name
    build_once(
        folder,
        lambda work: _build(image, work, say, deadline),
        say=say,
        deadline=deadline,
    )
    return folder / "disk.img"


def _check_tools() -> None:
    missing = {
        package
        for tool, package in _TOOLS.items()
        if shutil.which(tool, path=search_path()) is None
    }
    if not (MODULES / "boot.img").exists():
        missing.add("grub-pc-bin")
    if missing:
        raise MissingToolError(
            "GRUB for a BIOS, or what puts it on the lab machine's disk, is not installed",
            todo=f"apt-get install {' '.join(sorted(missing))}",
        )


def _recipe_hash() -> str:
    """Hash of the recipe, which includes this machine's GRUB."""
    digest = hashlib.sha256(f"{_FORMAT}\0{XEN_OPTIONS}\0{DOM0_OPTIONS}\0".encode())
    for path in [*sorted(RECIPE.iterdir()), MODULES / "boot.img", MODULES / "kernel.img"]:
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _build(image: Image, work: Path, say: Say, deadline: Deadline) -> None:
    disk = work / "disk.img"
    place(image.disk, disk, _START)
    deadline.check()
    boot = _list(disk, "/boot")
    release = _one(r"vmlinuz-(\S+)", boot)
    stage = work / "stage"
    for folder in ("boot/grub/i386-pc", "usr/local/lib/grub", "usr/local/sbin", "etc"):
        (stage / folder).mkdir(parents=True)
    words = {
        "RELEASE": release,
        "XEN": _one(r"xen-([0-9][0-9.]*-amd64)\.gz", boot),
        "UUID": file_system_uuid(image.disk),
        "XEN_OPTIONS": XEN_OPTIONS,
        "DOM0_OPTIONS": DOM0_OPTIONS,
    }
    config = (RECIPE / "grub.cfg").read_text()
    for word, value in words.items():
        config = config.replace(f"@{word}@", value)
    grub = stage / "boot/grub"
    (grub / "grub.cfg").write_text(config)
    command = ["grub-editenv", str(grub / "grubenv"), "create"]
    run_step(command, work, "GRUB environment", say, deadline)
    for path in MODULES.iterdir():
        if path.suffix in (".mod", ".lst"):
            shutil.copy(path, grub / "i386-pc")
    # The kernel unpacks archives one after the other; a file of a later one replaces an earlier
    # one.
    init = cpio_file("init", (RECIPE / "initramfs-init").read_bytes())
    (stage / f"boot/initrd.img-{release}").write_bytes(image.initrd.read_bytes() + init)
    for name in ("reboot", "grub-editenv"):
        shutil.copy(RECIPE / name, stage / "usr/local/sbin")
        (stage / "usr/local/sbin" / name).chmod(0o755)
    _copy_program("grub-editenv", stage / "usr/local/lib/grub")
    (stage / "etc/fstab").write_text("/dev/vda1 / ext4 rw,noatime 0 0\n")
    new = ["boot/grub", "boot/grub/i386-pc", "usr/local/lib/grub"]
    _add(disk, stage, [f"mkdir /{folder}" for folder in new] + ["rm /etc/fstab"])
    command = [
        "grub-mkimage", "-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub",
        "-o", str(work / "core.img"), "biosdisk", "part_msdos", "ext2",
    ]  # fmt: skip
    run_step(command, work, "GRUB core image", say, deadline)
    _write_boot_code(disk, (work / "core.img").read_bytes())
    shutil.rmtree(stage)
    for name in ("core.img", "log"):
        (work / name).unlink(missing_ok=True)
    work.chmod(0o700)


def place(source: Path, target: Path, at: int) -> None:
    """Copy a file into another at an offset in bytes; holes stay holes."""
    with source.open("rb") as origin, target.open("wb") as copy:
        size = os.fstat(origin.fileno()).st_size
        os.ftruncate(copy.fileno(), at + size)
        position = 0
        while position < size:
            try:
                position = os.lseek(origin.fileno(), position, os.SEEK_DATA)
            except OSError as error:
                if error.errno != errno.ENXIO:
                    raise
                break  # only a hole is left
            end = os.lseek(origin.fileno(), position, os.SEEK_HOLE)
            while position < end:
                position += os.copy_file_range(
                    origin.fileno(), copy.fileno(), min(end - position, 1 << 27),
                    position, at + position,
                )  # fmt: skip


def file_system_uuid(disk: Path) -> str:
    """The UUID of an ext4 file system, as GRUB and blkid write it."""
    with disk.open("rb") as file:
        file.seek(1024 + 0x68)
        return str(uuid.UUID(bytes=file.read(16)))


def cpio_file(name: str, content: bytes) -> bytes:
    """A cpio archive for the kernel, with one executable file."""
    inode = 0

    def entry(name: str, mode: int, content: bytes) -> bytes:
        nonlocal inode
        inode += 1
        fields = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
        head = b"070701" + "".join(f"{field:08X}" for field in fields).encode()
        return _padded(head + name.encode() + b"\0") + _padded(content)

    archive = entry(name, 0o100755, content) + entry("TRAILER!!!", 0, b"")
    return archive + b"\0" * (-len(archive) % _SECTOR)


def _padded(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % 4)


def master_boot_record(boot_code: bytes, sectors: int) -> bytes:
    """The first sector: code, and one active Linux partition of `sectors` sectors."""
    # This value means "not addressable by cylinders", which are not used any more.
    beyond = b"\xfe\xff\xff"
    first = _START // _SECTOR
    partition = b"\x80" + beyond + b"\x83" + beyond + struct.pack("<II", first, sectors)
    code = boot_code[:_BOOT_CODE].ljust(_BOOT_CODE + 6, b"\0")
    return code + partition.ljust(64, b"\0") + b"\x55\xaa"


def _write_boot_code(disk: Path, core: bytes) -> None:
    if len(core) > _START - _SECTOR:
        raise InfrastructureError("GRUB's core image does not fit before the first partition")
    with disk.open("r+b") as file:
        boot_code = (MODULES / "boot.img").read_bytes()
        file.write(master_boot_record(boot_code, DISK_BYTES // _SECTOR) + core)


def _copy_program(name: str, into: Path) -> None:
    """Copy one of this machine's programs, with its libraries and their loader."""
    program = shutil.which(name, path=search_path()) or name
    shutil.copy(program, into)
    done = subprocess.run(["ldd", program], capture_output=True, text=True, check=False)
    libraries = re.findall(r"(/\S+) \(0x", done.stdout)
    if done.returncode != 0 or not libraries:
        raise InfrastructureError(
            f"the libraries of {name} are not known",
            tried=f"ldd {program}",
            evidence={"ldd": done.stdout + done.stderr},
        )
    for library in libraries:
        shutil.copy(library, into)


def _debugfs(disk: Path, *arguments: str) -> str:
    """Run debugfs on the partition; fails by its messages, because its exit status is always 0."""
    command = ["debugfs", *arguments, f"{disk.name}?offset={_START}"]
    done = subprocess.run(
        command,
        cwd=disk.parent,
        env={**os.environ, "PATH": search_path(), "LC_ALL": "C", "DEBUGFS_PAGER": "cat"},
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stderr.splitlines() if not line.startswith("debugfs 1.")]
    if done.returncode != 0 or complaints:
        raise InfrastructureError(
            "the files of the lab machine's disk could not be written",
            tried=" ".join(command),
            evidence={"debugfs": "\n".join(complaints)},
        )
    return done.stdout


def _list(disk: Path, folder: str) -> str:
    """Names in a folder of the disk, one on each line."""
    listing = _debugfs(disk, "-R", f"ls -p {folder}")
    # /inode/mode/uid/gid/name/size/
    return "\n".join(line.split("/")[5] for line in listing.splitlines() if line.count("/") > 5)  # noqa: PLR2004


def _one(pattern: str, names: str) -> str:
    match = re.search(rf"^{pattern}$", names, re.MULTILINE)
    if match is None:
        raise InfrastructureError(
            "dom0's image does not have what a lab machine boots",
            tried=f"/boot, a file {pattern}",
            evidence={"/boot": names},
        )
    return match[1]


def _add(disk: Path, stage: Path, commands: list[str]) -> None:
    """Add all files of `stage` to the disk, after `commands` of debugfs."""
    files = sorted(path.relative_to(stage) for path in stage.rglob("*") if path.is_file())
    script = stage.parent / "debugfs"
    lines = [*commands, *(f"write {stage.name}/{file} /{file}" for file in files)]
    script.write_text("\n".join(lines) + "\n")
    _debugfs(disk, "-w", "-f", script.name)
    script.unlink()

# SPDX-License-Identifier: MIT
from __future__ import annotations

import lzma
import struct
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import (
    ConfigurationError,
    DeadlineExceededError,
    InfrastructureError,
    MissingToolError,
)
from pytest_xenscrub.host.emulated import image as module
from pytest_xenscrub.host.emulated import image_recipe, step
from pytest_xenscrub.host.emulated.bzimage import unpack_kernel
from pytest_xenscrub.host.emulated.image import ensure_image
from pytest_xenscrub.host.emulated.image_recipe import packages, recipe_hash

if TYPE_CHECKING:
    from pathlib import Path

# Does what the hooks of the real one do: fills out/; its working directory is the build's.
MMDEBSTRAP = """
case " $* " in *" bookworm - "*) ;; *) exit 9 ;; esac
for name in vmlinuz initrd xen; do echo $name > out/$name; done
echo once >> "$COUNT"
echo archive
"""
UNSHARE = 'while [ "$1" != -- ]; do shift; done; shift; exec "$@"'


class Machine:
    """A machine whose tools are shell scripts."""

    def __init__(self, root: Path) -> None:
        self.bin, self.cache, self.count = root / "bin", root / "cache", root / "count"
        self.bin.mkdir()
        self.tool("mmdebstrap", MMDEBSTRAP)
        self.tool("tar", "cat root.tar >/dev/null")
        self.tool("mke2fs", "echo disk > disk.img")
        self.tool("apt-get", "exit 1")
        self.tool("newuidmap", "")
        self.tool("unshare", UNSHARE)

    def tool(self, name: str, script: str) -> None:
        (self.bin / name).write_text(f"#!/bin/sh\n{script}\n")
        (self.bin / name).chmod(0o755)

    def left(self) -> list[str]:
        """What is in the cache but locks."""
        folder = self.cache / "image"
        return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setenv("PATH", f"{made.bin}:/usr/sbin:/usr/bin:/sbin:/bin")
    monkeypatch.setenv("COUNT", str(made.count))
    monkeypatch.setattr(module, "cache_root", lambda: made.cache)
    return made


def build(lines: list[str] | None = None, seconds: float = 60) -> module.Image:
    say = (lines if lines is not None else []).append
    return ensure_image("bookworm", say=say, deadline=Deadline.after(seconds, "image"))


def test_an_image_is_built_once_and_whole(machine: Machine) -> None:
    first = build()
    assert build() == first
    assert machine.count.read_text() == "once\n"
    assert machine.left() == [first.folder.name]
    assert first.disk.read_text() == "disk\n"
    assert first.host_key.startswith("ssh-ed25519 ")
    assert first.key.stat().st_mode & 0o777 == 0o600
    assert first.folder.stat().st_mode & 0o777 == 0o700
    assert not (first.folder / "hostkey").exists()


def test_two_runs_build_once(machine: Machine) -> None:
    machine.tool("mke2fs", "sleep 0.5; echo disk > disk.img")
    lines: list[str] = []
    with ThreadPoolExecutor() as pool:
        images = {f.result().folder for f in [pool.submit(build, lines) for _ in range(2)]}
    assert len(images) == 1
    assert machine.count.read_text() == "once\n"
    assert any("another run" in line for line in lines)


def test_a_failed_build_shows_why_and_leaves_nothing(machine: Machine) -> None:
    machine.tool("mmdebstrap", "echo 'E: 404 Not Found' >&2; exit 25")
    with pytest.raises(InfrastructureError, match="mmdebstrap returned 25") as caught:
        build()
    assert "E: 404 Not Found" in str(caught.value)
    assert machine.left() == []


@pytest.mark.parametrize(
    ("words", "todo"),
    [
        ("E: unshare() failed: Operation not permitted", "--cap-add=SYS_ADMIN"),
        ("E: mount failed, use --skip=check/canmount", "--cap-add=SYS_ADMIN"),
        ("tar: ./x: Cannot write: No space left on device", "make room"),
        ("E: Temporary failure resolving 'deb.debian.org'", "check the Debian mirror"),
        ("nothing that is known", "the next run starts anew"),
    ],
)
def test_a_failed_build_says_what_to_do(machine: Machine, words: str, todo: str) -> None:
    machine.tool("mmdebstrap", f'echo "{words}" >&2; exit 1')
    with pytest.raises(InfrastructureError) as caught:
        build()
    assert todo in caught.value.todo
    assert words in str(caught.value)


def test_a_build_needs_room_on_the_caches_disk(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_BUILD_BYTES", 1 << 60)
    with pytest.raises(InfrastructureError, match=r"bookworm dom0 needs .* are free"):
        build()
    assert not machine.count.exists()


def test_a_user_without_namespaces_is_told_before_the_build(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    machine.tool("unshare", "echo 'unshare: unshare failed: No space left on device' >&2; exit 1")
    with pytest.raises(InfrastructureError, match="not create user namespaces") as caught:
        build()
    assert "unshare failed" in str(caught.value)
    assert not machine.count.exists()


def test_what_a_killed_build_left_is_removed(machine: Machine) -> None:
    left = machine.cache / "image" / f"bookworm-{recipe_hash('bookworm')}.tmp-dead"
    left.mkdir(parents=True)
    build()
    assert not left.exists()


def test_a_build_that_takes_too_long_is_ended(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step, "_STEP_SECONDS", 0.1)
    machine.tool("mmdebstrap", "exec sleep 60")
    lines: list[str] = []
    with pytest.raises(DeadlineExceededError):
        build(lines, 0.5)
    assert machine.left() == []
    assert any("building Debian bookworm dom0" in line for line in lines)


def test_all_missing_tools_are_named_with_their_packages(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine.bin / "mmdebstrap").unlink()
    monkeypatch.setattr(module, "search_path", lambda: str(machine.bin))
    with pytest.raises(MissingToolError, match="mmdebstrap") as caught:
        build()
    # There is no ssh-keygen on this machine either.
    assert caught.value.todo == "apt-get install mmdebstrap openssh-client"


def test_the_machines_own_mirror_is_used(machine: Machine) -> None:
    listing = "http://mirror/debian/ bookworm main\\nhttp://mirror/debian/ bookworm contrib\\n"
    machine.tool("apt-get", f"printf '{listing}http://x/ trixie main\\n'")
    assert image_recipe.apt_sources("bookworm") == ["deb http://mirror/debian/ bookworm main"]
    assert image_recipe.apt_sources("sid") == []


def test_the_hash_follows_recipe_and_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = recipe_hash("bookworm")
    assert before == recipe_hash("bookworm")
    assert before != recipe_hash("trixie")
    recipe = tmp_path / "recipe"
    recipe.mkdir()
    for path in image_recipe.RECIPE.iterdir():
        (recipe / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(image_recipe, "RECIPE", recipe)
    assert recipe_hash("bookworm") == before
    with (recipe / "init").open("a") as file:
        file.write("\n")
    assert recipe_hash("bookworm") != before


def test_a_device_model_makes_an_image_of_its_own(machine: Machine) -> None:
    plain = build()
    deadline = Deadline.after(60, "image")
    other = ensure_image("bookworm", say=print, deadline=deadline, device_model=True)
    assert machine.left() == sorted([plain.folder.name, other.folder.name])
    assert other.folder.name.startswith("bookworm-hvm-")
    assert "qemu-system-xen" in packages("bookworm", device_model=True)
    assert "qemu-system-xen" not in packages("bookworm")
    assert build() == plain


def test_an_unknown_suite_is_the_users_error() -> None:
    with pytest.raises(ConfigurationError, match="woody"):
        recipe_hash("woody")


def bzimage(payload: bytes) -> bytes:
    head = bytearray(0x400)
    head[0x1F1] = 1
    head[0x202:0x206] = b"HdrS"
    struct.pack_into("<II", head, 0x248, 16, len(payload))
    return bytes(head) + bytes(16) + payload


def test_a_kernel_is_unpacked_where_that_is_possible() -> None:
    elf = b"\x7fELF" + bytes(1000)
    assert unpack_kernel(bzimage(lzma.compress(elf) + b"size")) == elf
    assert unpack_kernel(bzimage(lzma.compress(b"no kernel"))) is None
    assert unpack_kernel(bzimage(b"\x28\xb5\x2f\xfd")) is None
    assert unpack_kernel(bytes(4096)) is None

# SPDX-License-Identifier: MIT
"""Chooses QEMU's accelerator: KVM if it works on this machine, software emulation otherwise."""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pytest_xenscrub.cache_folder import cache_root
from pytest_xenscrub.errors import InfrastructureError, MissingToolError, XenScrubError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.telling import Say

T = TypeVar("T")


@dataclass(frozen=True)
class Accel:
    """An accelerator and its CPU model."""

    name: str
    option: str
    cpu: str


KVM = Accel("KVM", "kvm", "host")
# Under emulation, other models crash Linux on Xen, or lack features. PVH guests need nested paging,
# and Debian's Xen supports only hardware-assisted paging (HAP).
TCG = Accel("TCG", "tcg,thread=multi", "qemu64,+svm,+npt,+pdpe1gb")

KVM_SILENT_SECONDS = 20.0
"""Longest wait for the first output of Xen or GRUB with KVM, where it normally takes a second. KVM
is given up after that: some machines offer KVM, but Xen does not run with it."""


def missing_qemu() -> dict[str, str]:
    """QEMU's programs that are missing, with Debian's packages."""
    programs = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils"}
    return {name: package for name, package in programs.items() if shutil.which(name) is None}


def qemu_path() -> str:
    """The path of QEMU.

    Raises:
        MissingToolError: QEMU is not installed.
    """
    path = shutil.which("qemu-system-x86_64")
    if path is None or shutil.which("qemu-img") is None:
        raise MissingToolError(
            "qemu-system-x86_64 or qemu-img is not installed",
            todo="apt-get install qemu-system-x86 qemu-utils",
        )
    return path


@functools.cache
def qemu_version(path: str) -> str:
    """First line of `qemu-system-x86_64 --version`."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.splitlines()[0] if done.stdout else "unknown"


@functools.cache
def best_accel(path: str) -> Accel:
    """KVM if a QEMU with KVM starts, else TCG; that /dev/kvm exists does not prove enough."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return TCG
    command = [
        path, "-accel", "kvm", "-cpu", "host", "-display", "none", "-nodefaults",
        "-machine", "pc", "-m", "16", "-S", "-monitor", "stdio",
    ]  # fmt: skip
    try:
        done = subprocess.run(
            command, input=b"quit\n", capture_output=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return TCG
    return KVM if done.returncode == 0 else TCG


def choose_accel(path: str, wanted: str, say: Say) -> Accel:
    """The accelerator that the user wants: "kvm", "tcg", or "auto" for the best.

    Args:
        path: path of QEMU.
        wanted: one of these words.
        say: gets a line if KVM is left out because no Xen booted with it before.

    Raises:
        InfrastructureError: the user wants KVM, and QEMU does not start with it.
    """
    if wanted == "tcg":
        return TCG
    if wanted == "auto" and _was_refused(path):
        say("no Xen booted with KVM on this machine, so TCG is used (--xen-accel=kvm tries again)")
        return TCG
    best = best_accel(path)
    if wanted == "kvm" and best is not KVM:
        raise InfrastructureError(
            "KVM cannot be used here, and --xen-accel=kvm asks for it",
            tried=f"{path} -accel kvm, with /dev/kvm",
            todo="give this user /dev/kvm (group kvm), or say --xen-accel=tcg",
        )
    return best


def start_or_fall_back(
    accel: Accel, start: Callable[[Accel, Deadline], T], *, path: str, say: Say, deadline: Deadline
) -> T:
    """Start a machine, and start it with TCG if it does not start with KVM.

    KVM is given up for later runs only if the same machine then starts with TCG. A machine that
    starts with neither, such as one with a broken Xen, tells nothing about KVM.

    Args:
        accel: the accelerator to try first.
        start: starts the machine by a deadline; removes a machine that did not start before it
            raises.
        path: path of QEMU.
        say: gets a line if KVM is given up.
        deadline: limit for both attempts; KVM gets half of the time that is left.
    """
    if accel is not KVM:
        return start(accel, deadline)
    try:
        return start(KVM, deadline.within(deadline.remaining / 2, f"{deadline.step} (KVM)"))
    except XenScrubError as error:
        first = str(error).splitlines()[0]
        say(f"it did not boot with KVM, so TCG is used from now on: {first}")
    started = start(TCG, deadline)
    refuse_kvm(path)
    return started


def refuse_kvm(path: str) -> None:
    """Make "auto" choose TCG until this machine reboots, because no Xen boots with KVM here.

    A cache that cannot be written is not an error: the next run tries KVM again.
    """
    with contextlib.suppress(InfrastructureError, OSError):
        refusal = _refusal()
        refusal.parent.mkdir(parents=True, exist_ok=True)
        refusal.write_text(_this_machine(path))


def _was_refused(path: str) -> bool:
    try:
        return _refusal().read_text() == _this_machine(path)
    except (InfrastructureError, OSError, ValueError):
        return False


def _refusal() -> Path:
    return cache_root() / "kvm-refused"


def _this_machine(path: str) -> str:
    """What KVM depends on: the running kernel's boot, and QEMU."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    return f"{platform.release()}\n{boot.strip()}\n{qemu_version(path)}\n"

# SPDX-License-Identifier: MIT
"""Which accelerator QEMU has here: KVM where it works, software emulation elsewhere."""

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
from pytest_xenscrub.limits import available_memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest_xenscrub.deadline import Deadline
    from pytest_xenscrub.telling import Say

T = TypeVar("T")

_GIB = 1 << 30
_STEP = 256 << 20
_LEAST = 2 * _GIB
_MOST = 8 * _GIB


@dataclass(frozen=True)
class Accel:
    """An accelerator and the processor model that goes with it."""

    name: str
    option: str
    cpu: str


KVM = Accel("KVM", "kvm", "host")
# Other models crash Linux below Xen under emulation, or lack what it needs. PVH guests need nested
# paging, and Debian's Xen has no other kind.
TCG = Accel("TCG", "tcg,thread=multi", "qemu64,+svm,+npt,+pdpe1gb")

KVM_SILENT_SECONDS = 20.0
"""Xen, or GRUB, speaks a second after QEMU's start where KVM works. Where nothing is heard, KVM is
given up: it can be had, and run nothing."""


def missing_qemu() -> dict[str, str]:
    """The programs of QEMU's that are not there, and Debian's package of each."""
    programs = {"qemu-system-x86_64": "qemu-system-x86", "qemu-img": "qemu-utils"}
    return {name: package for name, package in programs.items() if shutil.which(name) is None}


def qemu_path() -> str:
    """Where QEMU is.

    Raises:
        MissingToolError: it is not installed.
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
    """KVM if a QEMU that uses it comes up, else TCG. A look at /dev/kvm would not be enough."""
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
        path: QEMU.
        wanted: one of these.
        say: told where KVM is left out because no Xen booted with it.

    Raises:
        InfrastructureError: KVM is wanted, and does not come up here.
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
    """Start a machine, and with TCG where it does not start with KVM.

    KVM is refused only once the same machine has started with TCG: one that starts with neither,
    as a Xen that is broken, says nothing of KVM.

    Args:
        accel: what to start with.
        start: starts the machine by a deadline; what did not start is gone when it raises.
        path: QEMU.
        say: told where KVM is given up.
        deadline: for all of it; KVM gets half of what is left.
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
    """Have "auto" be TCG until this machine is started anew: only a real boot tells of KVM.

    A cache that cannot be written is no error: the next run tries again.
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
    """What KVM depends on: the kernel, since it was started, and QEMU."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    return f"{platform.release()}\n{boot.strip()}\n{qemu_version(path)}\n"


def default_memory_bytes(share_with: int = 1) -> int:
    """Memory for an emulated host: half of what is available, 8 GiB at most, bytes.

    Args:
        share_with: how many hosts share that half.

    Raises:
        InfrastructureError: that is too little for a dom0 and a guest.
    """
    memory = available_memory()
    return memory_for(memory.available // share_with, memory.why)


def memory_for(available: int, why: str = "this machine") -> int:
    """What `default_memory_bytes` says where `available` bytes are available, and what of."""
    memory = min(available // 2, _MOST) // _STEP * _STEP
    if memory < _LEAST:
        raise InfrastructureError(
            f"too little memory for an emulated host: {available / _GIB:.1f} GiB are available"
            f" (limit: {why}), it gets half, and it needs at least {_LEAST / _GIB:.0f} GiB",
            todo="close other programs, raise the limit, or say --xen-host-memory yourself",
        )
    return memory


def check_memory(wanted: int) -> int:
    """Check that the wanted memory is available, as an emulated host ends up using all of it.

    Raises:
        InfrastructureError: there is less; the kernel would kill QEMU, or the run.
    """
    memory = available_memory()
    if wanted > memory.available:
        raise InfrastructureError(
            f"--xen-host-memory asks for {wanted / _GIB:.1f} GiB, but only"
            f" {memory.available / _GIB:.1f} GiB are available (limit: {memory.why})",
            todo="ask for less, close other programs, or raise the limit",
        )
    return wanted

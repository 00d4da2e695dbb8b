# SPDX-License-Identifier: MIT
"""The recipe of dom0's image: Debian's packages for each suite, the mirror, the image's name."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

from pytest_xenscrub.errors import ConfigurationError

RECIPE = Path(__file__).parent / "recipe"
DISK_BYTES = 3 << 30
_FORMAT = 1
"""Increase this number when the same recipe makes another image."""
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

DEVICE_MODEL_PACKAGES = ("qemu-system-xen",)
"""Further packages of a dom0 that starts HVM guests; other images do without these 100 MiB."""


def packages(suite: str, *, device_model: bool = False) -> list[str]:
    """The Debian packages of a dom0 of `suite`, with or without a device model for HVM guests.

    Raises:
        ConfigurationError: the suite is not known.
    """
    version = XEN_OF_SUITE.get(suite)
    if version is None:
        raise ConfigurationError(
            f"no recipe for a dom0 of {suite!r}", todo=f"use one of: {', '.join(XEN_OF_SUITE)}"
        )
    further = DEVICE_MODEL_PACKAGES if device_model else ()
    return [f"xen-hypervisor-{version}-amd64", f"xen-utils-{version}", *PACKAGES, *further]


def recipe_hash(suite: str, *, device_model: bool = False) -> str:
    """Hash of the recipe of a suite: any change of the recipe changes it."""
    names = packages(suite, device_model=device_model)
    digest = hashlib.sha256()
    for text in (suite, *names, str(DISK_BYTES), str(_FORMAT)):
        digest.update(text.encode() + b"\0")
    for path in sorted(RECIPE.iterdir()):
        if path.is_file():
            digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def apt_sources(suite: str) -> list[str]:
    """`deb` lines of this machine's mirror for `suite`; empty if it has none."""
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

# SPDX-License-Identifier: MIT
"""Finds what a run needs and this machine lacks, and reports all of it before any host is started.

Each room knows its own needs; this module asks the rooms that the run uses.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.errors import MissingToolError
from pytest_xenscrub.toolstack.libvirt import INSTALL, NEEDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pytest_xenscrub.hypervisor.choice import Xens

SECONDS = 60.0
_TIED = {"setpriv": "util-linux", "ssh": "openssh-client"}
"""Programs that every host needs on this machine, with their Debian packages."""


@dataclass(frozen=True)
class Wanted:
    """What a run asks for.

    Attributes:
        suite: the Debian release of an emulated host; empty for machines over ssh.
        variants: the Xens, by name.
        toolstacks: the toolstacks, by name.
        device_model: whether an emulated dom0 must be able to start HVM guests.
        labgrid: labgrid's program; empty if the run uses none of labgrid's places.
    """

    suite: str
    variants: Iterable[str]
    toolstacks: Iterable[str]
    device_model: bool = False
    labgrid: str = ""


def check(wanted: Wanted, xens: Xens) -> None:
    """Look for everything that a run needs, except the tools to build what the cache already has.

    Raises:
        MissingToolError: something is missing; the error names all of it, and the one command that
            installs it.
    """
    if wanted.labgrid and shutil.which(wanted.labgrid) is None:
        from pytest_xenscrub.host.labgrid import missing  # noqa: PLC0415 - seldom asked for

        raise missing(wanted.labgrid)
    lacking, pip = _lacking(wanted, xens)
    if not lacking and not pip:
        return
    packages = {package for missing in lacking.values() for package in missing.values()}
    said = {purpose: ", ".join(sorted(missing)) for purpose, missing in lacking.items()}
    command = f"apt-get install {' '.join(sorted(packages | set(NEEDS if pip else ())))}"
    if pip:
        said["--xen-toolstack=libvirt"] = pip
        command += f" && {INSTALL}"
    raise MissingToolError(
        "programs or libraries that this run needs are missing on this machine"
        " (no host was started, nothing was built)",
        todo=command,
        evidence={f"{purpose} needs": names for purpose, names in said.items()},
    )


def _lacking(wanted: Wanted, xens: Xens) -> tuple[dict[str, dict[str, str]], str]:
    """What is missing for each purpose, with its package, and why libvirt cannot be loaded."""
    from pytest_xenscrub.guest.build import missing_for_kernel  # noqa: PLC0415 - only with a host

    found = {
        "a host": {name: pkg for name, pkg in _TIED.items() if shutil.which(name) is None},
        "the guests' kernel": missing_for_kernel(),
    }
    if wanted.suite:
        from pytest_xenscrub.host.emulated.accel import missing_qemu  # noqa: PLC0415
        from pytest_xenscrub.host.emulated.image import missing_for_image  # noqa: PLC0415

        found["--xen-host=emulated"] = missing_qemu()
        found[f"the emulated host's image ({wanted.suite})"] = missing_for_image(
            wanted.suite, device_model=wanted.device_model
        )
    found |= xens.missing(wanted.variants, Deadline.after(SECONDS, "looking for what is missing"))
    pip = ""
    if "libvirt" in wanted.toolstacks:
        from pytest_xenscrub.toolstack.libvirt import missing_library  # noqa: PLC0415

        pip = missing_library()
    return {purpose: missing for purpose, missing in found.items() if missing}, pip

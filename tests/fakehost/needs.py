# SPDX-License-Identifier: MIT
"""What such a machine takes; where that is not to be had, tests are skipped, but not in CI."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from typing import Final, NoReturn

import pytest

SSHD: Final = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
NAMESPACES: Final = (
    "unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc",
    "--propagation", "private",
)  # fmt: skip
"""Begins a command that has mounts and processes of its own, which end with it."""


def lacking(what: str, todo: str) -> NoReturn:
    """Skip the test; where `CI` is set it is an error, as nobody reads there what was skipped."""
    if os.environ.get("CI"):
        pytest.fail(f"{what}: {todo}", pytrace=False)
    pytest.skip(f"{what}: {todo}")


def need_sshd() -> str:
    """Where sshd is."""
    if SSHD is None:
        lacking("sshd is not installed", "apt-get install openssh-server")
    return SSHD


def need_namespaces() -> None:
    """See that this process may have mounts of its own."""
    if os.geteuid() != 0:
        lacking("a machine that is faked needs mounts of its own", "run the tests as root")
    if said := _refused():
        lacking(
            f"unshare is refused mounts or processes of its own ({said})",
            "apt-get install util-linux; a container needs CAP_SYS_ADMIN (docker run --privileged)",
        )


@functools.cache
def _refused() -> str:
    """Why there are no namespaces; empty where there are."""
    try:
        done = subprocess.run(
            [*NAMESPACES, "mount", "-t", "tmpfs", "none", "/run"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        return "not installed"
    return done.stderr.strip() or "no reason given" if done.returncode else ""

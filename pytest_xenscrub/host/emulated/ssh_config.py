# SPDX-License-Identifier: MIT
"""Writes the ssh configuration for an emulated machine: its port, its key, its host key."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from pytest_xenscrub.host.emulated.image import Image


def write_ssh_config(folder: Path, alias: str, port: int, image: Image) -> Path:
    """Write an ssh configuration file in which `alias` is the machine; returns the file's path."""
    known = folder / "known_hosts"
    known.write_text(f"{alias} {image.host_key}\n")
    config = folder / "ssh_config"
    config.write_text(
        f"Host {alias}\n"
        "  HostName 127.0.0.1\n"
        f"  Port {port}\n"
        "  User root\n"
        f"  HostKeyAlias {alias}\n"
        f'  UserKnownHostsFile "{known}"\n'
        "  GlobalKnownHostsFile /dev/null\n"
        "  StrictHostKeyChecking yes\n"
        f'  IdentityFile "{image.key}"\n'
        "  IdentitiesOnly yes\n"
        "  IdentityAgent none\n"
    )
    return config

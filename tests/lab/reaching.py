# SPDX-License-Identifier: MIT
"""Reaches a host over ssh, by configuration files alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytest_xenscrub.deadline import Deadline
from pytest_xenscrub.host.ssh import SshHost
from pytest_xenscrub.host.target import Target

if TYPE_CHECKING:
    from pathlib import Path


def reach(tmp_path: Path, *configs: str, target: Target | None = None) -> str:
    """Run a command on a host, `lab` by default; gives what the command printed."""
    path = tmp_path / "ssh_config"
    path.write_text("".join(configs))
    host = SshHost(target or Target("lab"), config=path)
    try:
        return host.run(["echo", "reached"], deadline=Deadline.after(20, "echo")).stdout
    finally:
        host.close()

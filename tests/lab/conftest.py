# SPDX-License-Identifier: MIT
"""What tests of real sshds share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakehost.sshd import Server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """An sshd on this machine, which lets one key in."""
    server = Server(tmp_path / "server")
    yield server
    server.close()

# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fakehost.machine import Machine

from .debian12 import CONFIG, DOM0, XEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    """A lab machine with Debian 12, reached over real ssh; see `fakehost`."""
    machine = Machine(tmp_path / "lab", grub=CONFIG, dom0_options=DOM0, xen_options=XEN)
    yield machine
    machine.close()
